"""The frozen, validated specs of a run, and the places of the config YAMLs."""
