"""The policy that quotes now: another takes its place whole, or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from policies import REQUEST, tiny_policy

from pipelines import signing
from pipelines.errors import InputError
from pipelines.manifest import GRAPH
from pipelines.serving import swap
from pipelines.serving.pointer import CURRENT, REFUSED, SHADOW, Pointer, Refusal
from pipelines.serving.swap import Live
from pipelines.serving.trust import UntrustedError

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
KEYS = (KEY.public_key(),)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Signed policies by name."""
    root = tmp_path_factory.mktemp("made")
    for name, beta, key, use in (
        ("one", 3.0, KEY, "price"),
        ("two", 5.0, KEY, "price"),
        ("forged", 4.0, OTHER, "price"),
        ("unseen", 6.0, KEY, "shadow"),
    ):
        tiny_policy(root / name, name, beta=beta)
        signing.seal(root / name, key, use)
    tiny_policy(root / "foreign", "foreign", model="pricing-offers", beta=5.5)
    signing.seal(root / "foreign", KEY)
    return {folder.name: folder for folder in root.iterdir()}


def deploy(live: Path, folder: Path, version: str, pointer: str = CURRENT, /, **told: object) -> None:
    """Put a folder and a pointer to it where `deploy` puts them."""
    manifest = json.loads((folder / "policy.json").read_text())
    name = f"{version}-{manifest['graph_sha256'][:12]}"
    if not (live / name).exists():
        shutil.copytree(folder, live / name)
    values = {"folder": name, "version": version, "model": manifest["model"], "graph_sha256": manifest["graph_sha256"]}
    live.mkdir(exist_ok=True)
    (live / ".draft").write_text(json.dumps({**values, **told}))
    (live / ".draft").replace(live / pointer)


def names(live: Live) -> tuple[str | None, str | None]:
    """Return the versions in the two places."""
    return live.current and live.current.version, live.shadow and live.shadow.version


def test_another_policy_takes_the_place(made: dict[str, Path], tmp_path: Path) -> None:
    """What the pointer names anew quotes from the next look on; who holds the old one keeps it."""
    told: list[str] = []
    live = Live(tmp_path, KEYS, told.append)
    with pytest.raises(InputError, match=r"current.json is missing.*pipelines\.deploy"):
        _ = live.policy
    assert not live.look()
    deploy(tmp_path, made["one"], "1")
    assert live.look()
    held = live.policy
    before = held.quote([REQUEST])
    assert not live.look()
    deploy(tmp_path, made["two"], "2")
    assert live.look()
    assert ("two", "2") == (live.policy.manifest.name, live.current.version)
    assert before == held.quote([REQUEST])
    chance = "purchase_probability"
    assert before[0][chance] != live.policy.quote([REQUEST])[0][chance]
    assert ["current", "current"] == told
    assert 2 == live.places["current"].placed


def test_back_to_what_quotes_already(made: dict[str, Path], tmp_path: Path) -> None:
    """A pointer that is written again without change loads nothing."""
    deploy(tmp_path, made["one"], "1")
    live = Live(tmp_path, KEYS)
    live.look()
    held = live.current
    deploy(tmp_path, made["one"], "1")
    assert not live.look()
    assert held is live.current


@pytest.mark.parametrize(
    ("name", "told", "code"),
    [
        ("forged", {}, "signature"),
        ("unseen", {}, "use"),
        ("foreign", {}, "pointer"),
        ("two", {"graph_sha256": "0" * 64}, "pointer"),
        ("two", {"model": "pricing-offers"}, "pointer"),
        ("two", {"folder": "../made/two"}, "pointer"),
        ("two", {"folder": ".."}, "pointer"),
        ("two", {"folder": "nowhere"}, "file"),
        ("two", {"folder": 7}, "pointer"),
        ("two", {"version": None}, "pointer"),
    ],
)
def test_a_bad_version_changes_nothing(
    made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, told: dict, code: str
) -> None:
    """It is refused once, with a code and a reason to show, while the old one quotes; a good one clears that."""
    deploy(tmp_path, made["one"], "1")
    live = Live(tmp_path, KEYS)
    live.look()
    held = live.current
    deploy(tmp_path, made[name], "2", **told)
    assert not live.look()
    assert not live.look()
    assert held is live.current
    assert {code: 1} == live.facts()["current"]["refused"]
    assert (code, live.refusal.reason) == (live.refusal.code, capsys.readouterr().err.removeprefix("refused: ").strip())
    deploy(tmp_path, made["one"], "1")
    live.look()
    assert live.refusal is None
    assert held is live.current
    deploy(tmp_path, made["two"], "3")
    assert live.look()
    assert ("3", None) == (live.current.version, live.refusal)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"null", b" " * 20_000, b"[" * 10_000])
def test_a_pointer_that_is_none(made: dict[str, Path], tmp_path: Path, content: bytes) -> None:
    """A damaged pointer is a refusal too; a lost one leaves the champion where it is."""
    deploy(tmp_path, made["one"], "1")
    live = Live(tmp_path, KEYS)
    live.look()
    (tmp_path / CURRENT).write_bytes(content)
    assert not live.look()
    assert ("pointer", "one") == (live.refusal.code, live.policy.manifest.name)
    (tmp_path / CURRENT).unlink()
    assert not live.look()
    assert "one" == live.policy.manifest.name


