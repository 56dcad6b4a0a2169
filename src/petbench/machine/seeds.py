"""Seeds derived from a run's seed, one for each purpose."""

import hashlib


def derive_seed(seed: int, purpose: str) -> int:
    """Independent seeds from one: the head's values must not change when the data order does."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:4], "big")
