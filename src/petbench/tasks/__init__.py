"""GLUE: the tasks, their rows, protocols, wording, encoding, metrics and submission."""