def test_a_flipped_byte_in_a_deployed_folder(made: dict[str, Path], tmp_path: Path) -> None:
    """What somebody changed after the deployment is refused, and the message says which file."""
    deploy(tmp_path, made["one"], "1")
    live = Live(tmp_path, KEYS)
    live.look()
    deploy(tmp_path, made["two"], "2")
    (folder,) = tmp_path.glob("2-*")
    content = bytearray((folder / GRAPH).read_bytes())
    content[100] ^= 1
    (folder / GRAPH).write_bytes(content)
    assert not live.look()
    assert "policy.onnx is not the file that was signed" in live.refusal.reason


def test_what_cannot_be_read_now_is_tried_again(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the machine is no fault of the policy: after a while it is loaded after all."""
    deploy(tmp_path, made["one"], "1")
    live = Live(tmp_path, KEYS)
    with monkeypatch.context() as fault:
        fault.setattr(swap, "verified", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
        assert not live.look()
    assert "error" == live.refusal.code
    assert not live.look()
    monkeypatch.setattr(swap, "_PATIENCE", 0.0)
    live.places["current"]._again = time.monotonic() - 1
    assert live.look()
    assert live.refusal is None


def test_a_shadow_comes_and_goes(made: dict[str, Path], tmp_path: Path) -> None:
    """A challenger signed to shadow has a place of its own; without its pointer, or if it is bad, there is none."""
    deploy(tmp_path, made["one"], "1")
    deploy(tmp_path, made["unseen"], "2", SHADOW)
    live = Live(tmp_path, KEYS)
    assert live.look()
    assert ("1", "2") == names(live)
    (tmp_path / SHADOW).unlink()
    assert live.look()
    assert ("1", None) == names(live)
    deploy(tmp_path, made["two"], "3", SHADOW)
    live.look()
    assert ("1", "3") == names(live)
    deploy(tmp_path, made["forged"], "4", SHADOW)
    live.look()
    assert ("1", None) == names(live)
    assert {"signature": 1} == live.facts()["shadow"]["refused"]
    assert live.refusal is None, "a bad shadow is no fault of the champion"


def test_what_deploy_refused_is_told(made: dict[str, Path], tmp_path: Path) -> None:
    """A champion that never came as far as the pointer is told here too, until that is mended."""
    deploy(tmp_path, made["one"], "1")
    live = Live(tmp_path, KEYS)
    Refusal("unsigned", "version 2 is not signed", 12.5, "2").write(tmp_path / REFUSED)
    live.look()
    assert Refusal("unsigned", "version 2 is not signed", 12.5, "2") == live.refusal
    assert "version 2 is not signed" == live.facts()["undeployed"]["reason"]
    (tmp_path / REFUSED).write_text("{")
    live.look()
    assert "error" == live.refusal.code
    (tmp_path / REFUSED).unlink()
    live.look()
    assert live.refusal is None


def test_requests_go_on_while_policies_swap(made: dict[str, Path], tmp_path: Path) -> None:
    """Threads that quote all the time see one policy or the other, whole, and never an error."""
    deploy(tmp_path, made["one"], "1")
    live = Live(tmp_path, KEYS)
    live.start(every=0.005)
    seen, wrong, end = set(), [], threading.Event()

    def ask() -> None:
        while not end.is_set():
            policy = live.policy
            (quote,) = policy.quote([REQUEST])
            seen.add((quote["policy"], quote["digest"], quote["purchase_probability"]))
            if quote["digest"] != policy.digest:
                wrong.append(quote)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        deploy(tmp_path, made[("two", "one")[turn % 2]], str(turn))
        until = time.monotonic() + 20
        while live.places["current"].placed < turn + 2 and time.monotonic() < until:
            time.sleep(0.005)
    end.set()
    for thread in threads:
        thread.join()
    live.stop()
    assert 7 == live.places["current"].placed
    assert [] == wrong
    assert {"one", "two"} == {name for name, _, _ in seen}
    assert 2 == len(seen)


def test_a_fixed_policy(made: dict[str, Path], tmp_path: Path) -> None:
    """An endpoint that is told which folder to quote by has it in place at once, without a version."""
    from pipelines.serving.runtime import Policy

    live = Live.fixed(Policy.load(made["one"]), made["one"])
    assert ("one", None) == (live.policy.manifest.name, live.current.version)


def test_a_pointer_comes_back(tmp_path: Path) -> None:
    """What is written is what is read."""
    pointer = Pointer("2-0123456789ab", "2", "pricing", "0" * 64)
    pointer.write(tmp_path / CURRENT)
    assert pointer == Pointer.read(tmp_path / CURRENT)
    for folder in ("", ".", "a/b", "/a", "a\0"):
        with pytest.raises(UntrustedError):
            Pointer(folder, "2", "pricing", "0" * 64)


def test_nothing_heavy_is_imported(made: dict[str, Path], tmp_path: Path) -> None:
    """Verifying, testing and swapping need none of the libraries that train, not even `onnx`."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "policy.pub").write_bytes(pem)
    deploy(tmp_path / "live", made["one"], "1")
    script = f"""
import sys
heavy = {{"tensorflow", "keras", "xgboost", "sklearn", "pandas", "dvc", "hydra", "omegaconf", "mlflow", "onnx"}}
from pathlib import Path
from pipelines.serving import shadow
from pipelines.serving.swap import Live
from pipelines.serving.trust import public_keys
live = Live(Path({str(tmp_path / "live")!r}), public_keys(Path({str(tmp_path / "policy.pub")!r})))
live.look()
print(live.current.version, shadow.priced(live.current, [{{"list_price": 20.0}}])[0]["price"], heavy & set(sys.modules))
"""
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert ("1 16.0 set()", "") == (done.stdout.strip(), done.stderr)
