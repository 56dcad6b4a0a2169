"""A run's log: metrics.jsonl, W&B beside it, and what W&B is shown."""
