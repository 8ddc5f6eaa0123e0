"""The live side: the same policy, and so the same quote, behind the thin endpoint and behind MLflow."""
