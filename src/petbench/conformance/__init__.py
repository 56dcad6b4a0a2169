"""What every method must pass, as a list of checks that finds the methods by itself."""
