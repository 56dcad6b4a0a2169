"""One run from plan to record: rows, weights, steps, scores; claims, stopping and resuming."""
