"""Signed quotes: honoured as they are, refused after any change, too late, or signed by a stranger."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

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
FACTS = Facts("q-1", 1999, "EUR", "sku-7", "a" * 32, "0d9e5c2e18f3", "b" * 32, 2_000_000_000, True)
TOKEN = SIGNER.sign(FACTS)
PAGE_FACTS = [replace(FACTS, quote_id=f"q-{n}", price_minor=1000 + n) for n in range(11)]
PAGE = SIGNER.page([asdict(facts) for facts in PAGE_FACTS])
NOW = 1_900_000_000.0
WORDS = st.text(max_size=20).filter(lambda t: not re.search("[\ud800-\udfff]", t))


FACTS_OF_ANY_KIND = st.builds(
    Facts, WORDS, st.integers(0, 10**12), st.sampled_from(["EUR", "JPY"]), st.none() | WORDS, st.none() | WORDS,
    WORDS, WORDS, st.integers(1, 4 * 10**9), st.booleans(),
)  # fmt: skip


@given(FACTS_OF_ANY_KIND)
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


def _printed() -> str:
    """Return the lines of the module's docstring, without what they import."""
    return re.sub("^    ", "", "\n".join(re.findall(r"^    .+$", signatures.__doc__ or "", flags=re.M)), flags=re.M)


@pytest.mark.parametrize("token", [TOKEN, *PAGE[:3], PAGE[-1]])
def test_the_printed_lines_verify_offline(token: str) -> None:
    """The lines of the docstring, run as they stand, accept both kinds of tokens, and no forged or expired one."""
    program = compile(f"import base64, json, time\nfrom hashlib import sha256\n{_printed()}", "docstring", "exec")
    found: dict[str, object] = {"token": token, "public_key": KEY.public_key()}
    exec(program, found)
    assert ("EUR", "sku-7") == tuple(found["quote"][name] for name in ("currency", "item"))  # type: ignore[index]
    for changed in (token.replace(".", ".A", 1), token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:]):
        with pytest.raises((InvalidSignature, ValueError)):
            exec(program, {"token": changed, "public_key": KEY.public_key()})
    late = replace(FACTS, expires=1)
    for expired in (sign(late, KEY), *SIGNER.page([asdict(late)] * 3)):
        with pytest.raises(AssertionError, match="expired"):
            exec(program, {"token": expired, "public_key": KEY.public_key()})


def test_the_documentation_prints_the_same_lines() -> None:
    """docs/decisions.md tells whoever writes a checkout the lines that are tested here."""
    told = (Path(__file__).parent.parent / "docs/decisions.md").read_text()
    assert f"from hashlib import sha256\n{_printed()}\n```" in told


@given(st.lists(FACTS_OF_ANY_KIND, min_size=1, max_size=20))
def test_a_page_is_signed_as_its_quotes_alone(facts: list[Facts]) -> None:
    """One signature for all, and each token stands alone: for its own quote, until that expires."""
    tokens = SIGNER.page([asdict(one) for one in facts])
    assert facts == [VERIFIER.verify(token, 0.0) for token in tokens]
    assert 1 == len({_part(token, 2)[:64] for token in tokens})
    for one, token in zip(facts, tokens, strict=True):
        assert "expired" == _reason(VERIFIER.verify(token, one.expires))
        assert "unknown_key" == _reason(Verifier([STRANGER.public_key()]).verify(token, 0.0))


def _another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value}x"


@given(
    st.sampled_from(range(len(PAGE))),
    st.sampled_from([field.name for field in fields(Facts)]),
)
def test_no_fact_of_a_page_can_be_changed(place: int, name: str) -> None:
    """Whatever fact is changed, under the header and seal of a right token of the page, it is forged."""
    head, _, seal = PAGE[place].split(".")
    value = getattr(PAGE_FACTS[place], name)
    changed = replace(PAGE_FACTS[place], **{name: _another(value)})
    body = SIGNER.page([asdict(changed)])[0].split(".")[1]
    assert "forged" == _reason(VERIFIER.verify(f"{head}.{body}.{seal}", NOW))


@given(st.data())
def test_every_changed_character_of_a_page_is_refused(data: st.DataObject) -> None:
    """The same for characters, other quotes' seals, and seals of another length."""
    token = data.draw(st.sampled_from(PAGE))
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(max_codepoint=0x2FF, exclude_categories=["Cs"]))
    changed = token[:place] + letter + token[place + 1 :]
    assert changed == token or isinstance(VERIFIER.verify(changed, NOW), Refused)
    other = data.draw(st.sampled_from(PAGE))
    swapped = ".".join([*token.split(".")[:2], other.split(".")[2]])
    assert swapped == token or "forged" == _reason(VERIFIER.verify(swapped, NOW))
    seal = _part(token, 2)
    for odd in (seal[:-32], seal[:64], seal + bytes(32), seal[:-1], seal + bytes(32 * 17), b""):
        bent = ".".join([*token.split(".")[:2], base64.urlsafe_b64encode(odd).decode().rstrip("=")])
        assert _reason(VERIFIER.verify(bent, NOW)) in ("forged", "malformed")


def test_no_kind_passes_for_the_other() -> None:
    """The header says how a token is sealed: one that is sealed the other way is refused."""
    (alone_head, body, alone_seal), (page_head, _, page_seal) = TOKEN.split("."), PAGE[0].split(".")
    signed_alone = base64.urlsafe_b64encode(KEY.sign(f"{page_head}.{body}".encode())).decode().rstrip("=")
    for head, seal in ((page_head, alone_seal), (alone_head, page_seal), (page_head, signed_alone)):
        assert "forged" == _reason(VERIFIER.verify(f"{head}.{body}.{seal}", NOW))


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
