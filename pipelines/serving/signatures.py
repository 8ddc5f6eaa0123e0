r"""Signed quotes: a token that a checkout verifies without asking anybody, so that a shown price is honoured.

A token has three parts: `base64url(header).base64url(facts).base64url(seal)`. That of a quote made alone is a JSON Web
Token (RFC 7519), its seal an Ed25519 signature (RFC 8037) over the two parts before it. A signature takes as long as a
page needs for two quotes, so a page is signed once, over the root of a hash tree (`merkle`) that has these two parts of
each quote for its leaves: the seal is then the page's signature and the quote's path, and the header says `EdDSA-page`.
A token of a page stands alone as well. Offline, a few lines are enough for both (docs/decisions.md):

    head, facts, seal = token.split(".")
    unpacked = lambda part: base64.urlsafe_b64decode(part + "==")
    signed, seal = f"{head}.{facts}".encode(), unpacked(seal)
    if len(seal) > 64:  # of a page: its path leads to the root that was signed
        signed = sha256(b"\0" + signed).digest()
        for at in range(64, len(seal), 32):
            signed = sha256(b"\1" + b"".join(sorted((signed, seal[at : at + 32])))).digest()
    public_key.verify(seal[:64], signed)  # raises InvalidSignature
    quote = json.loads(unpacked(facts))
    assert quote["exp"] > time.time(), "this quote has expired"
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipelines.errors import InputError
from pipelines.serving import merkle
from pipelines.serving.keys import name_of

LONGEST = 4096  # characters of a token that is worth looking at
_ALONE, _PAGE = "EdDSA", "EdDSA-page"  # algorithms that headers name; no library takes the second for the first
_SIGNATURE = 64  # bytes
_HIGHEST = 16  # levels of a tree: 65,536 quotes
_CLAIMS = {  # fact -> what the token calls it; three names are the standard's own
    "quote_id": "jti", "expires": "exp", "shopper": "sub", "item": "item", "price_minor": "price",
    "currency": "currency", "policy_digest": "policy", "context_hash": "context", "personalised": "personal",
}  # fmt: skip

_URL_SAFE = bytes.maketrans(b"+/", b"-_")

Reason = Literal["malformed", "unknown_key", "forged", "expired"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a signature vouches for: this price, in minor units, of this item for this shopper, until it expires.

    shopper: the pseudonym, or None where the request named nobody; item likewise. expires: seconds since 1970.
    personalised: whether personal data could move the price, which must be told whenever it is shown.
    """

    quote_id: str
    price_minor: int
    currency: str
    item: str | None
    shopper: str | None
    policy_digest: str
    context_hash: str
    expires: int
    personalised: bool

    def __post_init__(self) -> None:
        """Refuse what cannot be a price or a time."""
        for name in ("price_minor", "expires"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 2**53:
                raise InputError(f"{name}={value!r} must be a whole number from 0")
        for name in ("quote_id", "currency", "policy_digest", "context_hash"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name}={getattr(self, name)!r} must be a text")
        if not isinstance(self.personalised, bool):
            raise InputError(f"personalised={self.personalised!r} must be true or false")
        for name in ("item", "shopper"):
            if not isinstance(getattr(self, name), str | None):
                raise InputError(f"{name}={getattr(self, name)!r} must be a text or None")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a token is not honoured, as a word and in a sentence that gives nothing away."""

    reason: Reason
    detail: str


_REFUSALS = {
    "malformed": Refused("malformed", "this is no signed quote of this shop"),
    "unknown_key": Refused("unknown_key", "it was signed with a key that is not trusted here"),
    "forged": Refused("forged", "its signature does not belong to its content"),
    "expired": Refused("expired", "it has expired: ask for a new quote"),
}


def context_hash(inputs: Mapping[str, Any]) -> str:
    """Return the hash of a context as the graph was fed it, whatever the order of its fields: 32 hexadecimal digits."""
    text = orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return blake2b(text, digest_size=16).hexdigest()


class Signer:
    """The private half: signs the facts of quotes."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key()
        self._alone, self._page = (_header(self.public_key, alg) + b"." for alg in (_ALONE, _PAGE))

    def sign(self, facts: Facts) -> str:
        """Return the token of a quote."""
        return self.one({name: getattr(facts, name) for name in _CLAIMS})

    def one(self, quote: Mapping[str, Any]) -> str:
        """Return the same of the fields of `Facts`; as their caller made them, they are not looked at again."""
        signed = _leaf(self._alone, quote)
        return (signed + b"." + _packed(self._key.sign(signed))).decode()

    def page(self, quotes: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the tokens of the quotes of a page, at least one, for one signature; quotes: each as for `one`."""
        leaves = [_leaf(self._page, quote) for quote in quotes]
        root, paths = merkle.tree(leaves)
        signature = self._key.sign(root)
        return [(leaf + b"." + _packed(signature + path)).decode() for leaf, path in zip(leaves, paths, strict=True)]


class Verifier:
    """The public half. Several keys may be trusted at once, so that one can take another's place without a gap."""

    def __init__(self, keys: Sequence[Ed25519PublicKey]) -> None:
        self._keys = {_header(key, alg): (key, alg) for key in keys for alg in (_ALONE, _PAGE)}

    def verify(self, token: str, now: float) -> Facts | Refused:
        """Return what the token vouches for, or why it is not honoured; now: seconds since 1970.

        Any change of any character is refused: the header must be one of ours, byte for byte, and base64 has one
        spelling only.
        """
        if len(token) > LONGEST or not token.isascii() or token.count(".") != 2:
            return _REFUSALS["malformed"]
        head, body, last = token.encode().split(b".")
        known = self._keys.get(head)
        if known is None:
            return _REFUSALS["unknown_key" if _is_ours(head) else "malformed"]
        seal = _unpacked(last)
        if seal is None:
            return _REFUSALS["malformed"]
        (key, alg), signed = known, head + b"." + body
        if alg == _PAGE:
            path = seal[_SIGNATURE:]
            if len(path) % merkle.SIZE or len(path) > _HIGHEST * merkle.SIZE:
                return _REFUSALS["malformed"]
            seal, signed = seal[:_SIGNATURE], merkle.root_of(signed, path)
        try:
            key.verify(seal, signed)
        except InvalidSignature:
            return _REFUSALS["forged"]
        facts = _facts(body)
        if facts is None:
            return _REFUSALS["malformed"]
        return facts if now < facts.expires else _REFUSALS["expired"]


def sign(facts: Facts, key: Ed25519PrivateKey) -> str:
    """Return the token of one quote; a Signer is cheaper for many."""
    return Signer(key).sign(facts)


def verify(token: str, key: Ed25519PublicKey, now: float) -> Facts | Refused:
    """Return what a token vouches for, or why it is not honoured; a Verifier is cheaper for many."""
    return Verifier([key]).verify(token, now)


def _leaf(head: bytes, quote: Mapping[str, Any]) -> bytes:
    """Return the two parts of a token that are signed: `_CLAIMS`, spelled out, since it is done so often."""
    claims = {
        "jti": quote["quote_id"], "exp": quote["expires"], "sub": quote["shopper"], "item": quote["item"],
        "price": quote["price_minor"], "currency": quote["currency"], "policy": quote["policy_digest"],
        "context": quote["context_hash"], "personal": quote["personalised"],
    }  # fmt: skip
    return head + _packed(orjson.dumps(claims))


def _header(key: Ed25519PublicKey, alg: str) -> bytes:
    return _packed(orjson.dumps({"alg": alg, "typ": "JWT", "kid": name_of(key)}))


def _is_ours(head: bytes) -> bool:
    """Return whether a header is spelled as ours are, whatever the key."""
    try:
        found = orjson.loads(_unpacked(head) or b"")
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and list(found) == ["alg", "typ", "kid"] and found["alg"] in (_ALONE, _PAGE)


def _facts(body: bytes) -> Facts | None:
    """Return the facts of a body whose signature was verified, or None where another program signed something else."""
    try:
        # a token of before the claim `personal`: whoever shows its price again says more than needed, not less
        claims = {"personal": True, **orjson.loads(_unpacked(body) or b"")}
        return Facts(**{name: claims[claim] for name, claim in _CLAIMS.items()})
    except (orjson.JSONDecodeError, KeyError, TypeError, InputError):
        return None


def _packed(content: bytes) -> bytes:
    return b2a_base64(content, newline=False).translate(_URL_SAFE, b"=")


def _unpacked(text: bytes) -> bytes | None:
    """Return the content of base64url without padding, or None if it is not spelled in the one right way."""
    try:
        content = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        return None
    return content if _packed(content) == text else None
