"""serve: the thin endpoint on one port, quoting by one policy folder."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

import uvicorn

from pipelines.errors import InputError
from pipelines.files import read_json
from pipelines.manifest import MANIFEST
from pipelines.serving.endpoint import app
from pipelines.serving.runtime import Policy

INCUMBENT = Path("models/incumbent")
LIST_PRICE = Path("models/baselines/list_price")


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted; one clear message and exit status 1 where that cannot start."""
    options = _options().parse_args(arguments)
    try:
        policy = Policy.load(folder(options.policy))
        listener = _listener(options.host, options.port)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    shown = f"[{options.host}]" if ":" in options.host else options.host
    print(
        f"Quoting by {policy.manifest.name} ({policy.digest}) on http://{shown}:{listener.getsockname()[1]}/quote",
        flush=True,
    )
    config = uvicorn.Config(app(policy), access_log=False, log_level="warning", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.serving",
        description="Answers POST /quote with a quote, GET /policy with its manifest, GET /live when up.",
        epilog="Defaults may be set as PRICEWRIGHT_POLICY, PRICEWRIGHT_HOST and PRICEWRIGHT_PORT.",
    )
    env = os.environ.get
    parser.add_argument(
        "--policy",
        type=Path,
        default=env("PRICEWRIGHT_POLICY") or None,
        help=f"folder of policy.onnx and policy.json (default: the one in {INCUMBENT}; without one, {LIST_PRICE})",
    )
    host, port = env("PRICEWRIGHT_HOST", "127.0.0.1"), env("PRICEWRIGHT_PORT", "8000")
    parser.add_argument("--host", default=host, help="default: %(default)s")
    parser.add_argument("--port", type=_port, default=port, help="0: any free one; default: %(default)s")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: expected 0 to 65535")
    return int(text)


def folder(given: Path | None) -> Path:
    """Return the folder to quote by: the one given, else the incumbent of this source, else the list price."""
    if given is not None:
        return given
    # `baselines` writes the list-price policy of the configured source, and it names the registered model
    model = read_json(LIST_PRICE / MANIFEST)["model"] if (LIST_PRICE / MANIFEST).is_file() else "pricing"
    incumbent = INCUMBENT / model
    if incumbent.is_dir() or not LIST_PRICE.is_dir():
        return incumbent
    print(f"{incumbent} does not exist: nothing was promoted yet, so the list price is quoted")
    return LIST_PRICE


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port} ({os.strerror(error.errno) if error.errno else error}): "
            "stop what listens there, or choose another with --host and --port"
        ) from None


if __name__ == "__main__":
    main()
