"""A trained run as a plain Hugging Face checkpoint or as a PEFT adapter."""
