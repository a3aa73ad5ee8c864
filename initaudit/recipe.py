"""The recipe of a checkpoint: what its own tensors show of how it was drawn, in a few lines."""

from collections import Counter

from initaudit.model import Model


def describe(model: Model, intended: Counter[str]) -> tuple[str, ...]:
    """The schemes that can be told by sight, and the conventions that explain what deviates, with their numbers."""
    patterns = Counter(pattern.description for weight in model.weights if (pattern := weight.pattern) is not None)
    lines = [f"{name}: {_weights(count)}" for name, count in sorted(patterns.items())]
    if intended:
        names = (
            f"{name} ({count:,})" for name, count in sorted(intended.items(), key=lambda item: (-item[1], item[0]))
        )
        lines.append(f"by convention: {'; '.join(names)}")
    return tuple(lines)


def _weights(count: int) -> str:
    return f"{count:,} weight" + ("" if count == 1 else "s")
