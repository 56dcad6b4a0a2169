"""Which commit of the hub a model's name stands for: what the hub says now, else what the cache here holds."""

import time
from pathlib import Path

from huggingface_hub import constants

from petbench.errors import NotHere
from petbench.machine.network import hub_reachable

ASK_SECONDS = 10.0
FORGET_SECONDS = 60.0  # after which a hub or a name that was not found is looked for again

_FOUND: dict[tuple[str | None, ...], str] = {}
_NOT_FOUND: dict[tuple[str | None, ...], tuple[float, str]] = {}
_REACHED: dict[tuple[str, bool], tuple[float, bool]] = {}


def in_reach() -> bool:
    """Whether the hub answers (it gets 3 s); asked once a minute, since a sweep plans many members."""
    key = (constants.ENDPOINT, constants.HF_HUB_OFFLINE)
    since, answer = _REACHED.get(key, (0.0, False))
    if not since or time.monotonic() - since > FORGET_SECONDS:
        _REACHED[key] = time.monotonic(), (answer := hub_reachable())
    return answer


def commit_of(name: str, revision: str | None, offline: bool) -> str:
    """The commit (40 hex digits) of a hub id and a branch, tag or commit (None: `main`).

    Looked up once a process, so that all parts of a run come from one commit. Raises NotHere, with the reason as
    half a sentence, when neither the hub nor the cache has it.
    """
    key = (name, revision, str(offline), str(constants.HF_HUB_CACHE), constants.ENDPOINT)
    if key in _FOUND:
        return _FOUND[key]
    since, reason = _NOT_FOUND.get(key, (0.0, ""))
    if not since or time.monotonic() - since > FORGET_SECONDS:
        reason = ""
        commit = None
        if not offline:
            commit, reason = _asked(name, revision)
        commit = commit or _cached(name, revision)
        if commit is not None:
            _FOUND[key] = commit
            return commit
        reason = reason or "not in the local cache"
        _NOT_FOUND[key] = time.monotonic(), reason
    raise NotHere(reason)


def _asked(name: str, revision: str | None) -> tuple[str | None, str]:
    """The commit that the hub gives for config.json, asked in the way that loading asks; or why it gives none."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # the hub's client takes most of a second

    url = hf_hub_url(name, "config.json", revision=revision)
    try:
        return get_hf_file_metadata(url, timeout=ASK_SECONDS).commit_hash, ""
    except (
        Exception
    ) as error:  # the hub's client raises its HTTP library's errors too; loading shows them again
        response = getattr(error, "response", None)
        header = getattr(response, "headers", {}).get(constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return header, lines[0] if lines else type(error).__name__


def _cached(name: str, revision: str | None) -> str | None:
    """The commit whose snapshot the cache holds for a branch, a tag or a commit."""
    from huggingface_hub.file_download import repo_folder_name  # the hub's client takes most of a second

    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    wanted = revision or constants.DEFAULT_REVISION
    reference = repository / "refs" / wanted
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else wanted
    return commit if commit and (repository / "snapshots" / commit).is_dir() else None
