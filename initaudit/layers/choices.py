"""What a weight's layout came to."""

from dataclasses import dataclass

from .shapes import Fans, fans, stack_fans
from .values import Layout


@dataclass(frozen=True, slots=True)
class Choice:
    """A layout, the fans it gives, and what settled it; ``turned`` says that a stack is one of [out, in]."""

    layout: Layout
    fans: Fans
    evidence: str
    groups: int = 1
    turned: bool = False


def plain(shape: tuple[int, ...], layout: Layout, evidence: str, groups: int = 1) -> Choice:
    """A layout that one weight has for itself."""
    return Choice(layout, fans(shape, layout, groups), evidence, groups)


def stack(shape: tuple[int, ...], evidence: str, *, turned: bool) -> Choice:
    """A stack of matrices, [experts, in, out] or turned [experts, out, in]."""
    return Choice("expert_3d", stack_fans(shape, turned=turned), evidence, turned=turned)


def bilinear(shape: tuple[int, ...], evidence: str) -> Choice:
    """A bilinear form [out, in1, in2], each of whose outputs multiplies every pair of inputs."""
    return Choice("out_in", Fans(shape[1] * shape[2], shape[0]), evidence)
