"""IA205: the output of a residual branch lacks the scaling by depth that the model's recipe has."""

import math
from collections.abc import Iterator

from initaudit.architectures import SCALED_RESIDUALS, architecture_of
from initaudit.examples import Recipe, bad, good, normal
from initaudit.recipes import residuals
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

    In three or more blocks the last matrix of one branch follows the law that most weights of the model follow, or that
    law divided by 2L, while the last matrix of the other branch follows it divided by sqrt(2L), whatever the law is; or
    ``config.json`` names an architecture whose recipe scales them, and none is scaled.

    ## When is it right?

    A recipe that scales one kind of branch on purpose; `--ignore` the rule.

    ## What to do

    Draw the last matrix of each branch with std/√(2L).
    """
    shown = residuals(model)
    for one in shown:
        why = f"{one.witness.name}, the other output of the block, is scaled by 1/sqrt(2L)"
        yield _fault(one.tensor, one.expected, one.blocks, why, "twice" if one.is_twice else "not")
    architecture = architecture_of(model.config)
    if shown or architecture not in SCALED_RESIDUALS:
        return
    base = _number(model.config.get("initializer_range")) or 0.02
    why = f"{architecture} scales them by 1/sqrt(2L) ({SCALED_RESIDUALS[architecture]})"
    for tensor in model.weights:
        if is_called_output(tensor) and model.repeats(tensor) and _is_unscaled(tensor, base):
            blocks = len(model.kin(tensor)) + 1
            std = base / math.sqrt(2 * blocks)
            yield _fault(tensor, Expectation(f"{base:g}/sqrt(2·{blocks})", std), blocks, why, "not")


def _fault(tensor: Tensor, expected: Expectation, blocks: int, why: str, scaled: str) -> Fault:
    std = expected.std or 0.0
    return tensor.fault(
        f"std {tensor.std:.3g} at the end of a residual branch, {scaled} scaled by 1/sqrt(2·{blocks});"
        f" expected {std:.3g}: {why}",
        advice=f"draw it with std {std:.3g}",
        expectation=expected,
        std=tensor.std,
        expected_std=std,
    )


def _is_unscaled(tensor: Tensor, base: float) -> bool:
    return tensor.std > 0 and abs(math.log(tensor.std / base)) < NEAR


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, float) and 0 < value < math.inf else None
