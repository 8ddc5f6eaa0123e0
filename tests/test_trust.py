"""What an endpoint loads: only what was signed, and nothing of it before it was looked at."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from policies import REQUEST, tiny_policy

from pipelines import graph, signing
from pipelines.errors import InputError
from pipelines.files import digest
from pipelines.manifest import GRAPH, MANIFEST, Manifest
from pipelines.serving import trust
from pipelines.serving.golden import GOLDEN
from pipelines.serving.keys import name_of
from pipelines.serving.packed import packed
from pipelines.serving.trust import LARGEST, SIGNATURE, UntrustedError, public_keys, sealed, verified

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
KEYS = (KEY.public_key(),)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed") / "policy"
    tiny_policy(folder)
    signing.seal(folder, KEY)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A folder of its own with a signed policy."""
    return Path(shutil.copytree(template, tmp_path / "policy"))


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the making of any session fail the test."""
    import onnxruntime

    def made(*_: object, **__: object) -> None:
        raise AssertionError("a session was made of what must not be trusted")

    monkeypatch.setattr(graph, "session", made)
    monkeypatch.setattr(onnxruntime, "InferenceSession", made)


def resign(folder: Path, key: Ed25519PrivateKey = KEY, use: str = "price") -> None:
    """Sign whatever is there, as somebody with the key could: what is tested then is not the signature."""
    files = {name: (folder / name).read_bytes() for name in trust.SIGNED}
    (folder / SIGNATURE).write_bytes(signing.sign(files, key, use))


def reshape(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    """Change the graph, let manifest and golden quotes follow it, and sign it all."""
    old = digest(folder / GRAPH)
    proto = onnx.load(folder / GRAPH)
    change(proto)
    (folder / GRAPH).write_bytes(proto.SerializeToString())
    for name in (MANIFEST, GOLDEN):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace(old, digest(folder / GRAPH)), encoding="utf-8")
    resign(folder)


def refused(folder: Path, code: str, told: str, use: str = "price") -> None:
    with pytest.raises(UntrustedError, match=told) as error:
        verified(folder, KEYS, use)
    assert code == error.value.code


def test_a_signed_policy_quotes(folder: Path) -> None:
    """What was signed loads, passes its self-test, and quotes as the graph does without any signature."""
    (quote,) = verified(folder, KEYS).quote([REQUEST])
    assert 22.5 == quote["price"]
    assert name_of(KEYS[0]) == sealed(folder, KEYS).key


@pytest.mark.parametrize("name", trust.SIGNED)
@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_a_flipped_byte(folder: Path, no_session: None, name: str, where: float) -> None:
    """One byte of any signed file is enough, wherever it is."""
    content = bytearray((folder / name).read_bytes())
    content[int(where * len(content)) if where >= 0 else -1] ^= 1
    (folder / name).write_bytes(content)
    refused(folder, "changed", f"{name} is not the file that was signed")


def test_every_byte_of_the_signature_counts(folder: Path, no_session: None) -> None:
    """Another digit of the signature or of a digest, or a word that is not there, is refused with some reason."""
    whole = json.loads((folder / SIGNATURE).read_text())
    forged = {**whole, "signature": "A" + whole["signature"][1:]}
    if forged == whole:
        forged["signature"] = "B" + whole["signature"][1:]
    for told in (
        forged,
        {**whole, "signature": "?"},
        {**whole, "sha256": {}},
        {**whole, "use": "all"},
        {"use": "price"},
    ):
        (folder / SIGNATURE).write_text(json.dumps(told))
        with pytest.raises(UntrustedError):
            verified(folder, KEYS)
    for odd in (b"", b"\x80\x05]", b"[]", b"{" * 5000, b'{"key": NaN}'):
        (folder / SIGNATURE).write_bytes(odd)
        with pytest.raises(UntrustedError):
            verified(folder, KEYS)


def test_unsigned(folder: Path, no_session: None) -> None:
    """A policy from before there were signatures says what to run."""
    (folder / SIGNATURE).unlink()
    refused(folder, "unsigned", r"holds no policy.sig.*before policies were signed.*pipelines\.promote")
    (folder / GOLDEN).unlink()
    refused(folder, "unsigned", r"holds no policy.sig")


def test_signed_by_another_key(folder: Path, no_session: None) -> None:
    """Neither another key, nor another key that calls itself by the trusted one's name."""
    resign(folder, OTHER)
    refused(folder, "signature", f"was signed with the key {name_of(OTHER.public_key())}")
    told = json.loads((folder / SIGNATURE).read_text())
    (folder / SIGNATURE).write_text(json.dumps({**told, "key": name_of(KEYS[0])}))
    refused(folder, "signature", "forged")


