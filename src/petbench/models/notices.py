"""Notices of PEFT and transformers that no user can act on, silenced one by one by their own words."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

WARNINGS = (
    r"`is_gradient_checkpointing` is deprecated",  # PEFT asks transformers by the old name
    r"Failed to load the CUDA extension",  # BOFT: a faster product of butterfly factors. With one factor
    r"Setting boft_n_butterfly_factor to 1",  # there is no such product, and petbench refuses more factors
    r"Unsupported layer type .*Norm'>",  # PEFT's LN-tuning says so of the layers that it is for
    r"Unmerge result can be inaccurate",  # `PeftInstalled.unmerge` puts the weights themselves back
)
LOGGED = {
    # Under checkpointing the layers drop the cache, which nothing in training reads.
    "transformers.modeling_layers": r"Caching is incompatible with gradient checkpointing",
    "transformers.utils.generic": r"`use_cache=True` is incompatible with gradient checkpointing",
}


@contextmanager
def without_notices() -> Iterator[None]:
    """Inside, `WARNINGS` are not shown; every other warning is."""
    with warnings.catch_warnings():
        for words in WARNINGS:
            warnings.filterwarnings("ignore", message=words)
        yield


def silence_cache_notices() -> None:
    """From here on, `LOGGED` are not shown; everything else that transformers logs is."""
    for logger in map(logging.getLogger, LOGGED):
        if _is_news not in logger.filters:
            logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return re.match(LOGGED[record.name], record.getMessage()) is None
