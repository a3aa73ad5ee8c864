"""Walking a corpus: folders of one model each, with the truth about its tensors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def models(corpus: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder and the truth of every model whose weights are there."""
    for folder in sorted(corpus.iterdir()):
        described = folder / "truth.json"
        if described.exists():
            truth = json.loads(described.read_text(encoding="utf-8"))
            if truth.get("file") and (folder / truth["file"]).exists():
                yield folder, truth
