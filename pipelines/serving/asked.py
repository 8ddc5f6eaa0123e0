"""What a request asks for: whose price of what, and the context as it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.serving.fields import RequestError, is_number

# What a request may say beside its context; a policy with an input of the same name takes it as that input.
BESIDE = ("shopper", "item", "session", "quote", "jurisdiction", "at")
LONGEST = 256  # characters of an id
LONGEST_TOKEN = 4096
WHOLE = -1  # the `row` of a refusal that is of no single context


@dataclass(slots=True)
class Asked:
    """One price that is asked for.

    context: named fields, as they came; the endpoint adds `u`. token: a signed quote that was shown before. at: when
    the price is asked for, seconds since 1970, where that is not now. drawn: whether `u` was derived from the shopper.
    whole: the context was given as `context`, so that no feature state is to compute it. instead: why the list price is
    to be quoted, whatever the graph would say.
    """

    context: dict[str, Any]
    shopper: str | None = None
    item: str | None = None
    session: str | None = None
    token: str | None = None
    jurisdiction: str | None = None
    at: float | None = None
    drawn: bool = False
    whole: bool = False
    instead: str | None = None


def asked(body: Any, inputs: frozenset[str], shared: Asked | None = None) -> Asked:
    """Return what one request asks for.

    body: the request as parsed: an object whose `context` is the context, or which is the context itself. inputs: what
    the policy takes. shared: what holds for all requests of a page. Raises RequestError.
    """
    if not isinstance(body, dict):
        raise RequestError(None, f"a request is an object of named fields, not {named(body)}")
    whole = body.get("context")
    if whole is None:
        context, own = body, [None if k in inputs else body.get(k) for k in BESIDE]
    elif isinstance(whole, dict):
        context, own = whole, [*map(body.get, BESIDE)]
    else:
        raise RequestError("context", f"is {named(whole)}; expected an object of named fields")
    if own == _NOTHING and shared is None:
        return Asked(context, whole=whole is not None)
    shopper, item, session, token, jurisdiction, at = own
    common = _NOBODY if shared is None else shared
    return Asked(
        context,
        common.shopper if shopper is None else text(shopper, "shopper"),
        common.item if item is None else text(item, "item"),
        common.session if session is None else text(session, "session"),
        None if token is None else text(token, "quote", LONGEST_TOKEN),
        common.jurisdiction if jurisdiction is None else text(jurisdiction, "jurisdiction"),
        common.at if at is None else _instant(at),
        False,
        whole is not None,
    )


def page(body: Any, inputs: frozenset[str], most: int) -> list[Asked]:
    """Return what a page asks for: `contexts`, each as `asked` takes it, and beside them what they share."""
    if not isinstance(body, dict):
        raise RequestError(None, f"a request is an object of named fields, not {named(body)}", WHOLE)
    contexts = body.get("contexts")
    if not isinstance(contexts, list):
        what = "is missing" if contexts is None else f"is {named(contexts)}"
        raise RequestError("contexts", f"{what}; expected an array of requests", WHOLE)
    if not 1 <= len(contexts) <= most:
        raise RequestError("contexts", f"holds {len(contexts)} requests; expected 1 to {most}", WHOLE)
    try:
        shared = asked({**{k: v for k, v in body.items() if k in BESIDE and k != "quote"}, "context": {}}, inputs)
    except RequestError as refused:
        raise RequestError(refused.field, refused.detail, WHOLE) from None
    wanted = []
    for at, one in enumerate(contexts):
        try:
            wanted.append(asked(one, inputs, shared))
        except RequestError as refused:
            raise RequestError(refused.field, refused.detail, at) from None
    return wanted


def named(value: Any) -> str:
    """Return what kind of thing JSON held, in words, for a refusal."""
    if isinstance(value, bool):
        return "a truth value"
    kinds = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def fields_given(context: Mapping[str, Any], inputs: frozenset[str]) -> dict[str, Any]:
    """Return the fields of a request that are the policy's inputs."""
    return {k: v for k, v in context.items() if k in inputs and v is not None}


_NOTHING: list[Any] = [None] * len(BESIDE)
_NOBODY = Asked({})


def text(value: Any, name: str, longest: int = LONGEST) -> str:
    """Return an id or a token of a request as it is. Raises RequestError, which names the field."""
    if not isinstance(value, str):
        raise RequestError(name, f"is {named(value)}; expected a text")
    if not 1 <= len(value) <= longest:
        raise RequestError(name, f"has {len(value)} characters; expected 1 to {longest}")
    return value


def _instant(value: Any) -> float:
    if not is_number(value) or not 0 <= value <= 1e11:
        raise RequestError("at", "is not a time; expected seconds since 1970, e.g. 1772400000.5")
    return float(value)
