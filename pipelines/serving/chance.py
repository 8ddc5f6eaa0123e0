"""Chance without a store: `u` and the shopper's pseudonym are keyed hashes, so every worker and channel has the same.

BLAKE2b with a key (RFC 7693) is a pseudorandom function: without the secret nobody can tell or foresee a shopper's `u`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from pipelines.errors import InputError

DAY = 86_400
_U, _SHOPPER = b"pricewright:u", b"pricewright:who"  # at most 16 bytes: what the hash is for
_BITS = 53  # of a double's fraction: every multiple of 2**-53 in [0, 1) is as likely


def u_of(key: bytes, shopper: str, item: str, instant: float, bucket: float = DAY) -> float:
    """Return the chance in [0, 1) that decides exploration for a shopper and an item, the same all through a bucket.

    instant: seconds since 1970. bucket: its length in seconds; buckets begin at whole multiples of it, UTC.
    """
    drawn = _begun(key, shopper, instant, bucket).copy()
    drawn.update(item.encode("utf-8", "surrogatepass"))
    return float((int.from_bytes(drawn.digest(), "big") >> (64 - _BITS)) * 2.0**-_BITS)


@lru_cache(maxsize=4)  # the items of a page are one shopper's, at one instant
def _begun(key: bytes, shopper: str, instant: float, bucket: float) -> blake2b:
    """Return the hash of all but the item."""
    number, name = bucket_of(instant, bucket), shopper.encode("utf-8", "surrogatepass")
    # lengths and numbers first, so that no two triples are spelled alike
    text = b"%d:%d:%r:" % (len(name), number, float(bucket)) + name
    return blake2b(text, digest_size=8, key=key, person=_U)


def bucket_of(instant: float, bucket: float = DAY) -> int:
    """Return the number of the time bucket that an instant lies in."""
    if not 0 < bucket < float("inf"):
        raise InputError(f"a time bucket of {bucket} seconds is none: expected a positive number, a day is {DAY}")
    return int(instant // bucket)


def pseudonym(key: bytes, shopper: str) -> str:
    """Return the name that logs and signed quotes call a shopper by: 32 hexadecimal digits.

    The same shopper always has the same one; only who holds the secret can tell whose it is.
    """
    return blake2b(shopper.encode("utf-8", "surrogatepass"), digest_size=16, key=key, person=_SHOPPER).hexdigest()
