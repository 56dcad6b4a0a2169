"""The report as Markdown, CSV, LaTeX and terminal text, and how the cells of its tables are written."""
