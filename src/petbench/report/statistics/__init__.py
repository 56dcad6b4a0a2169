"""The statistics of runs: intervals, tests, ranks and standings."""
