"""IA206: the model's initialisation never reached some of its layers."""

from collections import Counter
from collections.abc import Iterator

from initaudit.examples import Recipe, bad, constant, good, normal, uniform
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.scale import is_output

FEWEST = 1000
"""Smaller weights do not show a scheme beyond doubt."""

AT_THE_EDGE = 20.0
"""Times 1/N: how far the largest of N uniform values may be under the bound (2e-9 beyond); by chance another draw of at
least 1000 values comes so near to it once in 400 times, and several of one place do not."""

LEAST_OTHERS = 4
"""So many layers must show the scheme that the default ones lack."""

NEAR_ZERO = 0.02
"""A gain under this is that of a branch that starts near zero."""

ROUNDING = 2.0**-8
"""How far bfloat16 may carry the largest value, as a part of it."""


def _blocks(default: tuple[str, ...] = ()) -> dict[str, Recipe]:
    model = {}
    for name, outputs, inputs in (("q", 64, 64), ("o", 64, 64), ("up", 256, 64), ("down", 64, 256)):
        for layer in (f"layers.{i}.{name}" for i in range(4)):
            skipped = name in default
            model[f"{layer}.weight"] = (
                uniform(outputs, inputs, bound=inputs**-0.5) if skipped else normal(outputs, inputs, std=0.02)
            )
            model[f"{layer}.bias"] = uniform(outputs, bound=inputs**-0.5) if skipped else constant(0, outputs)
    return model


@rule(
    code="IA206",
    severity=Severity.WARNING,
    takes_for_granted=["unscaled-residual"],
    examples=[
        good("one scheme for all layers of the blocks", _blocks()),
        good("PyTorch's default in all of them", _blocks(default=("q", "o", "up", "down"))),
        bad(
            "the initialisation missed one linear layer of each block",
            _blocks(default=("down",)),
            at=tuple(f"layers.{i}.down.weight" for i in range(4)),
        ),
    ],
)
def skipped_init(model: Model) -> Iterator[Fault]:
    """Layers of the blocks are still PyTorch's default, while the others follow another scheme.

    ## Why is this bad?

    `nn.Linear` fills itself with U(±1/√fan_in) when it is made, and a model's own initialisation is to overwrite that.
    Where it looks for names or types that were changed since, it passes some layers by, without a word. Those start at
    another scale than the recipe was tuned for, with biases that are not zero, and nothing in the code shows it.

    ## How is it decided?

    Linear layers of several blocks end exactly at ±1/√fan_in and have the deviation of that uniform law, while as many
    or more linear layers of the same blocks, four at least, follow another scheme, or ``config.json`` states an
    `initializer_range`. Orthogonal matrices and those near zero are no such scheme, nor is one by the fans (Xavier, He)
    that is met only in other modules, which may fill themselves. Convolutions and single layers are left out: stems,
    projections and heads are often left at the default on purpose.

    ## When is it right?

    A mixer that is meant to keep the default, as Mamba's projections are, which is intended.

    ## What to do

    Let the initialisation reach them: look for a type check or a list of names that misses these layers.
    """
    blocks: dict[str, list[Tensor]] = {}
    for tensor in model.weights:
        if tensor.part.kind == "linear" and tensor.count >= FEWEST and _is_drawn(tensor):
            around = _blocks_around(tensor, model)
            if around is not None:
                blocks.setdefault(around, []).append(tensor)
    for tensors in blocks.values():
        default = [tensor for tensor in tensors if _is_default(tensor)]
        others = [tensor for tensor in tensors if not _may_be_default(tensor) and _is_of_an_initialisation(tensor)]
        if "initializer_range" in model.config:
            enough = bool(others)
        else:
            enough = len(others) >= max(len(default), LEAST_OTHERS) and not _are_apart(default, others)
        if default and enough:
            yield from _faults(default, others)


def _faults(default: list[Tensor], others: list[Tensor]) -> Iterator[Fault]:
    (formula, _), *_ = Counter(tensor.scheme.formula for tensor in others if tensor.scheme).most_common(1)
    for tensor in default:
        bound = (tensor.part.fan_in or 1) ** -0.5
        yield tensor.fault(
            f"U(±{bound:.4g}), PyTorch's default for fan_in {tensor.part.fan_in:,}; {len(others):,} other linear layers"
            f" of these blocks are drawn otherwise, most as {formula}: the initialisation seems not to have run on it",
            advice="let the model's initialisation reach it",
            std=tensor.std,
            bound=bound,
            others=len(others),
        )


def _blocks_around(tensor: Tensor, model: Model) -> str | None:
    """What a layer is looked at with: all blocks of its kind, or the list it stands in and does not end; else None."""
    if model.repeats(tensor):
        return model.blocks.stack(tensor.name)
    seat = model.blocks.seat(tensor.name)
    is_listed = seat is not None and not seat.is_named and not is_output(tensor, model)
    return seat.list if seat is not None and is_listed else None


def _is_of_an_initialisation(tensor: Tensor) -> bool:
    """Whether its scheme is one that runs over all layers: not one for a rotation, nor for a start near zero."""
    return tensor.scheme is not None and tensor.scheme.name != "orthogonal" and (tensor.gain or 0.0) > NEAR_ZERO


def _are_apart(default: list[Tensor], others: list[Tensor]) -> bool:
    """Whether the others are drawn by their fans, and stand in modules that hold none of the default ones.

    Then these modules may fill themselves when they are made, as attention does by Xavier, and nothing was skipped.
    """
    by_fan = all(tensor.scheme and tensor.scheme.name != "normal" for tensor in others)
    return by_fan and {tensor.parent for tensor in others}.isdisjoint(tensor.parent for tensor in default)


def _is_drawn(tensor: Tensor) -> bool:
    return tensor.std > 0 and tensor.scheme is not None and tensor.scheme.is_named


def _may_be_default(tensor: Tensor) -> bool:
    scheme = tensor.scheme
    return scheme is not None and "torch_default" in (scheme.name, *scheme.equivalent)


def _is_default(tensor: Tensor) -> bool:
    """Whether a weight fits PyTorch's default and ends where that does."""
    bound = (tensor.part.fan_in or 1) ** -0.5
    under = 1 - tensor.statistics.largest / bound
    return (
        _may_be_default(tensor) and -ROUNDING < under < AT_THE_EDGE / tensor.count + (tensor.dtype != "F32") * ROUNDING
    )
