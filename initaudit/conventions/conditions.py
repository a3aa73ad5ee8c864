"""The conditions under which conventions hold: what a tensor's values and neighbours must show.

Each takes a tensor and its model and says yes or no. They are what keeps a convention from covering a mistake.
"""

import math
import re

from initaudit.model import Model, Tensor
from initaudit.names.segments import dotted
from initaudit.paths import ends_its_list, feeds_a_product, path, step
from initaudit.scale import is_output, width_in
from initaudit.schemes import UNIFORM, fits
from initaudit.significance import HARD_Z, SMALL_P, collision, variance_z

FEW_VALUES = 16
"""Fewer values are consistent with nearly any bound."""

MOST_TOGETHER = 64
"""Biases of one place that are looked at together: enough to tell, whatever the number of blocks."""

ROUND_VOCABULARY, MOST_PADDED = 64, 128
"""Vocabularies are padded to multiples of 64 or 128, so that fewer rows than that are added."""

_SHORTCUT = re.compile(r"shortcut|downsample|identity|skip|residual")


def alike(tensor: Tensor, model: Model) -> bool:
    """It holds the one value that most of its place in other blocks hold, of whatever width."""
    return model.is_alike(tensor)


def is_neutral(tensor: Tensor, model: Model) -> bool:
    """It holds what most of its place in other blocks hold, and the model has something drawn for it to gate."""
    return alike(tensor, model) and has_drawn(model)


def closes_a_branch(tensor: Tensor, model: Model) -> bool:
    """Several blocks are alike in it, and it is the only zero factor on its path.

    One zero factor leaves a branch trainable, and starts it as the identity; two on one path get no gradient, ever: two
    matrices, or a matrix and the gate behind it (a layer scale, a ReZero scalar). One whose parts are multiplied with
    each other, as queries with keys, is two: where both are zero, each is the other's gradient.
    """
    if feeds_a_product(tensor, model):
        return False
    matrices, at = path(tensor, model), step(tensor, model)
    alone = matrices.others(at) > 0 and matrices.zero_others(at) == 0
    return alone and model.repeats_zero(tensor) and not _is_behind_a_zero_gate(tensor, model)


def _is_behind_a_zero_gate(tensor: Tensor, model: Model) -> bool:
    """Whether all gates of its block are zero; which of them follows which branch does not stand in the file."""
    gates = model.remember(_gates_of_blocks).get(model.blocks.block(tensor.name), [])
    return bool(gates) and all(gate.statistics.zeros == gate.count for gate in gates)


def _gates_of_blocks(model: Model) -> dict[str, list[Tensor]]:
    """The vectors and scalars in each block that are neither bias nor norm: what they multiply ends a branch."""
    gates: dict[str, list[Tensor]] = {}
    for tensor in model.tensors:
        is_vector = tensor.count == max(tensor.shape, default=1)
        if tensor.part.role == "other_param" and tensor.part.kind == "other" and is_vector:
            gates.setdefault(model.blocks.block(tensor.name), []).append(tensor)
    return gates


def is_driven_by_its_bias(tensor: Tensor, model: Model) -> bool:
    """Its layer has a bias that differs from unit to unit, so that a zero weight leaves no symmetry."""
    return any(
        other.is_bias and other.count > 1 and not other.statistics.is_constant for other in model.partners(tensor)
    )


def is_zero_head(tensor: Tensor, model: Model) -> bool:
    """Nothing reads on from it, and something before it is drawn: its units get gradients of their own at once."""
    last = is_output(tensor, model) or ends_its_list(tensor, model)
    return last and alike(tensor, model) and has_drawn(model)


def has_drawn(model: Model) -> bool:
    """Whether any matrix of a model, other than its buffers, was drawn."""
    return model.remember(_has_drawn)


def _has_drawn(model: Model) -> bool:
    return any(tensor.std > 0 and len(tensor.shape) > 1 for tensor in model.tensors if tensor.part.role != "buffer")


