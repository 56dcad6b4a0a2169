"""Metrics: the table of all metrics, and their values row by row."""
