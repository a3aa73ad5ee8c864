"""Which cases of the largest tables run by default: a part of each, the same one every time.

A run of all (`INITAUDIT_EXAMPLES=2000`, as for the laws and the examples that hypothesis draws) takes half an hour; a
run on each change must not. What is left out differs from what stays by a name, a seed or a width alone.
"""

import os
from zlib import crc32

import pytest

THOROUGH = int(os.environ.get("INITAUDIT_EXAMPLES", "200")) > 200

ONE_OF = {
    "laws/test_names.py": 3,
    "laws/test_nesting.py": 3,
    "laws/test_storage.py": 3,
    "laws/test_scale.py": 2,
    "laws/test_union.py": 2,
    "test_builders.py": 4,
    "test_mended_code.py": 2,
    "test_draws.py": 2,
    "test_verification.py": 2,
}
"""Of so many cases of a file one is run; tests without cases always are."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out all but every n-th case, unless a thorough run or a single test is asked for."""
    if THOROUGH or config.option.keyword or any("::" in argument for argument in config.args):
        return
    kept, left = [], []
    for item in items:
        file = next((name for name in ONE_OF if item.nodeid.split("::")[0].endswith(name)), None)
        stays = file is None or "[" not in item.nodeid or crc32(item.nodeid.encode()) % ONE_OF[file] == 0
        (kept if stays else left).append(item)
    items[:] = kept
    if left:
        config.hook.pytest_deselected(items=left)
