"""Backbones and tokenizers from any source, and the sites where adapters go."""
