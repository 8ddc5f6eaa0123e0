"""The method against worlds whose demand is known, and against simpler ways to price (docs/benchmarks.md)."""
