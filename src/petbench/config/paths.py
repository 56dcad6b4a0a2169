"""Paths as people write them: `~` is a home folder, whether a shell has seen it or not."""

import os

# The config's keys that hold a path.
PATH_KEYS = (
    "results_dir",
    "cache_dir",
    "data.dir",
    "data.file",
    "init_from",
    "model.name",
    "model.tokenizer",
)


def at_home(text: str) -> str:
    """A path with `~` or `~name` in front replaced by that home folder.

    Raises ValueError for an empty path, one with a NUL character, and one below the home of nobody.
    """
    if not text:
        raise ValueError("got an empty path")
    if "\0" in text:
        raise ValueError("got a path with a NUL character")
    whole = os.path.expanduser(text)  # noqa: PTH111  # Path would drop a leading `./`, which says "a folder"
    if whole.startswith("~"):
        raise ValueError(
            f"there is no home folder {text.partition('/')[0]}; write ./{text} for a name with ~"
        )
    return whole
