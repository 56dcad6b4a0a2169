"""Sweeps, which are many runs: their members, plans, launchers, searches, tuning, progress and outcome."""
