"""``initaudit --version``: what a bug report needs, without importing any of it."""

import platform

import click

from initaudit.version import __version__

OTHERS = ("torch", "safetensors", "numpy")


def show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Print the versions and leave, if that was asked for."""
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"initaudit {__version__}", f"python {platform.python_version()} ({platform.platform()})"]
    for name in OTHERS:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} not installed")
    click.echo("\n".join(lines))
    context.exit()
