"""Seeds derived from a run's seed, one for each purpose."""

import hashlib


def derive_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose: the first 4 bytes of SHA-256 of `seed/purpose`, so that purposes are independent."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:4], "big")
