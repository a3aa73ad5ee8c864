"""IA408: the scale of a norm starts at one though the forward adds one."""

from collections.abc import Iterator

from initaudit.architectures import ZERO_CENTRED_NORMS, architecture_of
from initaudit.examples import bad, constant, good
from initaudit.rule import Expectation, Fault, Model, Severity, rule

GATED = ("linear_attn.norm",)
"""Norms of such architectures that do not add one."""


@rule(
    code="IA408",
    severity=Severity.ERROR,
    examples=[
        good("ones, as nearly everywhere", {"layers.0.input_layernorm.weight": constant(1, 64)}),
        good(
            "zeros, where the forward adds one",
            {"layers.0.input_layernorm.weight": constant(0, 64)},
            config={"model_type": "gemma"},
        ),
        bad(
            "ones, where the forward adds one",
            {"layers.0.input_layernorm.weight": constant(1, 64)},
            config={"model_type": "gemma"},
            at="layers.0.input_layernorm.weight",
        ),
    ],
)
def doubled_norm_scale(model: Model) -> Iterator[Fault]:
    """The scale of a norm starts at one in an architecture whose norms add one to it.

    ## Why is this bad?

    Some architectures store the scale of a norm less one: the forward multiplies by 1 + w, and w starts at zero. Filled
    with ones, as norms are elsewhere, every norm doubles its features, and the doublings of the branches add up.

    ## How is it decided?

    ``config.json`` names an architecture whose norms add one (a table with the sources), and the scale of a norm
    without a shift is one throughout.

    ## When is it right?

    Where the code was changed to add nothing.

    ## What to do

    Fill it with zeros.
    """
    architecture = architecture_of(model.config)
    if architecture not in ZERO_CENTRED_NORMS:
        return
    for tensor in model.tensors:
        values = tensor.statistics
        gated = any(name in tensor.name for name in GATED)
        shifted = any(other.part.role == "norm_shift" for other in model.partners(tensor))
        if (
            tensor.part.role == "norm_scale"
            and not shifted
            and not gated
            and values.is_constant
            and values.minimum == 1
        ):
            yield tensor.fault(
                f"all {values.count:,} values are 1; expected 0 in {architecture} ({ZERO_CENTRED_NORMS[architecture]})",
                advice="set it to 0",
                expectation=Expectation(f"the norms of {architecture} add one", value=0.0),
                value=1.0,
                expected=0.0,
            )
