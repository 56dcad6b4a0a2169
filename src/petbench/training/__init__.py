"""One run in its order: plan, rows, weights, steps, scores, record; claims, stopping and going on."""
