"""Logging of runs: metrics.jsonl, W&B runs, their pictures and upload, and W&B workspaces."""
