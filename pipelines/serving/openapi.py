"""The API as an OpenAPI document: built from what the policy takes, so that it is never out of date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.serving import openapi_events
from pipelines.serving.asked import LONGEST, LONGEST_TOKEN

if TYPE_CHECKING:
    from pipelines.manifest import Manifest
    from pipelines.serving.limits import Limits

Schema = dict[str, Any]
_BOUNDS: dict[str, Schema] = {
    "list_price": {"exclusiveMinimum": 0, "maximum": 1e12, "description": "the public price"},
    "unit_cost": {
        "minimum": 0,
        "maximum": 1e12,
        "description": "what one costs the shop",
    },
    "min_price": {"minimum": 0, "maximum": 1e12, "description": "no price below it"},
    "max_price": {"minimum": 0, "maximum": 1e12, "description": "no price above it"},
    "u": {
        "minimum": 0,
        "exclusiveMaximum": 1,
        "description": "chance; derived from shopper and item",
    },
    "personal": {"enum": [0, 1, None], "description": "0: nothing personal may move the price"},
}
_TEXTS = {
    "quote_id": "names the quote, for its outcome",
    "price": "what to charge, a decimal string",
    "price_minor": "the same in minor units of the currency (ISO 4217)",
    "currency": "ISO 4217",
    "list_price": "the public price, a decimal string",
    "list_price_minor": "the same in minor units",
    "multiplier": "price / list price, as the graph says",
    "purchase_probability": "expected probability that this shopper buys at this price",
    "expected_profit": "(price - unit cost) x purchase probability",
    "price_sensitivity": "elasticity of the purchase probability at this price",
    "guardrail": "the guardrail that forbade the most profitable price, or none; null: a repeat",
    "fallback": "why the list price was quoted; null: it was not",
    "propensity": "probability with which this price was chosen",
    "valid_until": "until then the price is honoured, UTC",
    "personalised": "whether personal data could move the price",
    "disclosure": "what the shopper must be told then",
    "signature": "a token that proves the quote; null: this endpoint does not sign",
    "repeat": "whether a signed price was given again",
}
_NULL = {
    "purchase_probability", "expected_profit", "price_sensitivity", "guardrail", "fallback", "propensity",
    "disclosure", "signature",
}  # fmt: skip
_KINDS = {
    **dict.fromkeys(("price_minor", "list_price_minor"), "integer"),
    **dict.fromkeys(("personalised", "repeat"), "boolean"),
    **dict.fromkeys(
        ("multiplier", "purchase_probability", "expected_profit", "price_sensitivity", "propensity"), "number"
    ),
}


def document(manifest: Manifest, limits: Limits, jurisdictions: list[str], keyed: bool, by_ids: bool = False) -> Schema:
    """Return the document. jurisdictions: those with a disclosure. keyed: an API key is asked for. by_ids: a feature
    state is attached.
    """
    beside = _beside(jurisdictions)
    page = {
        "type": "object",
        "required": ["contexts"],
        "properties": {
            "contexts": {"type": "array", "minItems": 1, "maxItems": limits.contexts, "items": _ref("Request")},
            **{name: schema for name, schema in beside.items() if name != "quote"},
        },
    }
    schemas = {
        "Context": context(manifest),
        "Request": request(manifest, beside, by_ids),
        "Page": page,
        "Quote": quote(),
        "Quotes": _object({"quotes": {"type": "array", "items": _ref("Quote")}}),
        "Problem": problem(),
        "Outcomes": _object({"outcomes": {"type": "array", "minItems": 1, "maxItems": limits.contexts, "items": {
            "type": "object",
            "required": ["quote_id"],
            "properties": {
                "quote_id": {"type": "string", "minLength": 1, "maxLength": LONGEST},
                "bought": {"type": "boolean", "default": True},
                "quantity": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e9, "default": 1},
                "at": {"type": "number", "exclusiveMinimum": 0, "maximum": 4e9, "description": "seconds since 1970"},
            },
        }}}),
        "Event": openapi_events.event(),
        "Events": _object({"events": {
            "type": "array", "minItems": 1, "maxItems": limits.contexts, "items": _ref("Event"),
        }}),
        "Taken": _object({"events": openapi_events.taken()}),
        "Message": openapi_events.message(limits),
        "Answer": openapi_events.answer(),
        "Token": {"type": "object", "required": ["quote"], "properties": {
            "quote": {"type": "string", "minLength": 1, "maxLength": LONGEST_TOKEN},
            "shopper": {**_WHO, "description": "refuse it as other_shopper where it was shown to somebody else"},
            "item": {**_WHO, "description": "refuse it as other_item where it is the price of something else"},
        }},
    }  # fmt: skip
    told: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "Pricewright",
            "version": manifest.graph_sha256[:12],
            "description": f"Prices by the policy {manifest.name}: {manifest.demand}",
        },
        "paths": {
            "/quote": _post("One context, one quote", "Request", "Quote", 503, deadline=True),
            "/quotes": _post("A page of contexts, one graph call", "Page", "Quotes", 503, deadline=True),
            "/quotes/verify": _post("Whether a signed quote is to be honoured", "Token", None),
            "/curve": _post("What stands behind a quote, rung by rung; never logged", "Request", None, 503),
            "/outcomes": _post("Purchases by quote id", "Outcomes", None),
            "/events": _post("What shoppers did, for the feature state", "Events", "Taken", 503),
            "/ws": openapi_events.socket(_refusals(401, 403, 405, 426, 503)),
            "/live": _get("That it runs, and which policy quotes"),
            "/ready": _get("Whether it should get requests", 503),
            "/metrics": _get("Counts of all workers, in Prometheus' format", media="text/plain"),
            "/policy": _get("The manifest of the policy"),
            "/openapi.json": _get("This document"),
        },
        "components": {"schemas": schemas},
    }
    if keyed:
        told["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        told["security"] = [{"key": []}]
    return told


def context(manifest: Manifest) -> Schema:
    """Return what a context is: the policy's inputs; whatever else it holds is ignored."""
    fields: Schema = {}
    for field in manifest.inputs:
        schema: Schema = {"type": ["number" if field.kind == "number" else "string", "null"]}
        if field.unit:
            schema["description"] = field.unit
        schema |= _BOUNDS.get(field.name, {})
        fields[field.name] = schema
    required = [f.name for f in manifest.inputs if f.required]
    if manifest.listed:
        fields["list_price"]["type"] = "number"
        required = sorted({*required, "list_price"})
    else:
        fields["list_price"] = {"enum": [1, None], "description": "this policy knows no list prices"}
    return {"type": "object", "properties": fields, **({"required": required} if required else {})}


