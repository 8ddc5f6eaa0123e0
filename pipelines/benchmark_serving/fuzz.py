"""Requests that nobody should send: from the OpenAPI document, and bytes of all kinds. None may break the endpoint.

Starts the endpoint on 127.0.0.1, sends so many requests (half of them made by schemathesis from the document, right
and wrong ones; half by hypothesis: bytes as bodies, as headers, and in place of HTTP), and counts the answers. There
must be no 5xx, no price outside the guardrails, and the endpoint must still quote at the end.

Usage: python -m pipelines.benchmark_serving.fuzz [requests=10000] [policy=FOLDER] [--folder logs/benchmark/serving]
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import chdir, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import orjson

from pipelines.benchmark.arguments import ended, read, whole
from pipelines.benchmark_serving import asking, bytes_sent, policies, servers
from pipelines.benchmark_serving.rails import violated
from pipelines.benchmark_serving.shop import opened
from pipelines.errors import InputError
from pipelines.manifest import Manifest

FOLDER = Path("logs/benchmark/serving")
_SHOWN = 5  # of what went wrong
_LONGEST = 2000  # characters of a request that went wrong


@dataclass
class Findings:
    """What came of the requests: answers by where and status, prices that were looked at, and what went wrong."""

    manifest: Manifest
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    prices: int = 0
    wrong: list[str] = field(default_factory=list)

    def saw(self, where: str, path: str, sent: Any, status: int, content: bytes) -> None:
        """Count an answer, and judge it. status 0: none came."""
        self.answers[where, status] += 1
        if status >= 500:
            self.wrong.append(f"{where} {path}: {status} {content[:200]!r} for {str(sent)[:_LONGEST]}")
        if status == 200 and path in ("/quote", "/quotes") and isinstance(sent, dict):
            told = orjson.loads(content)
            asked, quotes = ([sent], [told]) if path == "/quote" else (sent["contexts"], told["quotes"])
            for one, quote in zip(asked, quotes, strict=True):
                self.prices += 1
                for rule in violated(self.manifest, one, quote):
                    self.wrong.append(f"{where} {path}: {rule} of {_brief(quote)} for {str(one)[:_LONGEST]}")


def fuzzed(policy: Path, requests: int) -> Findings:
    """Return what came of so many requests to an endpoint that quotes by a policy. Raises InputError."""
    found = Findings(Manifest.read(policy))
    with TemporaryDirectory() as scratch:
        shop = opened(Path(scratch), [policy])
        with (
            chdir(scratch),
            servers.running(shop.endpoint()) as server,
        ):  # schemathesis keeps what it found where it runs
            _documented(server, found, requests // 2)
            bytes_sent.sent(server.port, found.saw, requests - sum(found.answers.values()))
            status, content = servers.post(server.port, "/quote", asking.singles(found.manifest, 1)[0])
            if status != 200:
                found.wrong.append(f"at the end /quote answers {status} {content[:200]!r}")
    return found


def _documented(server: servers.Running, found: Findings, requests: int) -> None:
    """Send what the OpenAPI document allows, and what it forbids."""
    try:
        import schemathesis
    except ImportError:
        raise InputError("benchmark: schemathesis is missing; `make fuzz-serving` installs it") from None
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable

    document = orjson.loads(servers.get(server.port, "/openapi.json")[1])
    described = schemathesis.openapi.from_dict(document).get_all_operations()
    operations: list[Any] = [cast(Any, one).ok() for one in described]
    # a path without a body has little to get wrong
    weights = {id(one): 1 if one.method.upper() == "GET" else 8 for one in operations}
    total = sum(weights.values())
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    for one in operations:
        for mode in modes:
            examples = max(1, round(requests * weights[id(one)] / total / len(modes)))

            @settings(
                max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=one.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                answer = case.call(base_url=f"http://127.0.0.1:{server.port}", timeout=30)
                body = case.body if isinstance(case.body, dict) else None
                found.saw("document", case.operation.path, body, answer.status_code, answer.content)

            with suppress(Unsatisfiable):  # nothing can be wrong in a request that brings nothing
                send()


def _brief(quote: dict[str, Any]) -> dict[str, Any]:
    return {name: quote.get(name) for name in ("price", "list_price", "fallback", "guardrail", "multiplier")}


def run(words: Sequence[str]) -> int:
    """Run the command; return how much went wrong."""
    given = read(words, "benchmark_serving.fuzz", __doc__ or "", ("requests", "policy"), FOLDER)
    wanted = Path(given.settings["policy"]) if "policy" in given.settings else None
    policy = policies.chosen(wanted, given.folder / "policies")[0].absolute()
    found = fuzzed(policy, whole("requests", given.settings.get("requests", "10000")))
    for (where, status), count in sorted(found.answers.items()):
        print(f"{count:7,}  {where:12}  {status or 'no answer'}")
    print(f"{sum(found.answers.values()):7,}  requests, {found.prices:,} prices looked at, {len(found.wrong)} wrong")
    for line in found.wrong[:_SHOWN]:
        print(line, file=sys.stderr)
    return len(found.wrong)


def main(words: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    os.environ.setdefault("SCHEMATHESIS_TELEMETRY", "false")
    return ended(lambda: run(words), "answers")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
