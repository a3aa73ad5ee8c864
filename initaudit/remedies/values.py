"""How a tensor is to be filled, and why so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

LawName = Literal[
    "normal", "uniform", "trunc_normal", "orthogonal", "sparse", "identity", "blocks", "constant", "formula"
]


@dataclass(frozen=True, slots=True)
class Remedy:
    """A scheme in the field's word, the law it draws by, what the law takes, and why it was chosen.

    ``parameters`` hold, by law: ``std`` of what is drawn (normal, uniform, trunc_normal, sparse), ``cut`` in deviations
    before the cut (trunc_normal), ``low`` and ``high`` (a uniform law that is not centred), ``mean`` where it is not
    zero, ``gain`` (orthogonal), ``connections`` (sparse), ``stds`` (blocks), ``value`` (constant), ``formula`` and what
    it takes; and ``padding``, the row of a table that stays zero.
    """

    scheme: str
    law: LawName
    parameters: Mapping[str, Any]
    reason: str

    @property
    def words(self) -> str:
        """The scheme with its parameters, as a table shows it."""
        shown = (
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in self._shown
        )
        return ", ".join((self.scheme, *shown))

    @property
    def _shown(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in self.parameters.items() if name not in ("formula", "equivalent")]


def constant(value: float, reason: str) -> Remedy:
    """One value everywhere."""
    name = {0.0: "zeros", 1.0: "ones"}.get(value, "constant")
    return Remedy(name, "constant", {"value": value}, reason)


def normal(std: float, reason: str) -> Remedy:
    """N(0, std²)."""
    return Remedy("normal", "normal", {"std": std}, reason)
