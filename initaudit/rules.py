"""The built-in rules: one module for each file of the repository's top-level ``rules/`` folder.

A wheel carries that folder as ``initaudit/_rules``; a checkout has it beside the package.
"""

from pathlib import Path

_HERE = Path(__file__).parent
__path__ = [str(next(folder for folder in (_HERE / "_rules", _HERE.parent / "rules") if folder.is_dir()))]
