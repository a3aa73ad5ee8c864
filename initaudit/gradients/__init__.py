"""Which tensors ever get a gradient, worked out from the file alone, and which are unlike their kin.

A zero *learns* if some path through it to the loss has no other zero factor; what learns counts as not zero from then
on, and the question is asked again until nothing changes. What is left is dead. A factor is a matrix, the scale of a
norm, a layer scale, a gate by itself; none is what is added (a bias, a shift, a table of positions), what scales as
1 + g, and what goes through a sigmoid. A file holds no graph, so a zero is accused on evidence only: widths that two
matrices alone share, names of the field that say what multiplies what, a configuration. Names never excuse.
"""

from collections.abc import Mapping

from initaudit.gradients.kin import Kind, Kinds, kind_of, kinds_of_kin
from initaudit.gradients.norms import adds_one, closes_its_block
from initaudit.gradients.products import is_adapter_output
from initaudit.gradients.reach import reaches
from initaudit.gradients.values import Reach
from initaudit.model import Model, Tensor

__all__ = [
    "Kind",
    "Kinds",
    "Reach",
    "adds_one",
    "closes_its_block",
    "is_adapter_output",
    "kind_of",
    "kinds_of_kin",
    "reach_of",
]


def reach_of(tensor: Tensor, model: Model) -> Reach:
    """Whether a tensor of a model ever gets a gradient, and by which other tensors."""
    found: Mapping[str, Reach] = model.remember(reaches)
    return found[tensor.name]
