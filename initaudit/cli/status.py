"""The exit statuses that are no findings."""

FAILED = 2
"""Something was not audited, not read or not written, or the command was not understood."""
INTERRUPTED = 130
"""What shells report for SIGINT."""
TERMINATED = 143
"""What shells report for SIGTERM."""
