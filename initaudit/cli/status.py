"""The exit statuses that are no findings."""

FAILED = 2
"""Something was not audited, not read or not written, or the command was not understood."""
INTERRUPTED = 130
"""What shells report for SIGINT."""
SIGNALLED = 128
"""What shells report for a signal, less its number."""
