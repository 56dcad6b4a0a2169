"""The GLUE tasks: rows, protocols, wording, encoding, metrics and the submission."""
