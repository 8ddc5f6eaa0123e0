"""The policies that the servers quote by: the one given, else the incumbent, else two learned from a small shop.

Usage, by the benchmark itself: python -m pipelines.benchmark_serving.policies FOLDER
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.errors import InputError
from pipelines.files import replacing
from pipelines.manifest import GRAPH, Manifest

INCUMBENT = Path("models/incumbent/pricing")
SMALL = ("gbm", "linear")  # two policies, so that one can take the other's place
_SHOP = ("source=market", "experiment=none", "source.offers=6000", "source.days=28", "source.shoppers=600", "seed=7")


def chosen(given: Path | None, folder: Path) -> tuple[Path, ...]:
    """Return the folders of the policies; `folder`: where those that must be learned are kept. Raises InputError."""
    if given is not None:
        Manifest.read(given)
        return (given,)
    if (INCUMBENT / GRAPH).is_file() and len(Manifest.read(INCUMBENT).terms.ladder) > 1:
        return (INCUMBENT,)
    if not folder.is_dir():
        print("no policy that chooses was promoted here: two are learned from a small shop (some minutes) …")
        made = [sys.executable, "-m", "pipelines.benchmark_serving.policies", str(folder)]
        found = subprocess.run(made, capture_output=True, text=True)
        if found.returncode:
            raise InputError(f"benchmark: no policy could be learned: {(found.stderr or found.stdout).strip()[-400:]}")
    return tuple(folder / name for name in SMALL)


def learn(folder: Path) -> None:
    """Write the policies of SMALL into `folder`, as a whole: the stages of a run, on a shop that is soon simulated."""
    from pipelines import baselines, clean, export, features, ingest, overlap, prepare, train
    from pipelines.benchmark.chain import alone
    from pipelines.config import load
    from pipelines.registry import copy_policy

    listed = ",".join(SMALL)
    cfg = load([*_SHOP, f"candidates=[{listed}]", f"contenders=[{listed}]"], Path("conf"))
    target = folder.absolute()
    with TemporaryDirectory() as scratch, alone(Path(scratch)):
        for stage in (ingest, clean, features, overlap, baselines, prepare):
            stage.main(cfg)
        for name in SMALL:
            train.main(dataclasses.replace(cfg, candidate=name))
            export.main(dataclasses.replace(cfg, candidate=name))
        with replacing(target) as draft:
            for name in SMALL:
                copy_policy(Path("models/candidates") / name, draft / name)


if __name__ == "__main__":
    learn(Path(sys.argv[1]))
