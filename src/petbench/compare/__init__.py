"""Records in, tables and verdicts out; never imports torch."""
