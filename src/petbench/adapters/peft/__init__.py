"""Methods of huggingface/peft behind petbench's contract."""
