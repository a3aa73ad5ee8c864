"""``python -m initaudit``, and what the command starts."""

import os
import sys


def main() -> int:
    """Run the command line, and return its exit status: 2 where there is not even the memory to load it."""
    try:
        from initaudit.cli import main as run
    except MemoryError:
        os.write(2, b"initaudit: there is not enough memory to start\n")
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
