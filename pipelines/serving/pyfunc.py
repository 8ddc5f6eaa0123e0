"""The policy as an MLflow model, from code: its artifact is policy.onnx and policy.json; nothing is pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

from pipelines.errors import InputError
from pipelines.serving.runtime import Policy

_AT_ONCE = 1000  # rows, as many as a page of the endpoint has: a live policy takes memory for each (graph.session)


class PricingModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]  # MLflow leaves it untyped
    """Answers a table of requests, one row each, with their quotes."""

    def load_context(self, context: Any) -> None:
        """Load the policy of the model's artifacts."""
        self.policy = Policy.load(Path(context.artifacts["policy"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> list[dict[str, Any]]:
        """Return one quote per row; an empty cell is a missing field. A refusal names the field."""
        rows: list[dict[Any, Any]] = model_input.astype(object).where(model_input.notna(), None).to_dict("records")
        try:
            starts = range(0, len(rows), _AT_ONCE)
            return [quote for start in starts for quote in self.policy.quote(rows[start : start + _AT_ONCE])]
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


mlflow.models.set_model(PricingModel())
