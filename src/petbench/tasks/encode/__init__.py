"""Rows as token ids, cached between runs, and as batches of tensors."""
