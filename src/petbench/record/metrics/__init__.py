"""Metrics: the table of them all, and their values row by row."""
