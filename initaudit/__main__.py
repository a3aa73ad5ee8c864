"""``python -m initaudit``, and what the command starts."""

import os
import sys


def main() -> int:
    """Run the command line, and return its exit status: 2 where there is too little of anything even to load it."""
    try:
        from initaudit.cli import main as run
    except (MemoryError, OSError) as error:
        os.write(2, f"initaudit: cannot start: {str(error) or 'there is not enough memory'}\n".encode())
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
