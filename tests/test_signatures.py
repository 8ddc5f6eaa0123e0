"""Signed quotes: honoured as they are, refused after any change, too late, or signed by a stranger."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.serving import signatures
from pipelines.serving.signatures import Facts, Refused, Signer, Verifier, context_hash, sign, verify

KEY, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
SIGNER, VERIFIER = Signer(KEY), Verifier([KEY.public_key()])
FACTS = Facts("q-1", 1999, "EUR", "sku-7", "a" * 32, "0d9e5c2e18f3", "b" * 32, 2_000_000_000)
TOKEN = SIGNER.sign(FACTS)
NOW = 1_900_000_000.0
WORDS = st.text(max_size=20).filter(lambda t: not re.search("[\ud800-\udfff]", t))


@given(
    st.builds(
        Facts, WORDS, st.integers(0, 10**12), st.sampled_from(["EUR", "JPY"]), st.none() | WORDS, st.none() | WORDS,
        WORDS, WORDS, st.integers(1, 4 * 10**9),
    )
)  # fmt: skip
def test_what_was_signed_comes_back(facts: Facts) -> None:
    """The facts of a quote are those that its token vouches for until, and not at, its expiry."""
    token = SIGNER.sign(facts)
    assert facts == VERIFIER.verify(token, facts.expires - 1)
    assert "expired" == _reason(VERIFIER.verify(token, facts.expires))
    assert token == sign(facts, KEY)
    assert facts == verify(token, KEY.public_key(), 0.0)


@given(st.integers(0, len(TOKEN) - 1), st.characters(max_codepoint=0x2FF, exclude_categories=["Cs"]))
def test_every_changed_character_is_refused(place: int, letter: str) -> None:
    """No character can be another, the unused bits at the end of base64 included."""
    changed = TOKEN[:place] + letter + TOKEN[place + 1 :]
    found = VERIFIER.verify(changed, NOW)
    assert (changed == TOKEN) == (found == FACTS)
    assert changed == TOKEN or isinstance(found, Refused)


def test_every_single_character_matters() -> None:
    """The same for each place and every letter of base64 at it: exhaustive where it is cheap, one letter elsewhere."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place in (len(TOKEN) - 1, TOKEN.index(".") - 1, TOKEN.rindex(".") - 1):
        for letter in letters.replace(TOKEN[place], ""):
            assert isinstance(VERIFIER.verify(TOKEN[:place] + letter + TOKEN[place + 1 :], NOW), Refused)
    for place in range(len(TOKEN)):
        other = "A" if TOKEN[place] != "A" else "B"
        assert isinstance(VERIFIER.verify(TOKEN[:place] + other + TOKEN[place + 1 :], NOW), Refused)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode() + ".a.b"))
def test_nonsense_is_refused_quietly(text: str) -> None:
    """Whatever is sent, there is a reason and never an exception."""
    assert isinstance(VERIFIER.verify(text, NOW), Refused)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "malformed"),
        (TOKEN + ".", "malformed"),
        (TOKEN + "=", "malformed"),
        (" " + TOKEN, "malformed"),
        ("x" * 5000, "malformed"),
        (TOKEN.rsplit(".", 1)[0] + ".", "forged"),
        (sign(FACTS, STRANGER), "unknown_key"),
        (TOKEN.rsplit(".", 1)[0] + "." + sign(FACTS, STRANGER).rsplit(".", 1)[1], "forged"),
        (TOKEN.split(".")[0] + "." + sign(replace(FACTS, price_minor=1), KEY).split(".", 1)[1][:-2] + "AA", "forged"),
    ],
)  # fmt: skip
def test_reasons(token: str, reason: str) -> None:
    """Each kind of wrong token has its reason."""
    assert reason == _reason(VERIFIER.verify(token, NOW))


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256", "typ": "JWT", "kid": "x"}, {}, []])
def test_no_other_algorithm_is_heard_of(header: object) -> None:
    """A header that asks for another algorithm, or none, is no token of ours, even rightly signed."""
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    signed = head + b"." + TOKEN.split(".")[1].encode()
    token = signed + b"." + base64.urlsafe_b64encode(KEY.sign(signed)).rstrip(b"=")
    assert "malformed" == _reason(VERIFIER.verify(token.decode(), NOW))


def test_a_token_of_something_else_is_refused() -> None:
    """A rightly signed body that lacks a fact, or has one of a wrong type, vouches for nothing."""
    head = TOKEN.split(".")[0].encode()
    for claims in ({}, {"exp": 5}, [], json.loads(_part(TOKEN, 1)) | {"price": "1999"}):
        signed = head + b"." + base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
        token = signed + b"." + base64.urlsafe_b64encode(KEY.sign(signed)).rstrip(b"=")
        assert "malformed" == _reason(VERIFIER.verify(token.decode(), 0.0))


def test_a_new_key_takes_over_without_a_gap() -> None:
    """While both keys are trusted, tokens of both are; afterwards those of the old one are not."""
    both = Verifier([KEY.public_key(), STRANGER.public_key()])
    assert (FACTS, FACTS) == (both.verify(TOKEN, NOW), both.verify(sign(FACTS, STRANGER), NOW))
    assert "unknown_key" == _reason(Verifier([STRANGER.public_key()]).verify(TOKEN, NOW))


def test_five_lines_verify_offline() -> None:
    """The lines of the module's docstring, run as they stand, accept the token, and refuse a forged or expired one."""
    lines = re.findall(r"^    (.+)$", signatures.__doc__ or "", flags=re.M)
    assert 5 == len(lines)
    program = compile("import base64, json, time\n" + "\n".join(lines), "docstring", "exec")
    found: dict[str, object] = {"token": TOKEN, "public_key": KEY.public_key()}
    exec(program, found)
    assert (1999, "EUR", "sku-7") == tuple(found["quote"][name] for name in ("price", "currency", "item"))  # type: ignore[index]
    with pytest.raises(InvalidSignature):
        exec(program, {"token": TOKEN.replace(".", ".A", 1), "public_key": KEY.public_key()})
    with pytest.raises(AssertionError, match="expired"):
        exec(program, {"token": sign(replace(FACTS, expires=1), KEY), "public_key": KEY.public_key()})


@pytest.mark.parametrize(
    "wrong",
    [{"price_minor": -1}, {"price_minor": 19.99}, {"expires": 1e9}, {"item": 7}, {"currency": None}],
)
def test_facts_refuse_nonsense(wrong: dict) -> None:
    """What cannot be a price, a time or a name is refused when the facts are made, by name and value."""
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=re.escape(f"{name}={value!r} must be a")):
        replace(FACTS, **wrong)


@given(st.dictionaries(st.text("abc", max_size=3), st.floats(allow_nan=False) | st.text("xy", max_size=3), max_size=5))
def test_the_context_hash_knows_values_not_order(inputs: dict) -> None:
    """The order of the fields is nothing to it; any other value or name is another hash."""
    assert context_hash(inputs) == context_hash(dict(reversed(inputs.items())))
    assert context_hash(inputs) != context_hash({**inputs, "new": 1.0})
    for name in inputs:
        assert context_hash(inputs) != context_hash({**inputs, name: "another"})


def _reason(found: Facts | Refused) -> str:
    assert isinstance(found, Refused), found
    return found.reason


def _part(token: str, place: int) -> bytes:
    return base64.urlsafe_b64decode(token.split(".")[place] + "==")