def has_a_nonzero_partner(tensor: Tensor, model: Model) -> bool:
    """Another matrix of the same path is not zero: the product is zero, its gradient is not."""
    matrices = path(tensor, model)
    return alike(tensor, model) and matrices.count > matrices.zero_count


def is_identity(tensor: Tensor, model: Model) -> bool:
    """One value at one place of each unit, zero elsewhere."""
    return tensor.pattern is not None and tensor.pattern.name == "identity"


def is_torch_default(tensor: Tensor, model: Model) -> bool:
    """A bias drawn from U(±1/√fan_in) with the fan of its own layer's weight, as that layer computes it.

    Few values fit by chance, so short biases of one place are held to it together, if their weights have the same fans.
    """
    fans = _default_fans(tensor, model)
    together = [tensor]
    if tensor.count < FEW_VALUES:
        kin = (other for other in model.kin(tensor)[:MOST_TOGETHER] if other.shape == tensor.shape)
        together += [other for other in kin if _default_fans(other, model) == fans]
    return any(_are_uniform(together, (3 * fan) ** -0.5) for fan in fans if fan)


def _are_uniform(tensors: list[Tensor], std: float) -> bool:
    """Whether each of several tensors, and all of them together, are consistent with a uniform draw."""
    for one in tensors:
        equal = one.statistics.is_constant and collision(one.dtype, std) ** (one.count - 1) < SMALL_P
        if equal or not fits(one.statistics, one.dtype, UNIFORM, std):
            return False
    count = sum(one.count for one in tensors)
    squares = sum(one.count * one.statistics.moments.rms**2 for one in tensors) / count
    return len(tensors) == 1 or abs(variance_z(squares, count, std, UNIFORM.kurtosis)) < HARD_Z


