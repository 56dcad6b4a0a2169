"""What every method must pass: a list of checks, run on tiny models."""
