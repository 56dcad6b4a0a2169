"""Tuning methods: the contract, the wiring, and one file a method."""
