"""IA504: a tensor was planned and never given values."""

from collections.abc import Iterator

from initaudit.examples import bad, constant, good, meta, normal
from initaudit.rule import Cause, Fault, Model, Severity, rule


@rule(
    code="IA504",
    severity=Severity.ERROR,
    examples=[
        good("filled throughout", {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": constant(0, 64)}),
        bad(
            "a layer that stayed on the meta device",
            {"fc1.weight": normal(64, 32, std=0.18), "fc2.weight": meta(32, 64), "fc2.bias": meta(32)},
            at=("fc2.bias", "fc2.weight"),
        ),
    ],
)
def never_materialised(model: Model) -> Iterator[Fault]:
    """A tensor was planned on the meta device and never given memory or values.

    ## Why is this bad?

    Large models are built on the meta device, which knows shapes alone, and are then materialised and filled part by
    part. What was forgotten has no values: the first step fails, or `to_empty` gives it whatever the memory held. What
    is forgotten is often what no checkpoint and no `reset_parameters` covers: a lone parameter, a buffer that is not
    saved.

    ## How is it decided?

    The tensor is on the meta device, or is a lazy parameter that has not seen an input. There is no chance in it.

    ## When is it right?

    A model that is meant to be materialised later, by the trainer that takes it, or whose weights are offloaded: check
    it once they are there.

    ## What to do

    Materialise the module with `to_empty` and initialise it; compute buffers again on the real device. A lazy module
    gets its shape from one forward pass.
    """
    if model.unfilled:
        count = len(model.unfilled)
        have = "tensor has" if count == 1 else "tensors have"
        yield from Cause(model.unfilled[0], f"{count:,} {have} a shape and no values; expected values in all").faults(
            model.unfilled,
            advice="materialise with to_empty and initialise, or leave the meta device where the module is built",
            evidence={"tensors": count},
            beyond_repair="there is nothing in the file to redraw: materialise it where the model is built",
        )
