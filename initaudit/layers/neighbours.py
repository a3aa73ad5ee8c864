"""What the rest of a checkpoint knows about a tensor: the widths that must meet, and what lies around it."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from initaudit.names import meanings

from .grouping import Layer, Member, Path

Shape = tuple[int, ...]

_FIRST = 3  # kernels that show how a sequence opens


@dataclass(frozen=True, slots=True)
class Widths:
    """How wide the signals of a checkpoint are, as the shapes of its tensors show."""

    lengths: Counter[int]
    """How many vectors there are of each length: a norm's or a bias's length is the width of a signal."""
    sides: Counter[int]
    """In how many different shapes of matrices and kernels each size is one of the first two sides."""
    nameless: Counter[Shape]
    """How many matrices of a shape have neither a bias nor a name that says what they are."""
    signals: frozenset[int]
    """The lengths of vectors, columns aside, and the second sides of matrices and kernels, which are what they read."""

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> "Widths":
        """The widths in these layers."""
        lengths: Counter[int] = Counter()
        nameless: Counter[Shape] = Counter()
        shapes: set[Shape] = set()
        signals: set[int] = set()
        for layer in layers:
            for member in layer.members:
                if not member.is_floating:
                    continue
                if len(member.core) == 1:
                    lengths[member.core[0]] += 1
                    signals.update(member.shape[-1:])
                elif len(member.shape) >= 2:
                    shapes.add(member.shape[:2])
                    nameless[member.shape] += len(layer.members) == 1 and layer.surname == "nothing"
        sides = Counter(side for shape in shapes for side in set(shape))
        return cls(lengths, sides, nameless, frozenset(signals | {shape[1] for shape in shapes}))

    def meet(self, size: int, *, apart_from: Shape) -> bool:
        """Whether a size is the width of anything but tensors of this shape."""
        return size in self.lengths or self.sides[size] > (size in apart_from[:2])


@dataclass(slots=True)
class Container:
    """What a module holds: the widths that the layers at any depth below it read and write, and its own sequence."""

    spatial: set[int] = field(default_factory=set)
    """What kernels with a receptive field read."""
    pointwise: set[int] = field(default_factory=set)
    """What matrices, and kernels of size 1, read."""
    written: Counter[int] = field(default_factory=Counter)
    """How many weights write each width."""
    filtered: set[int] = field(default_factory=set)
    """What kernels with a receptive field write that have one channel in each filter."""
    bias: Shape | None = None
    """The bias that the module itself owns, if it is called nothing else."""
    tables: set[Shape] = field(default_factory=set)
    """The shapes of the tables right below, such as a bias for each head."""
    fore: set[Shape] = field(default_factory=set)
    """The first two sizes of three-dimensional weights: (heads, width of a head) where heads come together."""
    aft: set[Shape] = field(default_factory=set)
    """The last two: the same where heads are split."""
    stacks: dict[meanings.Meaning, Shape] = field(default_factory=dict)
    """The stacks at either end of a feed-forward block."""
    sequence: dict[int, Shape] = field(default_factory=dict)
    """The weights and scales of numbered layers."""
    opening: list[tuple[int, Shape]] = field(default_factory=list)
    """The first kernels of the sequence, with their numbers."""
    followed: dict[int, int] = field(default_factory=dict)
    """The length of the vector that follows a kernel in the sequence: a norm behind it is as wide as what it writes."""

    def line_up(self) -> None:
        """Draw from the sequence how it opens, and what follows each kernel."""
        following = 0
        for index in sorted(self.sequence, reverse=True):
            shape = self.sequence[index]
            if len(shape) == 1:
                following = shape[0]
                continue
            if following:
                self.followed[index] = following
            following = 0
        kernels = sorted(index for index, shape in self.sequence.items() if len(shape) > 1)
        self.opening = [(index, self.sequence[index]) for index in kernels[:_FIRST]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The modules of a checkpoint by their paths; the outermost has the path ()."""

    containers: dict[Path, Container]
    filters: Counter[str]
    """How many kernels with one channel in each filter there are of each place: the same in every block."""
    kernels: Counter[Shape]
    """How many kernels there are of each shape."""

    @classmethod
    def of(cls, layers: Iterable[Layer], weights: Iterable[tuple[Layer, Member]]) -> "Surroundings":
        """The surroundings that all layers and their weights make up for each other."""
        found = cls({(): Container()}, Counter(), Counter())
        for layer in layers:
            parent = found._container(layer.path[:-1])
            parent.tables.update(member.shape for member in layer.members if _is_table(member))
            bias = layer.first("bias")
            if bias is not None and not layer.stem:
                found._container(layer.path).bias = bias
            main = layer.first("weight", "scale")
            if layer.index is not None and main and 0 not in main:
                parent.sequence[layer.index] = main
        for layer, member in weights:
            found._place(layer, member.shape)
        for container in found.containers.values():
            container.line_up()
        return found

    def _container(self, path: Path) -> Container:
        """The module of this path."""
        found = self.containers.get(path)
        if found is None:
            found = self.containers[path] = Container()
        return found

    def _place(self, layer: Layer, shape: Shape) -> None:
        """Make a weight known to the modules around it."""
        is_filter = len(shape) > 2 and shape[1] == 1 < shape[0]
        is_spatial = math.prod(shape[2:]) > 1
        for depth in range(len(layer.path) or 1):
            container = self._container(layer.path[:depth])
            container.written[shape[0]] += 1
            if shape[1] > 1:
                (container.spatial if is_spatial else container.pointwise).add(shape[1])
            elif is_filter and is_spatial:
                container.filtered.add(shape[0])
        if is_spatial:
            self.kernels[shape] += 1
        if is_filter:
            self.filters[layer.place] += 1
        if len(shape) == 3:
            parent = self.parent(layer)
            parent.fore.add(shape[:2])
            parent.aft.add(shape[1:])
            parent.stacks.setdefault(meanings.feed_forward(layer.path[-1] if layer.path else ""), shape)

    @property
    def everything(self) -> Container:
        """The outermost module."""
        return self.containers[()]

    def parent(self, layer: Layer) -> Container:
        """The module right around a layer."""
        return self.containers[layer.path[:-1]]

    def around(self, layer: Layer) -> Container:
        """The innermost module around a layer that holds weights which read several channels."""
        for depth in range(len(layer.path) - 1, -1, -1):
            container = self.containers.get(layer.path[:depth])
            if container and (container.spatial or container.pointwise):
                return container
        return Container()


def _is_table(member: Member) -> bool:
    """Whether a tensor is a matrix that multiplies nothing."""
    return len(member.core) == len(member.shape) == 2 and member.meaning in ("position", "bias", "gate")
