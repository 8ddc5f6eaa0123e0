"""What an endpoint is made of, put together in one place from its settings: policy, chance, signatures, log, checks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.files import read_json
from pipelines.manifest import MANIFEST
from pipelines.serving.access import Access
from pipelines.serving.disclosure import Disclosures
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.metrics import Cells
from pipelines.serving.overload import Gate
from pipelines.serving.parts import Fixed, Held, Live, Parts
from pipelines.serving.quoting import Quoter
from pipelines.serving.runtime import Policy

if TYPE_CHECKING:
    from pipelines.serving.settings import Settings

INCUMBENT = Path("models/incumbent")
LIST_PRICE = Path("models/baselines/list_price")


def endpoint(settings: Settings) -> Endpoint:
    """Return the application of one worker. Raises InputError where it cannot start."""
    return assembled(parts(settings), settings)


def parts(settings: Settings) -> Parts:
    """Return what the endpoint is made of.

    This is where chance, signer, decision log, feature state, hot swap and the golden self-test come in.
    """
    live = Fixed(Held(Policy.load(folder(settings.policy))))
    return Parts(live=live, checks={"self-test": lambda: prices(live)})


def assembled(made: Parts, settings: Settings) -> Endpoint:
    """Return the application of parts that are made already."""
    disclosures = Disclosures.read(default=settings.jurisdiction)
    return Endpoint(
        Quoter(made, disclosures, settings.validity),
        gate=Gate(settings.queue, settings.pages),
        access=Access.read(settings.keys),
        cells=Cells(settings.shared, settings.worker),
        deadline=settings.deadline,
    )


def folder(given: Path | None) -> Path:
    """Return the folder to quote by: the one given, else the incumbent of this source, else the list price."""
    if given is not None:
        return given
    # `baselines` writes the list-price policy of the configured source, and it names the registered model
    model = read_json(LIST_PRICE / MANIFEST)["model"] if (LIST_PRICE / MANIFEST).is_file() else "pricing"
    incumbent = INCUMBENT / model
    if incumbent.is_dir() or not LIST_PRICE.is_dir():
        return incumbent
    print(f"{incumbent} does not exist: nothing was promoted yet, so the list price is quoted")
    return LIST_PRICE


def prices(live: Live) -> str | None:
    """Return why the live policy does not price a plain context, or None."""
    if live.current is None:
        return "there is no policy yet"
    policy = live.current.policy
    try:
        (quote,) = policy.quote([{"list_price": 10.0, "unit_cost": 1.0} if policy.manifest.listed else {}])
    except Exception as error:
        return f"{policy.manifest.name} does not price: {error}"
    if not (math.isfinite(quote["price"]) and quote["price"] > 0):
        return f"{policy.manifest.name} quotes {quote['price']}"
    return None
