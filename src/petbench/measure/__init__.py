"""What a model costs: step time, latency, memory, and what merging changes."""
