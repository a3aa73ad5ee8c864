"""How a tensor's name is put together: torch joins by dots, Flax and Keras by slashes, and Keras ends in ``:0``.

Names come from files, and files may be hostile: every function is linear in the length of the name.
"""

import re
from collections.abc import Iterator, Sequence

__all__ = [
    "dotted",
    "enclosing",
    "ending_of",
    "leaf_of",
    "leaf_within",
    "natural",
    "outline",
    "owner_of",
    "parent_of",
    "roots_of",
    "segments",
    "separator_of",
    "stem_of",
]

PARAMETRIZATIONS = "parametrizations"
"""The module that torch puts between a layer and the parts that it computes a weight from."""

LONGEST = 300
"""Characters of a name, from its end, that say where it stands: some names are a megabyte long."""

_PARAMETRISED = {"original": "", "original1": "", "original0": "_g", "_u": "_u", "_v": "_v"}
"""What weight norm and spectral norm added to a weight's name, by what torch's parametrisations call its parts.

Nothing is added for the tensor that is multiplied, which is the weight as far as drawing it goes.
"""

# A name within a layer is a stem and one of these: ``q_bias`` and ``q_weight``, ``b1`` and ``w1`` go together.
_ENDINGS = ("weight", "weights", "kernel", "bias", "biases", "scale", "gamma", "beta")
_BEGINNINGS = ("weight", "bias")
_STEMLESS = frozenset({
    "w", "b", "g", "W", "running_mean", "running_var", "num_batches_tracked", "moving_mean", "moving_variance",
    "mean", "var", "shift", "gain", "embedding", "embeddings", "recurrent_kernel", "weight_g", "weight_u", "weight_v",
})  # fmt: skip

_NUMBER = re.compile(r"\d+")


def separator_of(name: str) -> str:
    """What stands between the segments of a name: a slash where there is one, for then dots belong to the words."""
    return "/" if "/" in name else "."


def segments(name: str) -> list[str]:
    """The segments of a name, from the outermost module to the leaf."""
    return name.split(separator_of(name))


def leaf_of(name: str) -> str:
    """The last segment of a name, without the number of Keras's variable (``kernel:0``)."""
    return name.rpartition(separator_of(name))[2].partition(":")[0]


def parent_of(name: str) -> str:
    """All of a name but its last segment; empty where it has but one."""
    return name.rpartition(separator_of(name))[0]


def dotted(name: str) -> str:
    """A name as torch would write it, for patterns that know its dots alone."""
    return name.partition(":")[0].replace("/", ".")


def enclosing(name: str, most: int) -> Iterator[str]:
    """The modules around a name, at most so many, from the inside out; the last is the model itself, the empty name."""
    separator = separator_of(name)
    for _ in range(most):
        name = name.rpartition(separator)[0]
        yield name
        if not name:
            return


def owner_of(name: str) -> str:
    """The layer that owns a tensor: all of its name but the leaf, and but torch's parametrisation of it."""
    owner, separator = parent_of(name), separator_of(name)
    if PARAMETRIZATIONS not in owner:
        return owner
    before, _, _ = f"{separator}{owner}{separator}".partition(f"{separator}{PARAMETRIZATIONS}{separator}")
    return before[1:].removesuffix(separator)


def leaf_within(name: str) -> str:
    """The leaf that a tensor has in its layer: of a part of torch's parametrisation what weight norm called it.

    What spectral norm calls ``weight_orig`` is the weight.
    """
    leaf, owner = leaf_of(name), owner_of(name)
    if leaf == "weight_orig":
        return "weight"
    if leaf not in _PARAMETRISED or len(owner) == len(parent_of(name)):
        return leaf
    inner = segments(name[len(owner) :])
    parametrised = inner[inner.index(PARAMETRIZATIONS) + 1 : -1] or ["weight"]
    return parametrised[0] + _PARAMETRISED[leaf]


def stem_of(leaf: str) -> str:
    """What siblings' leaves have in common: nothing for ``weight`` and ``bias``, ``q`` for ``q_weight``."""
    leaf = leaf[-LONGEST:]
    if leaf in _STEMLESS:
        return ""
    for ending in _ENDINGS:
        if leaf.endswith(ending):
            return leaf.removesuffix(ending).rstrip("_")
    for beginning in _BEGINNINGS:
        if leaf.startswith(beginning):
            return leaf.removeprefix(beginning).lstrip("_")
    return leaf[1:] if leaf[:1] in ("w", "W", "b") and leaf[1:].isdigit() else leaf


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A name as a key by which ``layers.2`` comes before ``layers.10``."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name))


def outline(name: str) -> str:
    """The end of a name with all of its numbers masked, be it those of blocks, of layers or within words."""
    return _NUMBER.sub("#", name[-LONGEST:])


def ending_of(name: str) -> str:
    """The last three segments of a name, numbers masked: how the tensors of a kind end, in whatever module."""
    return ".".join("#" if part.isdecimal() else part for part in segments(name)[-3:])


def roots_of(names: Sequence[str]) -> tuple[str, ...]:
    """The modules in which tensors stand at one place: what their names have before the end that all of them share."""
    paths = [segments(name) for name in names]
    shared = 0
    while shared < min(map(len, paths)) and len({path[-1 - shared] for path in paths}) == 1:
        shared += 1
    return tuple(separator_of(name).join(path[: len(path) - shared]) for name, path in zip(names, paths, strict=True))