def test_either_of_two_keys(folder: Path) -> None:
    """While a key is replaced, both are trusted."""
    resign(folder, OTHER)
    assert name_of(OTHER.public_key()) == sealed(folder, (*KEYS, OTHER.public_key())).key


def test_a_shadow_never_prices(folder: Path, no_session: None) -> None:
    """What was signed to shadow alone cannot price, not even with its word changed; what may price may shadow."""
    assert sealed(folder, KEYS, "shadow")
    resign(folder, use="shadow")
    assert sealed(folder, KEYS, "shadow")
    refused(folder, "use", "signed to shadow alone")
    told = json.loads((folder / SIGNATURE).read_text())
    (folder / SIGNATURE).write_text(json.dumps({**told, "use": "price"}))
    refused(folder, "signature", "forged")


def test_a_manifest_of_another_policy(folder: Path, tmp_path: Path, no_session: None) -> None:
    """A right graph under a manifest that was swapped: refused by the signature, and by itself."""
    tiny_policy(tmp_path / "dollars", currency="USD")
    shutil.copy(tmp_path / "dollars" / MANIFEST, folder / MANIFEST)
    refused(folder, "changed", f"{MANIFEST} is not the file that was signed")
    values = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**values, "graph_sha256": "0" * 64}))
    resign(folder)
    refused(folder, "manifest", "manifest of another graph")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"inputs": 5}', b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none(folder: Path, no_session: None, content: bytes) -> None:
    """Signed or not, a manifest without sense is a refusal and no crash."""
    (folder / MANIFEST).write_bytes(content)
    resign(folder)
    with pytest.raises(UntrustedError):
        verified(folder, KEYS)


@pytest.mark.parametrize("name", ["model.pkl", "policy.onnx.data", ".hidden", "POLICY.ONNX", "__pycache__"])
def test_anything_beside_the_policy(folder: Path, no_session: None, name: str) -> None:
    """A pickle, weights, hidden files: the folder holds four files and no more."""
    (folder / name).write_bytes(b"\x80\x05N.")
    refused(folder, "file", f"holds '{name}'")
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, "file", f"holds '{name}'")


@pytest.mark.parametrize("name", [GRAPH, MANIFEST, GOLDEN, SIGNATURE])
def test_links_and_other_kinds_of_files(folder: Path, tmp_path: Path, no_session: None, name: str) -> None:
    """A symbolic link even to the very same content, a pipe, a folder: none of them is read."""
    elsewhere = tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    refused(folder, "file", f"{name} cannot be read")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, "file", "no plain file")
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, "file", name)


def test_a_folder_that_is_a_link_or_nothing(folder: Path, tmp_path: Path, no_session: None) -> None:
    """The folder itself may not be a link either."""
    (tmp_path / "link").symlink_to(folder)
    refused(tmp_path / "link", "file", "is no folder of a policy")
    refused(tmp_path / "nowhere", "file", "is no folder of a policy")
    for name in (GRAPH, MANIFEST, GOLDEN):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        refused(folder, "file", f"{name} is missing")
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", [GRAPH, MANIFEST, GOLDEN, SIGNATURE])
def test_oversize(folder: Path, no_session: None, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """More bytes than a policy ever has are not even read to their end."""
    monkeypatch.setitem(LARGEST, name, (folder / name).stat().st_size)
    assert sealed(folder, KEYS)
    monkeypatch.setitem(LARGEST, name, (folder / name).stat().st_size - 1)
    refused(folder, "size", f"{name} is larger than")


def _external(location: str) -> Callable[[onnx.ModelProto], object]:
    def change(proto: onnx.ModelProto) -> None:
        weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4])
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)
        proto.graph.initializer.append(weight)
        proto.graph.node.append(onnx.helper.make_node("Neg", ["w"], ["minus_w"]))

    return change


