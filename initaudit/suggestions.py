"""What somebody may have meant by a word that nothing is called."""

import difflib
from collections.abc import Iterable


def suggestion(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """The nearest of the known words as a question; where none is near, ``otherwise``, or all of them."""
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1) or [one for one in words if word.lower() in one][:1]
    return f"did you mean {near[0]!r}?" if near else otherwise or f"there are {', '.join(words)}"
