"""From records to tables, figures, verdicts and the page. Nothing here imports torch."""
