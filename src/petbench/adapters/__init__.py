"""The tuning methods: one file each, found by the registry in `base`."""
