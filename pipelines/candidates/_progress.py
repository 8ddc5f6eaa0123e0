"""Progress of a fit, shown only where a person watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def steps(total: int, name: str, doing: str = "train") -> Iterator[Callable[[], None]]:
    """Give a function to call after each of `total` steps; silent unless standard error is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with progress:
        task = progress.add_task(f"{doing} {name}".rstrip(), total=total)
        yield lambda: progress.advance(task)
