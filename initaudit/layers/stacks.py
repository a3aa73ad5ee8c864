"""Stacks of matrices, as mixtures of experts have them: which of the last two dimensions is the input."""

from initaudit.names import meanings

from .choices import Choice, stack
from .grouping import Layer, Member
from .neighbours import Shape, Surroundings, Widths


def settle(shape: Shape, bias: Shape) -> Choice | None:
    """The direction that a stack of biases, [experts, out], settles."""
    if bias[1] not in shape[1:] or shape[1] == shape[2]:
        return None
    return stack(shape, "bias shape", turned=bias[1] == shape[1])


def is_stack(layer: Layer, member: Member, widths: Widths) -> bool:
    """Whether a weight of three dimensions is a stack [copies, …, …] rather than a kernel [out, in, k].

    A kernel's last size is small and nobody's width. What torch's convolutions call ``weight`` is one unless the last
    two sizes are widths and the first is none.
    """
    copies, first, second = shape = member.shape
    if any(meanings.expert(meanings.words(segment)) for segment in layer.path[-3:]):
        return True
    if member.leaf == "weight":
        wide = all(widths.meet(side, apart_from=shape) for side in (first, second))
        return copies < second >= 16 and wide and not widths.meet(copies, apart_from=shape)
    return second > min(copies, first)


def guess(layer: Layer, member: Member, surroundings: Surroundings, widths: Widths) -> Choice:
    """The direction in which a feed-forward block's two stacks meet, or else the one that goes with the name.

    What is called a projection is mostly handed to ``linear``, which takes [out, in]; the rest is multiplied as it is.
    """
    shape = member.shape
    turned = _meet(layer, member, surroundings, widths)
    if turned is not None:
        return stack(shape, "widths that meet", turned=turned)
    return stack(shape, "leaf name", turned=member.meaning == "projection")


def _meet(layer: Layer, member: Member, surroundings: Surroundings, widths: Widths) -> bool | None:
    """Whether a stack is turned, from the other end of its block; None where both directions would do.

    With the model's width d and the block's f, the rising stack is [d, f] or, with a gate, [d, 2f], and the falling
    one [f, d]; turned they are [f, d] or [2f, d], and [d, f].
    """
    end = meanings.feed_forward(layer.path[-1])
    others = surroundings.parent(layer).stacks
    if end not in ("rising", "falling"):
        return None
    found = others.get("falling" if end == "rising" else "rising")
    if found is None or found[0] != member.shape[0]:
        return None
    rising, falling = (member.shape, found) if end == "rising" else (found, member.shape)
    straight = rising[1] == falling[2] and rising[2] in (falling[1], 2 * falling[1])
    turned = rising[2] == falling[1] and rising[1] in (falling[2], 2 * falling[2])
    if straight == turned:
        wide, narrow = widths.lengths[rising[2]], widths.lengths[rising[1]]
        return None if wide == narrow or not straight else wide > narrow
    return turned
