"""Tables as Markdown, CSV, LaTeX and terminal text, and how a number is written."""
