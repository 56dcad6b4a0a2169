"""Backbones: families and their sites, weights, tokenizers."""
