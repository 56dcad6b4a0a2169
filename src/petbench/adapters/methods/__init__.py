"""The methods, one file each: formula, claims, counts, sizes."""
