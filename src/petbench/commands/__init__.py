"""The commands: arguments in, text and exit status out, one file for each command."""
