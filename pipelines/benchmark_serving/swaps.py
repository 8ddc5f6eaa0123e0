"""swaps: how memory and quotes hold up while policies take each other's place, in the process of one worker.

Usage: python -m pipelines.benchmark_serving.swaps --policy models --policy models/incumbent/pricing --swaps 200
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines import signing
from pipelines.errors import InputError
from pipelines.manifest import GRAPH, MANIFEST, Manifest
from pipelines.serving.golden import contexts
from pipelines.serving.pointer import CURRENT, Pointer
from pipelines.serving.swap import Live

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_GROWTH = 0.10  # of the resident memory, over all swaps but the first ten
_LAST = 1_000_000  # quotes whose time is kept
_WARM = 10  # swaps until the allocator has what it keeps


@dataclass
class Load:
    """Quotes without a pause, as one busy worker's: how many, how long the last ones took (s), and what failed."""

    live: Live
    quotes: int = 0
    # full from the start, so that what is measured does not grow with the measurements
    took: NDArray[np.float32] = field(default_factory=lambda: np.full(_LAST, np.nan, np.float32))
    failed: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Quote until `ended`."""
        asked = contexts(self.live.policy.manifest)
        requests = [{name: value for name, value in context.items() if value is not None} for context in asked]
        while not self.ended.is_set():
            for request in requests:
                start = time.perf_counter()
                try:
                    self.live.policy.quote([request])
                except Exception as error:
                    self.failed.append(repr(error))
                self.took[self.quotes % _LAST] = time.perf_counter() - start
                self.quotes += 1


def resident() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def deployed(folders: list[Path], live: Path, key: Ed25519PrivateKey) -> list[Pointer]:
    """Return pointers to sealed copies of the policies, two of the first if there is but one."""
    found = []
    for number, folder in enumerate(folders if len(folders) > 1 else folders * 2, 1):
        manifest = Manifest.read(folder)
        copy = live / f"{number}-{manifest.graph_sha256[:12]}"
        copy.mkdir(parents=True)
        for name in (GRAPH, MANIFEST):
            shutil.copyfile(folder / name, copy / name)
        signing.seal(copy, key)
        found.append(Pointer(copy.name, str(number), manifest.model, manifest.graph_sha256))
    return found


def swapped(live: Live, pointers: list[Pointer], swaps: int) -> tuple[list[float], list[float]]:
    """Return the memory in MB after each swap, and how long each took in seconds."""
    memory, took = [], []
    for turn in range(1, swaps + 1):
        pointers[turn % len(pointers)].write(live.folder / CURRENT)
        start = time.perf_counter()
        if not live.look():
            raise InputError(f"swap {turn} was refused: {live.refusal}")
        took.append(time.perf_counter() - start)
        for _ in range(3):  # the looks that follow, between which a worker waits a second
            time.sleep(0.02)
            live.look()
        memory.append(resident())
        if turn % 20 == 0:
            print(f"{turn:4d} swaps: {memory[-1]:6.1f} MB", flush=True)
    return memory, took


def measure(folders: list[Path], swaps: int, threads: int) -> dict[str, Any]:
    """Return what `swaps` swaps cost a process whose `threads` threads quote all the time."""
    key = Ed25519PrivateKey.generate()
    with TemporaryDirectory() as scratch:
        pointers = deployed(folders, Path(scratch), key)
        live = Live(Path(scratch), (key.public_key(),))
        pointers[0].write(live.folder / CURRENT)
        live.look()
        load = Load(live)
        running = [threading.Thread(target=load.run) for _ in range(threads)]
        for thread in running:
            thread.start()
        try:
            memory, took = swapped(live, pointers, swaps)
        finally:
            load.ended.set()
            for thread in running:
                thread.join()
    base = float(np.median(memory[_WARM - 3 : _WARM + 3]))
    return {
        "swaps": len(memory),
        "quotes": load.quotes,
        "failed": len(load.failed),
        "memory_mb": (base, float(np.median(memory[-5:]))),
        "growth": float(np.median(memory[-5:])) / base - 1,
        "swap_ms": [1e3 * float(q) for q in np.quantile(took, (0.5, 1.0))],
        "quote_ms": [1e3 * float(q) for q in np.nanquantile(load.took, (0.5, 0.99, 1.0))],
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the measurements; status 1 where a quote failed or memory grew by more than a tenth."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.benchmark_serving.swaps", description=__doc__)
    parser.add_argument("--policy", type=Path, action="append", help="a policy folder; several take turns")
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1, help="that quote meanwhile")
    options = parser.parse_args(arguments)
    if options.swaps < 2 * _WARM:
        print(
            f"error: --swaps {options.swaps} is too few to see memory grow: give {2 * _WARM} or more", file=sys.stderr
        )
        return 1
    try:
        found = measure(options.policy or [Path("models")], options.swaps, options.threads)
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    (before, after), growth = found["memory_mb"], found["growth"]
    print(
        f"{found['swaps']} swaps, {found['quotes']:,} quotes meanwhile, {found['failed']} failed\n"
        f"memory {before:.1f} MB after {_WARM} swaps, {after:.1f} MB at the end: {growth:+.1%}\n"
        "a swap took {:.0f} ms (median), {:.0f} ms at most\n".format(*found["swap_ms"])
        + "a quote took {:.2f} ms (median), {:.2f} ms (p99), {:.0f} ms at most".format(*found["quote_ms"])
    )
    return 1 if found["failed"] or growth > MOST_GROWTH else 0


if __name__ == "__main__":
    raise SystemExit(main())
