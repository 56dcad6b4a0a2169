"""Reading and checking rows: from files, a GLUE folder, the hub, and new text to predict."""
