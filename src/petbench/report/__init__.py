"""From records to tables, figures, verdicts and the HTML page. Nothing here imports torch."""
