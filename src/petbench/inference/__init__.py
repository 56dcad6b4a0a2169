"""How a model answers: by its head, by the likeliest label string, by writing; and predictions for new text."""
