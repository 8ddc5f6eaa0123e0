"""The policy behind BentoML, as its documentation has it: one service, one worker."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.serving.runtime import Policy

bentoml = import_module("bentoml")  # in an environment of its own, never in the lock


class Service:
    """Answers a context with its quote."""

    def __init__(self) -> None:
        self.policy = Policy.load(Path(os.environ["PRICEWRIGHT_POLICY"]))

    async def quote(self, context: dict[str, Any]) -> dict[str, Any]:
        """Return the quote of a context; async, because a thread for each call is slower here."""
        return self.policy.quote([context])[0]

    quote = bentoml.api(route="/quote")(quote)


Pricing = bentoml.service(workers=1, name="pricing")(Service)