def _default_fans(tensor: Tensor, model: Model) -> set[int]:
    """The fans by which PyTorch's layers may have drawn a bias."""
    fans: set[int] = set()
    for weight in model.partners(tensor):
        if not weight.is_weight or weight.part.fan_in is None:
            continue
        fans.add(weight.part.fan_in)
        if weight.part.layout == "conv_transposed":  # torch takes the fan of these from the second dimension
            fans.add(weight.count // weight.shape[0])
        if weight.part.kind == "bilinear":  # and that of a bilinear form from its first input
            fans.add(weight.shape[1])
        if weight.part.role == "rnn_weight":  # a recurrent layer draws everything by its hidden size
            fans.update((tensor.count, tensor.count // 3, tensor.count // 4))
    return fans


def is_tiny(tensor: Tensor, model: Model) -> bool:
    """All values are far under any signal: at most 1e-4, where the usual draw is N(0, 1e-6)."""
    return tensor.statistics.largest <= 1e-4


def is_a_prior(tensor: Tensor, model: Model) -> bool:
    """A constant -ln((1-π)/π) for a prior probability π of 0.001 to 0.5."""
    return tensor.statistics.is_constant and -6.91 <= tensor.statistics.minimum < 0


def averages(tensor: Tensor, model: Model) -> bool:
    """A filter that takes the mean of what it reads: one value, 1/fan_in."""
    return tensor.part.fan_in is not None and math.isclose(tensor.statistics.mean * tensor.part.fan_in, 1, rel_tol=0.01)


def is_padding(tensor: Tensor, model: Model) -> bool:
    """One empty row: that of the padding token, or one that a table of the same shape has at the same place."""
    units = tensor.units
    if units is None or units.dead != 1:
        return False
    if units.dead_at == (model.config.get("pad_token_id"),) and units.count == model.config.get("vocab_size"):
        return True
    return (tensor.shape, units.dead_at) in model.remember(_empty_rows)


def pads_the_vocabulary(tensor: Tensor, model: Model) -> bool:
    """The empty rows are the last ones: those behind the stated vocabulary, or few and up to a multiple of 64."""
    units = tensor.units
    if units is None or not units.dead or units.dead_at[0] != units.count - units.dead:
        return False
    is_table = tensor.part.role == "embedding"
    if units.count not in model.remember(_vocabularies) or not (is_table or is_output(tensor, model)):
        return False
    stated = model.config.get("vocab_size")
    if isinstance(stated, int):
        return stated <= units.dead_at[0]
    return units.count % ROUND_VOCABULARY == 0 and units.dead < MOST_PADDED


def _vocabularies(model: Model) -> frozenset[int]:
    """The numbers of rows that embeddings have."""
    return frozenset(tensor.shape[0] for tensor in model.tensors if tensor.part.role == "embedding" and tensor.shape)


def _empty_rows(model: Model) -> frozenset[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The shapes of embeddings that have empty rows, with these."""
    tables = (tensor for tensor in model.tensors if tensor.part.role == "embedding" and tensor.units is not None)
    return frozenset((table.shape, table.units.dead_at) for table in tables if table.units and table.units.dead)


def closes_its_block(tensor: Tensor, model: Model) -> bool:
    """A batch norm at zero that ends its block, as those do that end most of the blocks that add their input."""
    for last in model.remember(_last_batch_norms).values():
        if tensor.name in last:
            adding = [model[name] for name, adds in last.items() if adds]
            zeros = sum(other.statistics.zeros == other.count for other in adding)
            return bool(adding) and tensor.statistics.zeros == tensor.count and 2 * zeros >= len(adding)
    return False


def _last_batch_norms(model: Model) -> dict[str, dict[str, bool]]:
    """The scales of the batch norms that end their blocks, by what follows the block's name; shortcuts aside.

    Each with whether its block gives as many features as it reads, so that its input can be added to its output.
    """
    running = {tensor.part.layer for tensor in model.tensors if tensor.part.role == "running_stat"}
    norms: dict[str, list[str]] = {}
    widths: dict[str, int] = {}
    for tensor in model.tensors:
        block = model.blocks.block(tensor.name)
        if tensor.is_weight:
            widths.setdefault(block, width_in(tensor))  # the first by name reads the block's input
        is_scale = tensor.part.role == "norm_scale" and tensor.part.layer in running
        if block and is_scale and not _SHORTCUT.search(tensor.name):
            norms.setdefault(block, []).append(tensor.name)
    last: dict[str, dict[str, bool]] = {}
    for block, names in norms.items():
        name = max(names)
        last.setdefault(name[len(block) :], {})[name] = model[name].count == widths.get(block)
    return last


def is_zero_or_one(tensor: Tensor, model: Model) -> bool:
    """Some values are 0 and some are 1, give or take 1e-4."""
    values = tensor.statistics
    return (
        not values.is_constant
        and math.isclose(values.maximum, 1, abs_tol=1e-4)
        and math.isclose(values.moments.rms**2, values.mean, abs_tol=1e-4)
    )


def has_one_sign(tensor: Tensor, model: Model) -> bool:
    """All values pull the same way, as in most blocks."""
    return model.has_one_sign(tensor)


def is_time_step(tensor: Tensor, model: Model) -> bool:
    """The inverse softplus of a time step between 0.001 and 0.1, rounding included; or a constant."""
    values = tensor.statistics
    return (alike(tensor, model) and model.repeats(tensor)) or (values.minimum >= -9.3 and values.maximum <= -1.9)


def has_decay(tensor: Tensor, model: Model) -> bool:
    """Its place is zero in most blocks, and some tensor of the model is a decay or a mix of a linear recurrence."""
    return alike(tensor, model) and model.remember(_has_decay)


def _has_decay(model: Model) -> bool:
    return any(_DECAY.search(dotted(tensor.name[-200:])) for tensor in model.tensors)


_DECAY = re.compile(r"time_(decay|mix|maaa?)|\.x_[rwkvag]$")


def is_column(tensor: Tensor, model: Model) -> bool:
    """A table of one column: one number for each row."""
    return len(tensor.shape) == 2 and tensor.shape[1] == 1


def always(tensor: Tensor, model: Model) -> bool:
    """The name alone says it."""
    return True
