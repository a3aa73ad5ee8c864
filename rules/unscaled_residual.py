"""IA205: the output of a residual branch lacks the scaling by depth that the model's recipe has."""

import math
from collections.abc import Iterator

from initaudit.architectures import SCALED_RESIDUALS, architecture_of
from initaudit.examples import Recipe, bad, good, normal
from initaudit.rule import Expectation, Fault, Model, Severity, Tensor, rule
from initaudit.scale import is_called_output

NEAR = 0.03
"""How near a deviation must lie to the recipe's, unscaled, in its logarithm; √2 for a model of one block is 0.35."""


def _blocks(*, up: float, down: float, out: float) -> dict[str, Recipe]:
    return {
        f"layers.{i}.{name}.weight": normal(*shape, std=std)
        for i in range(4)
        for name, shape, std in (
            ("attn.o_proj", (64, 64), out),
            ("mlp.up_proj", (256, 64), up),
            ("mlp.down_proj", (64, 256), down),
            ("attn.qkv_proj", (192, 64), 0.02),
        )
    }


_SCALED = 0.02 / math.sqrt(8)


@rule(
    code="IA205",
    severity=Severity.WARNING,
    takes_for_granted=["uneven-units"],
    examples=[
        good("both outputs scaled by 1/sqrt(2L)", _blocks(up=0.02, down=_SCALED, out=_SCALED)),
        good("none scaled: another recipe", _blocks(up=0.02, down=0.02, out=0.02)),
        bad(
            "the attention's output is scaled, the MLP's is not",
            _blocks(up=0.02, down=0.02, out=_SCALED),
            at=tuple(f"layers.{i}.mlp.down_proj.weight" for i in range(4)),
        ),
        bad(
            "the wrong matrix of the MLP is scaled",
            _blocks(up=_SCALED, down=0.02, out=_SCALED),
            at=tuple(f"layers.{i}.mlp.down_proj.weight" for i in range(4)),
        ),
    ],
)
def unscaled_residual(model: Model) -> Iterator[Fault]:
    """The output of a residual branch lacks the scaling by depth that the recipe has.

    ## Why is this bad?

    Each of 2L branches adds its variance to the residual stream, which therefore grows with the depth; recipes of
    GPT-2's kind draw the last matrix of each branch smaller by √(2L), so that the sum stays of order one. Where the
    scaling is lost (a refactoring that renames `c_proj`) or lands on another matrix, the stream starts √(2L) times too
    large in those branches, the early blocks weigh little in the sum, and learning rates that were tuned no longer fit.

    ## How is it decided?

    The last matrices of residual branches, known by their names, are N(0, s²) in several blocks, while other matrices
    of the model are N(0, s²/2L); or ``config.json`` names an architecture whose recipe scales them, and none is scaled.

    ## When is it right?

    A recipe that scales one kind of branch on purpose; `--ignore` the rule.

    ## What to do

    Draw the last matrix of each branch with std/√(2L).
    """
    scaled = _scaled(model)
    architecture = architecture_of(model.config)
    if len(scaled) > 1:
        base = _scaled_base(scaled[0])
        why = f"{len(scaled):,} other matrices are scaled by 1/sqrt(2L), as {scaled[0].name} is"
    elif architecture in SCALED_RESIDUALS:
        base = _number(model.config.get("initializer_range")) or 0.02
        why = f"{architecture} scales them by 1/sqrt(2L) ({SCALED_RESIDUALS[architecture]})"
    else:
        return
    for tensor in model.weights:
        if base and is_called_output(tensor) and model.repeats(tensor) and _is_unscaled(tensor, base):
            blocks = len(model.kin(tensor)) + 1
            std = base / math.sqrt(2 * blocks)
            yield tensor.fault(
                f"std {tensor.std:.3g} at the end of a residual branch;"
                f" expected {std:.3g} = {base:g}/sqrt(2·{blocks}): {why}",
                advice=f"draw it with std {std:.3g}",
                expectation=Expectation(f"{base:g}/sqrt(2·{blocks})", std),
                std=tensor.std,
                expected_std=std,
            )


def _scaled(model: Model) -> list[Tensor]:
    """The weights that are scaled by depth as all of their place are."""
    places: dict[str, list[Tensor]] = {}
    for tensor in model.weights:
        places.setdefault(model.place(tensor), []).append(tensor)
    return [tensor for tensors in places.values() if all(map(_scaled_base, tensors)) for tensor in tensors]


def _scaled_base(tensor: Tensor) -> float | None:
    """The std of which a weight's is 1/√(2L), None where it is not."""
    scheme = tensor.scheme
    if scheme is None or scheme.name != "residual_scaled":
        return None
    return _number(scheme.parameters.get("base_std"))


def _is_unscaled(tensor: Tensor, base: float) -> bool:
    return tensor.std > 0 and abs(math.log(tensor.std / base)) < NEAR


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, float) and 0 < value < math.inf else None
