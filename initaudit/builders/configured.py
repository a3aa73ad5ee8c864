"""Models of transformers that a config.json describes, without any weights: ``hf:FOLDER``."""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from initaudit.builders.naming import Builder
from initaudit.errors import CheckpointError, errno_text

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""What keeps transformers from the network: only what lies in the folder counts."""


def build_configured(builder: Builder) -> Any:
    """A fresh model by the ``architectures`` of a config.json, else the bare model of its ``model_type``.

    It is drawn in float32 as the constructor does; code that the folder brings along is never run.

    Raises:
        CheckpointError: there is no such file, it describes no model, or there is no transformers.

    """
    if builder.arguments:
        raise CheckpointError(str(builder), "is described by its config.json: it takes no --args")
    place = Path(builder.configured)
    file = place if place.is_file() else place / "config.json"
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(str(builder), f"{file}: {errno_text(error)}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(str(builder), f"{file}: is no JSON: {error}") from error
    if not isinstance(stated, dict) or not isinstance(stated.get("model_type"), str):
        raise CheckpointError(str(builder), f"{file}: has no model_type, by which transformers finds a model")
    if "auto_map" in stated:
        why = "asks for code of its own (auto_map), which is not run: name what builds it, as package.module:name"
        raise CheckpointError(str(builder), f"{file}: {why}")
    os.environ.update(OFFLINE)
    try:
        transformers = import_module("transformers")
    except ImportError as error:
        raise CheckpointError(
            str(builder), f"is built with transformers, which is not installed here ({error})"
        ) from error
    config = transformers.AutoConfig.from_pretrained(str(file.parent), local_files_only=True, trust_remote_code=False)
    names = stated.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    known = getattr(transformers, name, None) if name.isidentifier() else None
    if isinstance(known, type) and issubclass(known, transformers.PreTrainedModel):
        return known(config)
    if name:
        raise CheckpointError(str(builder), f"{file}: transformers has no model called {name!r} (architectures)")
    return transformers.AutoModel.from_config(config, trust_remote_code=False)
