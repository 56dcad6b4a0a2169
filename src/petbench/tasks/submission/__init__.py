"""The GLUE submission: written and checked."""
