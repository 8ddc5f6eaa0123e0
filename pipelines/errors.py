"""The one error that a user can mend: says what is wrong, where, why, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class InputError(Exception):
    """Something the user gave is wrong; the message is complete and is shown without a traceback."""


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a hint at the known word that is most like `word`, or an empty text."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(sorted(known))})"


def shown(value: object) -> str:
    """Return a cell as a message shows it: a text in quotes, a number or time plainly, whatever its type."""
    return repr(value) if isinstance(value, str) else str(value)
