"""Tasks, GLUE's and the user's own: rows, protocols, wording, encoding, metrics and GLUE submissions."""
