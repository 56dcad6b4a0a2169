"""Structured products as pure functions of tensors, without any model."""
