"""The fixtures are what their script writes."""

import runpy
from pathlib import Path

import pytest
from safetensors import safe_open

FIXTURES = Path(__file__).parents[1] / "fixtures"
FILES = sorted(path.relative_to(FIXTURES) for path in FIXTURES.rglob("*") if path.suffix in {".safetensors", ".json"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixtures")
    runpy.run_path(str(FIXTURES / "make.py"))["make"](folder)
    return folder


def test_the_script_writes_the_same_files(made: Path) -> None:
    assert sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file()) == FILES


@pytest.mark.parametrize("name", FILES, ids=lambda path: path.as_posix())
def test_the_script_writes_the_same_bytes(made: Path, name: Path) -> None:
    assert (made / name).read_bytes() == (FIXTURES / name).read_bytes()


@pytest.mark.parametrize("name", [name for name in FILES if name.suffix == ".safetensors"], ids=lambda p: p.as_posix())
def test_a_fixture_is_small_and_loads_with_safetensors(name: Path) -> None:
    assert (FIXTURES / name).stat().st_size < 250_000
    with safe_open(FIXTURES / name, framework="numpy") as file:
        assert all(file.get_tensor(tensor) is not None for tensor in file.keys())  # noqa: SIM118 (it is no mapping)
