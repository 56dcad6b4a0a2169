"""From a command line to plain config values, through Hydra, and back."""
