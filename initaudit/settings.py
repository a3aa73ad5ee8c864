"""What a project has settled in ``initaudit.toml`` or in ``[tool.initaudit]`` of its ``pyproject.toml``."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from initaudit.builders.naming import Builder, builder_of
from initaudit.errors import CheckpointError, InitauditError, errno_text
from initaudit.locations import absolute
from initaudit.report.formats import FORMATS
from initaudit.suggestions import suggestion
from initaudit.trust import ends_search, is_repository, why_not_trusted
from initaudit.waivers import Waiver

SEVERITIES = ("error", "warning", "info")
FAIL_ON = (*SEVERITIES, "never")


class SettingsError(InitauditError):
    """A configuration that cannot be read, or says what has no meaning."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one file, all of them optional; paths in it start from the folder it is in."""

    source: Path | None = None
    select: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    fail_on: str | None = None
    output_format: str | None = None
    report: Mapping[str, Path] = field(default_factory=dict)
    show_intended: bool = False
    rules: tuple[Path, ...] = ()
    baseline: Path | None = None
    paths: tuple[Path | Builder, ...] = ()
    args: Mapping[str, Sequence[Any] | Mapping[str, Any]] = field(default_factory=dict)
    seed: int | None = None
    time_limit: float | None = None
    severity: Mapping[str, str] = field(default_factory=dict)
    per_tensor_ignores: tuple[Waiver, ...] = ()
    per_file_ignores: tuple[Waiver, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The file that they were read from, if they were."""
        return () if self.source is None else (self.source,)

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """All ignores, those of tensors first."""
        return (*self.per_tensor_ignores, *self.per_file_ignores)


def find_settings(start: Path) -> Settings:
    """The settings of the nearest file upward from a folder; none at all where there is no such file.

    It is looked for up to the root of the repository, the home folder or a mount. A checkpoint's own folder is never
    asked, unless it is the folder or one above it: what lies there is data of strangers.

    Raises:
        SettingsError: the file cannot be read, or a setting has no meaning.

    """
    folder = absolute(start)
    for parent in (folder, *folder.parents):
        own, shared = parent / "initaudit.toml", parent / "pyproject.toml"
        if own.is_file():
            return read_settings(own)
        if shared.is_file() and _tool(_parsed(shared)) is not None:
            return read_settings(shared)
        if ends_search(parent):
            break
    return Settings()


def require_trust(settings: Settings, checkpoints: Iterable[Path]) -> str | None:
    """Hold settings that were found to what they ask: a note where their file may be somebody else's, None if not.

    ``checkpoints`` are the paths that this run is about: what lies in a folder of theirs was perhaps downloaded.

    Raises:
        SettingsError: they would run code or write files, and are not to be trusted with that.

    """
    file = settings.source
    if file is None:
        return None
    code = any(isinstance(path, Builder) for path in settings.paths)
    asks = [
        name
        for name, asked in (("rules", settings.rules), ("paths with code", code), ("[report]", settings.report))
        if asked
    ]
    way_on = f"name it by --config {file} if you trust it, or run with --isolated"
    why = next(filter(None, map(why_not_trusted, (file, *_modules(settings.rules), *_built(settings.paths)))), None)
    if why is not None:
        if asks:
            raise SettingsError(f"{file}: has {' and '.join(asks)}, which are not taken from it: {why}; {way_on}")
        return f"{file}: its settings count, though {why}"
    folder = absolute(file.parent)
    runs = [name for name in asks if name != "[report]"]
    if runs and not is_repository(folder) and any(folder == _folder_of(path) for path in checkpoints):
        what = " and ".join(runs)
        raise SettingsError(f"{file}: has {what}, which are not taken from the folder of a checkpoint: {way_on}")
    return None


def _modules(folders: Iterable[Path]) -> Iterator[Path]:
    """The files from which rules would be imported."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_dir())


def _built(paths: Iterable[Path | Builder]) -> Iterator[Path]:
    """The files and folders in which the code that is named would be looked for first, as far as they are there."""
    for path in paths:
        if isinstance(path, Builder) and path.module:
            place = path.folder.joinpath(*path.module.split("."))
            found = (place, place.with_name(f"{place.name}.py"), *place.parents)
            yield from (one for one in found if one.exists() and one.is_relative_to(path.folder) and one != path.folder)


def _folder_of(checkpoint: Path) -> Path:
    place = absolute(checkpoint)
    return place if place.is_dir() else place.parent


def read_settings(file: Path) -> Settings:
    """The settings of one file; those of a ``pyproject.toml`` stand under ``[tool.initaudit]``.

    Raises:
        SettingsError: the file cannot be read, or a setting has no meaning.

    """
    document = _parsed(file)
    table = _tool(document) if file.name == "pyproject.toml" else document
    if not isinstance(table, dict):
        raise SettingsError(f"{file}: has no table [tool.initaudit]")
    settings = Settings(source=file)
    for key, value in table.items():
        if key not in _READERS:
            raise SettingsError(f"{file}: there is no setting {key!r}: {suggestion(key, _READERS)}")
        try:
            settings = replace(settings, **{key.replace("-", "_"): _READERS[key](value, file)})
        except _UnfitError as error:
            raise SettingsError(f"{file}: {key}: {error}") from error
    return settings


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {errno_text(error)}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: is no TOML: {error}") from error


def _tool(document: Mapping[str, Any]) -> Any:
    tool = document.get("tool")
    return tool.get("initaudit") if isinstance(tool, dict) else None


class _UnfitError(Exception):
    """A value that is not of the kind that its setting takes."""


def _text(value: Any, file: Path) -> str:
    if not isinstance(value, str):
        raise _UnfitError(f"takes a string, not {value!r}")
    return value


def _texts(value: Any, file: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _UnfitError(f"takes a list of strings, not {value!r}")
    return tuple(value)


def _truth(value: Any, file: Path) -> bool:
    if not isinstance(value, bool):
        raise _UnfitError(f"takes true or false, not {value!r}")
    return value


def _path(value: Any, file: Path) -> Path:
    return file.parent / _text(value, file)


def _paths(value: Any, file: Path) -> tuple[Path, ...]:
    return tuple(file.parent / item for item in _texts(value, file))


def _named(value: Any, file: Path) -> tuple[Path | Builder, ...]:
    """Files and code; modules are looked for in the folder of the file."""
    try:
        return tuple(builder_of(text, file.parent) or file.parent / text for text in _texts(value, file))
    except CheckpointError as error:
        raise _UnfitError(str(error)) from error


def _arguments(value: Any, file: Path) -> dict[str, Any]:
    """``"package.module:name" = { width = 64 }``, or a list."""
    for name, given in _table(value).items():
        if not isinstance(given, dict | list):
            raise _UnfitError(f"{name!r} takes a table of named arguments or a list, not {given!r}")
    return dict(value)


def _whole(value: Any, file: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _UnfitError(f"takes a whole number from zero on, not {value!r}")
    return value


def _seconds(value: Any, file: Path) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise _UnfitError(f"takes a number of seconds, not {value!r}")
    return float(value)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _UnfitError(f"takes a table, not {value!r}")
    return value


def _one_of(words: tuple[str, ...]) -> Callable[[Any, Path], str]:
    def read(value: Any, file: Path) -> str:
        if value not in words:
            raise _UnfitError(f"{value!r} is none of its values: {suggestion(str(value), words)}")
        return str(value)

    return read


def _outputs(value: Any, file: Path) -> dict[str, Path]:
    return {_one_of(FORMATS)(form, file): _path(target, file) for form, target in _table(value).items()}


def _severities(value: Any, file: Path) -> dict[str, str]:
    return {selector: _one_of(SEVERITIES)(severity, file) for selector, severity in _table(value).items()}


def _ignores(key: str, subject: str) -> Callable[[Any, Path], tuple[Waiver, ...]]:
    """``GLOB = { rules = [...], reason = "..." }``, or the list of rules alone."""

    def read(value: Any, file: Path) -> tuple[Waiver, ...]:
        waivers = []
        for glob, stated in _table(value).items():
            row = {"rules": stated} if isinstance(stated, list) else _table(stated)
            for name in row:
                if name not in ("rules", "reason"):
                    raise _UnfitError(f"{glob!r} has no setting {name!r}: {suggestion(name, ('rules', 'reason'))}")
            if not row.get("rules"):
                raise _UnfitError(f'{glob!r} names no rules: write {{ rules = ["IA101"], reason = "why" }}')
            origin, folder = f"{file.name}: {key} {glob!r}", absolute(file.parent).as_posix()
            for selector in _texts(row["rules"], file):
                reason = _text(row.get("reason", ""), file)
                waivers.append(Waiver(selector, reason, origin, folder=folder, **{subject: glob}))
        return tuple(waivers)

    return read


_READERS: dict[str, Callable[[Any, Path], Any]] = {
    "select": _texts,
    "extend-select": _texts,
    "ignore": _texts,
    "exclude": _texts,
    "fail-on": _one_of(FAIL_ON),
    "output-format": _one_of(FORMATS),
    "report": _outputs,
    "show-intended": _truth,
    "rules": _paths,
    "baseline": _path,
    "paths": _named,
    "args": _arguments,
    "seed": _whole,
    "time-limit": _seconds,
    "severity": _severities,
    "per-tensor-ignores": _ignores("per-tensor-ignores", "tensor"),
    "per-file-ignores": _ignores("per-file-ignores", "checkpoint"),
}
"""What reads each setting; the field of `Settings` has its name."""
