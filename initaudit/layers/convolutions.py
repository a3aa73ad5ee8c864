"""Kernels: which way a convolution goes, and how many groups it has."""

import math

from initaudit.names import meanings

from .choices import Choice, bilinear, plain, stack
from .grouping import Layer, Member, is_transparent
from .neighbours import Shape, Surroundings

_OFTEN = 3  # kernels of one shape: what reads a network's input is rarely there so often
_NEAR = 4  # names around a kernel that are asked


def settle(layer: Layer, member: Member, length: int, surroundings: Surroundings) -> Choice | None:
    """The direction that the length of the bias, or of the norm behind, settles."""
    shape = member.shape
    if shape[0] == shape[1] or length == 0:
        return None
    if length == shape[0]:
        if _is_bilinear(layer, member):
            return bilinear(shape, "sibling shapes")
        if shape[1] == 1 and _direction(layer) == "transposed":
            return plain(shape, "conv_transposed", "module name", shape[0])
        return plain(shape, "out_in", "bias length", groups(layer, member, surroundings))
    if length % shape[1] == 0 and shape[0] % (length // shape[1]) == 0:
        return plain(shape, "conv_transposed", "bias length", length // shape[1])
    if length == shape[-1] and len(shape) == 3:
        return stack(shape, "bias length", turned=False)
    return None


def follow(layer: Layer, member: Member, surroundings: Surroundings) -> Choice | None:
    """The direction that the norm behind a kernel in a sequence settles, being as wide as what the kernel writes."""
    shape = member.shape
    length = surroundings.parent(layer).followed.get(layer.index) if layer.index is not None else None
    if length is None or shape[0] == shape[1] or length not in shape[:2]:
        return None
    if length == shape[1]:
        return plain(shape, "conv_transposed", "length of the norm behind")
    return plain(shape, "out_in", "length of the norm behind", groups(layer, member, surroundings))


def guess(layer: Layer, member: Member, surroundings: Surroundings) -> Choice:
    """The direction that the name and the kernel propose.

    A transposed convolution's kernel is a multiple of its stride, hence even; where a signal is enlarged by
    interpolation, the kernel behind is odd.
    """
    shape = member.shape
    direction = _direction(layer)
    even = all(size % 2 == 0 for size in shape[2:] if size > 1) and math.prod(shape[2:]) > 1
    if direction == "transposed" or (direction == "upward" and even and shape[1] > 1):
        return plain(shape, "conv_transposed", "module name", shape[0] if shape[1] == 1 else 1)
    if _is_bilinear(layer, member):
        return bilinear(shape, "shape")
    return plain(shape, "out_in", "rank", groups(layer, member, surroundings))


def groups(layer: Layer, member: Member, surroundings: Surroundings) -> int:
    """The groups of a kernel [out, in/groups, k…], as far as its surroundings show them."""
    shape = member.shape
    if len(shape) < 3 or shape[0] == 1:
        return 1
    if shape[1] == 1:
        return shape[0] if _is_depthwise(layer, shape, surroundings) else 1
    fits = surroundings.kernels[shape] >= _OFTEN and shape[0] % shape[1] == 0 and math.prod(shape[2:]) > 1
    if not fits or surroundings.everything.written[shape[1]]:
        return 1
    # Nothing in the checkpoint is as wide as what a filter reads, but another layer nearby writes as much as this one.
    return shape[0] // shape[1] if surroundings.around(layer).written[shape[0]] > 1 else 1


def _direction(layer: Layer) -> meanings.Meaning:
    """Which way a convolution goes, by the nearest name that says so; transposed counts at any distance."""
    named = [segment for segment in reversed(layer.path) if not is_transparent(segment)]
    said = [meanings.convolution(meanings.words(segment)) for segment in named[:_NEAR]]
    if "transposed" in said:
        return "transposed"
    return next((one for one in said if one in ("upward", "downward")), "nothing")


def _is_bilinear(layer: Layer, member: Member) -> bool:
    """Whether a weight [out, in1, in2] is a bilinear form: named so, or with two inputs of one width."""
    if len(member.shape) != 3 or layer.has("part"):
        return False
    return layer.meaning == "bilinear" or member.shape[1] == member.shape[2] >= 16


def _is_depthwise(layer: Layer, shape: Shape, surroundings: Surroundings) -> bool:
    """Whether filters of one channel read a channel each, rather than all of them the only one there is."""
    said = [meanings.convolution(meanings.words(segment)) for segment in layer.path[-2:]]
    if "depthwise" in said:
        return True
    if "stem" in said or _begins(layer, surroundings):
        return False
    around = surroundings.around(layer)
    full, point = shape[0] in around.spatial, shape[0] in around.pointwise
    if full and not point:
        return False  # full kernels read what it writes, as those of a plain network do
    if math.prod(shape[2:]) == 1:
        return shape[0] in around.filtered  # alone it would only scale; beside a larger one it is a branch
    if surroundings.filters[layer.place] > 1:
        return True
    if len(surroundings.filters) > 1:
        return not full
    read = surroundings.everything.spatial | surroundings.everything.pointwise
    return shape[0] not in read  # the only one: the beginning of a network, if anybody reads it


def _begins(layer: Layer, surroundings: Surroundings) -> bool:
    """Whether a layer opens a sequence, so that it feeds what follows, rather than being fed by its own kind.

    A full kernel follows it, or a depthwise one and then a pointwise one.
    """
    opening = surroundings.parent(layer).opening
    if len(opening) < 2 or opening[0][0] != layer.index:
        return False
    first, second, *others = (shape for _, shape in opening)
    if second[1:2] != (1,):
        return len(second) == len(first) and math.prod(second[2:]) > 1 and first[0] % second[1] == 0
    return first[:2] == second[:2] and bool(others) and others[0][1] == first[0] and math.prod(others[0][2:]) == 1
