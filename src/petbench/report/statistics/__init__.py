"""The statistics of runs: intervals, tests, corrections, ranks and power."""
