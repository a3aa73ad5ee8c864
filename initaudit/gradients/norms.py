"""What a norm does with its scale: multiply by it as it stands, or by one more; and which norm ends its block."""

import re
from collections import defaultdict

from initaudit.architectures import MULTIPLIED_NORMS, ZERO_CENTRED_NORMS, architecture_of
from initaudit.gradients.factors import LONGEST_NAME, Factor, block_of, factors_of
from initaudit.model import Model, Tensor

_SHORTCUT = re.compile(r"shortcut|downsample|identity|skip|residual")


def adds_one(model: Model) -> bool | None:
    """Whether the norms of a model multiply by one more than their scale; None where nothing says so.

    ``config.json`` names the architecture, or the modules were there to be looked at; running statistics, and a shift
    that is not zero beside a scale that is, are those of norms that multiply by their scale as it stands.
    """
    architecture = architecture_of(model.config)
    if architecture in ZERO_CENTRED_NORMS:
        return True
    if architecture in MULTIPLIED_NORMS:
        return False
    norms = [norm.tensor for norm in factors_of(model).norms]
    running = {tensor.part.layer for tensor in model.tensors if tensor.part.role == "running_stat"}
    as_it_stands = (
        norm.part.layer in running or norm.part.evidence.startswith("type ") or _is_shifted(norm, model)
        for norm in norms
    )
    return False if norms and all(as_it_stands) else None


def _is_shifted(norm: Tensor, model: Model) -> bool:
    """Whether the shift of a norm holds anything but zeros: what adds one to a scale of zero starts it at zero."""
    shifts = (other for other in model.partners(norm) if other.part.role == "norm_shift")
    return any(shift.statistics.zeros < shift.count for shift in shifts)


def closes_its_block(norm: Tensor, model: Model) -> bool:
    """Whether a zero batch norm ends its block, as those do that end most of the blocks that add their input.

    Only the last norm of a residual block may start at zero: the block starts as the identity then.
    """
    for last in model.remember(_last_batch_norms).values():
        if norm.name in last:
            adding = [model[name] for name, adds in last.items() if adds]
            zeros = sum(other.statistics.zeros == other.count for other in adding)
            return bool(adding) and norm.statistics.zeros == norm.count and 2 * zeros >= len(adding)
    return False


def _last_batch_norms(model: Model) -> dict[str, dict[str, bool]]:
    """The scales of the batch norms that end their blocks, by what follows the block's name; shortcuts aside.

    Each with whether its block gives as many features as it reads, so that its input can be added to its output.
    """
    running = {tensor.part.layer for tensor in model.tensors if tensor.part.role == "running_stat"}
    norms: dict[str, list[Factor]] = defaultdict(list)
    widths: dict[str, int] = {}
    for factor in factors_of(model).all:
        block = block_of(factor.layer)
        if factor.tensor.is_weight:
            widths.setdefault(block, factor.reads)  # the first by name reads the block's input
        is_scale = factor.role == "norm_scale" and factor.tensor.part.layer in running
        if block and is_scale and not _SHORTCUT.search(factor.name[-LONGEST_NAME:]):
            norms[block].append(factor)
    last: dict[str, dict[str, bool]] = defaultdict(dict)
    for block, scales in norms.items():
        norm = max(scales, key=lambda scale: scale.name)
        last[norm.layer[len(block) :]][norm.name] = norm.length == widths.get(block)
    return last
