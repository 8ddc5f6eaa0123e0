"""What the OpenAPI document says of events and of the WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.behaviour.definitions import KINDS
from pipelines.behaviour.state import DUPLICATE, EARLY, LATE, TAKEN
from pipelines.serving.asked import LONGEST
from pipelines.serving.happened import CHANNELS, FOREIGN, NUMBERS, PHRASES, PRICED, UNKNOWN_ITEM

if TYPE_CHECKING:
    from pipelines.serving.limits import Limits

Schema = dict[str, Any]
_ABOUT = (
    "Connect with a WebSocket. Each message is a `Message`, each answer an `Answer`. What a message says of shopper, "
    "session, jurisdiction, screen and context holds until another says otherwise; its events are taken, and the "
    "answer has the quotes of the screen just after them. Codes: 1009 a message is too large, 1011 a fault or no "
    "answer to a ping, 1012 the endpoint stops, 1013 answers were not read in time."
)


def event() -> Schema:
    """Return what an event is: a row of the table `events`."""
    key = {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": r"\S"}
    numbers = {name: {"type": ["number", "null"], "minimum": a, "maximum": b} for name, (a, b) in NUMBERS.items()}
    phrases = {name: {"type": ["string", "null"], "maxLength": most} for name, most in PHRASES.items()}
    return {
        "type": "object",
        "required": ["event_id", "time", "shopper_id", "session_id", "kind", "channel"],
        "properties": {
            **dict.fromkeys(("event_id", "shopper_id", "session_id"), key),
            "item_id": {**key, "type": ["string", "null"], "description": "needed but for a search"},
            "time": {
                "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number", "exclusiveMinimum": 0}],
                "description": "seconds since 1970, or a text; without a zone it is UTC",
            },
            "kind": {"enum": list(KINDS)},
            "channel": {"enum": list(CHANNELS)},
            **numbers,
            **phrases,
            "currency": {"type": ["string", "null"]},
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"enum": list(PRICED)}}},
                "then": {"required": ["price"], "properties": {"price": {"type": "number"}}},
            },
            {
                "if": {"properties": {"kind": {"const": "search"}}},
                "else": {"required": ["item_id"], "properties": {"item_id": {"type": "string"}}},
            },
        ],
    }


def taken() -> Schema:
    """Return what is answered of events, one word each."""
    words = [TAKEN, DUPLICATE, LATE, EARLY, UNKNOWN_ITEM, FOREIGN]
    return {"type": "array", "items": {"enum": words}}


def message(limits: Limits) -> Schema:
    """Return what a message of a WebSocket is."""
    word = {"type": ["string", "null"], "minLength": 1, "maxLength": LONGEST}
    request = {"$ref": "#/components/schemas/Request"}
    item = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": LONGEST}, request]}
    events = {"type": "array", "minItems": 1, "maxItems": limits.screen, "items": {"type": "object"}}
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "integer", "null"], "description": "comes back with the answer"},
            "shopper": word,
            "session": word,
            "jurisdiction": {"type": ["string", "null"]},
            "screen": {"type": ["array", "null"], "maxItems": limits.screen, "items": item},
            "context": {"type": ["object", "null"], "description": "fields that hold for every item, e.g. channel"},
            "events": {**events, "description": "of this shopper and session, where they name no other"},
            "at": {"type": ["number", "null"]},
        },
    }


def answer() -> Schema:
    """Return what is answered to a message: quotes, or a problem."""
    quotes = {"type": "array", "items": {"$ref": "#/components/schemas/Quote"}}
    return {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": ["string", "integer", "null"]},
            "events": taken(),
            "quotes": quotes,
            "problem": {"$ref": "#/components/schemas/Problem"},
        },
    }


def socket(refusals: Schema) -> Schema:
    """Return the path of the WebSocket; the document has no other word for one than its handshake."""
    return {
        "get": {
            "summary": "Quotes for a session as its events arrive",
            "description": _ABOUT,
            "responses": {"101": {"description": "it is one now"}, **refusals},
            "x-messages": {
                "takes": {"$ref": "#/components/schemas/Message"},
                "gives": {"$ref": "#/components/schemas/Answer"},
            },
        }
    }
