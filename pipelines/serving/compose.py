"""What an endpoint is made of, put together in one place from its settings: policy, chance, signatures, log, checks."""

from __future__ import annotations

import asyncio
import math
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.serving import keys
from pipelines.serving.access import Access
from pipelines.serving.adapters import Drawn, Logged, Sealing
from pipelines.serving.attached import with_features
from pipelines.serving.choosing import chosen, is_signed
from pipelines.serving.decisions import DecisionLog
from pipelines.serving.disclosure import Disclosures
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.limits import Limits
from pipelines.serving.log_settings import LogSettings
from pipelines.serving.metrics import Cells
from pipelines.serving.overload import Gate
from pipelines.serving.parts import Live, Parts
from pipelines.serving.quoting import Quoter
from pipelines.serving.signatures import Signer, Verifier

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.serving import swap
    from pipelines.serving.settings import Settings


def endpoint(settings: Settings) -> Endpoint:
    """Return the application of one worker. Raises InputError where it cannot start."""
    made, cells = parts(settings), Cells(settings.shared, settings.worker)
    if settings.features is not None:
        made = with_features(made, settings.features, settings, cells)
    return assembled(made, settings, cells)


def parts(settings: Settings) -> Parts:
    """Return what the endpoint is made of."""
    live = chosen(settings)
    chance, signer = _keyed(settings)
    log = None if settings.log is None else Logged(DecisionLog(
        settings.log, str(settings.worker), LogSettings(sync=settings.sync)  # type: ignore[arg-type]  # checked there
    ))  # fmt: skip
    follows = settings.policy is None
    return Parts(
        live=live,
        chance=chance,
        signer=signer,
        log=log,
        checks={"self-test": lambda: prices(live)},
        worries={
            "policy": lambda: _refused(live),
            "signature": lambda: _unsigned(live),
            "rounds": lambda: _unsteady(live),
        },
        gauges=_gauges(live) | (log.gauges() if log is not None else {}),
        start=(_in_thread(live.start),) if follows else (),
        stop=((_in_thread(live.stop),) if follows else ()) + ((_in_thread(log.log.close),) if log is not None else ()),
    )


def assembled(made: Parts, settings: Settings, cells: Cells) -> Endpoint:
    """Return the application of parts that are made already."""
    disclosures = Disclosures.read(default=settings.jurisdiction)
    return Endpoint(
        Quoter(made, disclosures, settings.validity),
        gate=Gate(settings.queue, settings.pages),
        access=Access.read(settings.keys),
        cells=cells,
        deadline=settings.deadline,
        limits=Limits(sockets=settings.sockets),
        origins=tuple(filter(None, settings.origins.split(","))),
    )


def _keyed(settings: Settings) -> tuple[Drawn, Sealing | None]:
    with warnings.catch_warnings(record=True) as told:  # that a key was made is news; where in our code it was, is not
        warnings.simplefilter("always")
        made = (
            Drawn(keys.secret(settings.secret), settings.bucket),
            None if settings.quote_key is None else sealing(settings.quote_key),
        )
    for warning in told:
        print(f"warning: {warning.message}", file=sys.stderr)
    return made


def sealing(path: Path) -> Sealing:
    """Return what signs with the key of `path`, and trusts the keys in the public file beside it, its own among them.

    That file is what a checkout verifies by; it is made where it is missing. Raises InputError.
    """
    signer, beside = Signer(keys.signing_key(path)), path.with_suffix(".pub")
    if not beside.is_file():
        keys.publish(signer.public_key, beside)
    trusted = keys.trusted_keys(beside)
    if signer.public_key not in trusted:
        raise InputError(
            f"{beside} does not hold the public key of {path}: checkouts verify by it. Add it there (`openssl pkey -in "
            f"{path} -pubout`), above the old one for as long as quotes of that are valid"
        )
    return Sealing(signer, Verifier(trusted))


def prices(live: Live) -> str | None:
    """Return why the live policy does not price a plain context, or None.

    Its golden quotes it answered before it came to its place.
    """
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


def _refused(live: swap.Live) -> str | None:
    return None if live.refusal is None else f"{live.refusal.code}: {live.refusal.reason}"


def _unsigned(live: swap.Live) -> str | None:
    return None if is_signed(live) else "what quotes is not signed: see `python -m pipelines.promote` and --policy"


def _unsteady(live: swap.Live) -> str | None:
    if live.current is None or live.current.policy.steady:
        return None
    return "on this processor the policy does not answer the same alone and beside others: it prices one by one, slower"


def _gauges(live: swap.Live) -> dict[str, Callable[[], float]]:
    places = live.places
    return {
        "policies_placed_total": lambda: places["current"].placed,
        "policies_refused_total": lambda: sum(places["current"].refused.values()),
        "policy_refused": lambda: float(live.refusal is not None),
        "shadow_quotes": lambda: float(live.shadow is not None),
    }


def _in_thread(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await asyncio.to_thread(work)

    return run