def request(manifest: Manifest, beside: Schema, by_ids: bool = False) -> Schema:
    """Return what a request is: a context with what is said beside it, a context itself, or ids that stand for one."""
    names = {f.name for f in manifest.inputs}
    whole = {
        "type": "object",
        "required": ["context"],
        "properties": {"context": _ref("Context"), **beside},
    }
    thin = context(manifest)
    thin["properties"] |= {name: schema for name, schema in beside.items() if name not in names}
    thin["properties"]["context"] = {"type": "null"}
    if not by_ids:
        return {"anyOf": [whole, thin]}
    ids = {"type": "string", "minLength": 1, "maxLength": LONGEST}
    named = {**thin, "required": ["shopper", "item", "session"]}
    named["properties"] = thin["properties"] | dict.fromkeys(named["required"], ids)
    if manifest.listed:
        named["properties"]["list_price"] = {**thin["properties"]["list_price"], "type": ["number", "null"]}
    return {"anyOf": [whole, thin, named]}


def quote() -> Schema:
    """Return what a quote is."""
    properties: Schema = {}
    for name, text in _TEXTS.items():
        kind = _KINDS.get(name, "string")
        properties[name] = {"type": [kind, "null"] if name in _NULL else kind, "description": text}
    properties["valid_until"]["format"] = "date-time"
    word = {"type": ["string", "null"]}
    properties["policy"] = _object({"name": word, "version": word, "digest": {"type": "string"}})
    return _object(properties)


def problem() -> Schema:
    """Return what a refusal is (RFC 9457)."""
    words = {name: {"type": "string"} for name in ("title", "detail")}
    return _object({**words, "status": {"type": "integer"}, "field": {"type": ["string", "null"]}})


def _beside(jurisdictions: list[str]) -> Schema:
    word = {"type": ["string", "null"], "minLength": 1, "maxLength": LONGEST}
    return {
        "shopper": {**word, "description": "with item: the same shopper sees the same price for it"},
        "item": word,
        "session": word,
        "quote": {**word, "maxLength": LONGEST_TOKEN, "description": "a signed quote that was shown before"},
        "jurisdiction": {"enum": [*jurisdictions, None], "description": "whose disclosure is told"},
        "at": {"type": ["number", "null"], "minimum": 0, "maximum": 1e11},
    }


def _post(about: str, takes: str, gives: str | None, *statuses: int, deadline: bool = False) -> Schema:
    told: Schema = {
        "summary": about,
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(takes)}}},
        "responses": {
            "200": {
                "description": "done",
                "content": {"application/json": {"schema": _ref(gives) if gives else {"type": "object"}}},
            },
            **_refusals(400, 401, 403, 405, 408, 413, 422, *statuses),
        },
    }
    if deadline:
        told["parameters"] = [
            {
                "name": "X-Deadline-Ms",
                "in": "header",
                "required": False,
                "description": "milliseconds after which the list price is quoted, with the reason `deadline`",
                "schema": {"type": "integer", "minimum": 0, "maximum": 999_999},
            }
        ]
    return {"post": told}


def _get(about: str, *statuses: int, media: str = "application/json") -> Schema:
    schema = {"type": "object"} if media == "application/json" else {"type": "string"}
    responses: Schema = {"200": {"description": "done", "content": {media: {"schema": schema}}}}
    responses |= _refusals(401, 403, 405)
    responses |= {str(s): {"description": "not now", "content": {media: {"schema": schema}}} for s in statuses}
    return {"get": {"summary": about, "responses": responses}}


def _refusals(*statuses: int) -> Schema:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {str(s): {"description": "refused", "content": content} for s in statuses}


_WHO: Schema = {"type": ["string", "null"], "minLength": 1, "maxLength": LONGEST}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
