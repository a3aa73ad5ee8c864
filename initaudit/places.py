"""What one place holds in every block: the value most of its tensors have, and those that differ."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from initaudit.model import Expectation, Fault, Model, Tensor, value_of

__all__ = ["Place", "measured", "places_of", "value_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """The tensors of one place in all blocks; ``common`` is the one value that most of them hold, None if none is."""

    tensors: tuple[Tensor, ...]
    common: float | None

    @property
    def odd(self) -> tuple[Tensor, ...]:
        """The tensors that do not hold the common value throughout; all of them where there is none."""
        return tuple(t for t in self.tensors if self.common is None or value_of(t) != self.common)

    def faults(
        self, odd: tuple[Tensor, ...], expected: float, usual: str, severity: str | None = None
    ) -> Iterator[Fault]:
        """A fault of each of its tensors that does not hold the expected value; the message says how many do.

        ``usual`` says in words why it is expected where none of them holds it.
        """
        others = len(self.tensors) - len(odd)
        like = f", as in {others:,} others of its place" if others else ""
        for tensor in odd:
            yield tensor.fault(
                f"{measured(tensor)}; expected {expected:.4g}{like}",
                advice=f"set it to {expected:.4g}",
                severity=severity,
                expectation=Expectation(f"as in {others:,} others of its place" if others else usual, value=expected),
                mean=tensor.statistics.mean,
                std=tensor.std,
                expected=expected,
            )


def places_of(model: Model, role: str, *, usual: float) -> Iterator[Place]:
    """The places of a role; between values that are equally common the ``usual`` one counts as common."""
    grouped: dict[str, list[Tensor]] = {}
    for tensor in model.tensors:
        if tensor.part.role == role and not tensor.statistics.nonfinite:
            grouped.setdefault(model.place(tensor), []).append(tensor)
    for tensors in grouped.values():
        counts = Counter(map(value_of, tensors))
        common = max(counts, key=lambda value: (counts[value], value == usual))
        yield Place(tuple(tensors), common)


def measured(tensor: Tensor) -> str:
    """What a tensor holds, in words."""
    values = tensor.statistics
    if values.is_constant:
        return f"all {values.count:,} values are {values.minimum:.4g}"
    return f"mean {values.mean:.3g}, std {values.std:.3g}, from {values.minimum:.3g} to {values.maximum:.3g}"
