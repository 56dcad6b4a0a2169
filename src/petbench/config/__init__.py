"""Frozen specs of a run, validated once, and where the YAMLs lie."""
