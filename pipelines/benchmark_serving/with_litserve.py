"""The policy behind LitServe, as its documentation has it: one worker that prices, one process that answers.

Usage: python -m pipelines.benchmark_serving.with_litserve PORT
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.serving.runtime import Policy

litserve = import_module("litserve")  # in an environment of its own, never in the lock


class Pricing(litserve.LitAPI):  # type: ignore[misc, name-defined]  # it is not installed here
    """Answers a context with its quote."""

    def setup(self, device: str) -> None:
        """Load the policy."""
        self.policy = Policy.load(Path(os.environ["PRICEWRIGHT_POLICY"]))

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the quote of a context."""
        return self.policy.quote([request])[0]


if __name__ == "__main__":
    server = litserve.LitServer(Pricing(api_path="/quote"), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="error"
    )
