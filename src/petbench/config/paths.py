"""Paths as people write them: `~` is expanded to the home folder, whether or not a shell has done so."""

import os

# The keys of the config that hold a path.
PATH_KEYS = (
    "results_dir",
    "cache_dir",
    "data.dir",
    "data.file",
    "init_from",
    "model.name",
    "model.tokenizer",
    "task.files",
)


def at_home(text: str) -> str:
    """The path with `~` or `~name` at its beginning replaced by that home folder.

    Raises ValueError for an empty path, a NUL character, and the home folder of an unknown user.
    """
    if not text:
        raise ValueError("got an empty path")
    if "\0" in text:
        raise ValueError("got a path with a NUL character")
    whole = os.path.expanduser(text)  # noqa: PTH111  # Path would drop a leading `./`, which marks a folder
    if whole.startswith("~"):
        raise ValueError(
            f"there is no home folder {text.partition('/')[0]}; write ./{text} for a name with ~"
        )
    return whole