@pytest.mark.parametrize("location", ["../../../../etc/passwd", "weights.bin", "policy.json"])
def test_weights_in_another_file(folder: Path, no_session: None, location: str) -> None:
    """External data is refused wherever it points, be it signed."""
    reshape(folder, _external(location))
    refused(folder, "graph", "external data")


def test_weights_in_another_file_without_the_word_for_it(folder: Path, no_session: None) -> None:
    """Either of the two marks of external data is enough."""

    def change(proto: onnx.ModelProto) -> None:
        _external("../x")(proto)
        proto.graph.initializer[-1].ClearField("external_data")

    reshape(folder, change)
    refused(folder, "graph", "external data")


@pytest.mark.parametrize("domain", ["com.evil", "com.microsoft", "ai.onnx.contrib", "ai.onnx.ml2"])
def test_custom_operators(folder: Path, no_session: None, domain: str) -> None:
    """An operator of a domain that is not ONNX's own is refused by its name."""
    reshape(folder, lambda p: p.graph.node.append(onnx.helper.make_node("Run", ["u"], ["x"], domain=domain)))
    refused(folder, "graph", f"domain '{domain}'")


def test_the_reason_is_given_before_the_load(folder: Path) -> None:
    """A graph that is signed, plain and broken is refused when it is loaded, and so is one that quotes otherwise."""
    reshape(folder, lambda p: p.graph.node.append(onnx.helper.make_node("NoSuchOperator", ["u"], ["x"])))
    refused(folder, "load", "does not load")


def test_golden_quotes_that_differ(folder: Path) -> None:
    """A policy that answers otherwise than when it was signed does not pass."""
    told = json.loads((folder / GOLDEN).read_text())
    told["answers"][3]["price"] += 0.01
    (folder / GOLDEN).write_text(json.dumps(told))
    resign(folder)
    refused(folder, "golden", "golden quote 3: price is")
    (folder / GOLDEN).write_text(json.dumps({**told, "contexts": [{"list_price": []}] * len(told["answers"])}))
    resign(folder)
    refused(folder, "golden", "self-test breaks off")


def test_what_is_judged_is_what_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is replaced after it was read changes nothing: the bytes that were verified are loaded."""
    tiny_policy(tmp_path / "other", beta=6.0)
    held, real = sealed(folder, KEYS), graph.session
    shutil.copy(tmp_path / "other" / GRAPH, folder / GRAPH)
    loaded = []
    monkeypatch.setattr(graph, "session", lambda content, **how: loaded.append(content) or real(content, **how))
    assert 22.5 == held.policy().quote([REQUEST])[0]["price"]
    numbers = [field.name for field in held.manifest.inputs if field.kind == "number"]
    assert [packed(held.graph, numbers)] == loaded


def test_public_keys(tmp_path: Path) -> None:
    """One or several keys below each other; anything else says what is wrong."""
    path = tmp_path / "policy.pub"
    with pytest.raises(InputError, match=r"policy.pub is missing.*pipelines\.promote"):
        public_keys(path)
    pem = [k.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for k in (KEY, OTHER)]
    path.write_bytes(pem[0] + b"\n" + pem[1])
    names = [name_of(key.public_key()) for key in (KEY, OTHER)]
    assert names == [name_of(key) for key in public_keys(path)]
    curve = generate_private_key(SECP256R1()).public_key()
    for content, told in (
        (b"", "no public key"),
        (pem[0].replace(b"M", b"?"), "no public key in PEM"),
        (curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "another kind"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=told):
            public_keys(path)


def test_any_policy_can_be_sealed(tmp_path: Path) -> None:
    """Also one without list prices, and one that knows ranges and words."""
    tiny_policy(tmp_path / "unlisted", listed=False)
    signing.seal(tmp_path / "unlisted", KEY)
    assert verified(tmp_path / "unlisted", KEYS)
    assert np.isfinite([a["price"] for a in json.loads((tmp_path / "unlisted" / GOLDEN).read_text())["answers"]]).all()
    assert Manifest.read(tmp_path / "unlisted") == sealed(tmp_path / "unlisted", KEYS).manifest
