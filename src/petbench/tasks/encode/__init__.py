"""Rows as token ids, in batches, kept between runs."""
