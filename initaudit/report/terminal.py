"""Text with or without colour, laid out for a width: the one place that asks rich for it."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType


def laid_out(parts: Iterable[RenderableType], *, width: int | None, color: bool) -> str:
    """The parts below each other as text; lines break at ``width`` columns, or never where it is None."""
    console = Console(
        width=width or 100_000,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        console.print(Group(*parts), soft_wrap=False)
    return "\n".join(line.rstrip() for line in capture.get().split("\n"))
