"""An outside package that brings a task: a YAML and its rows."""
