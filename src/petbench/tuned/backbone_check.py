"""The backbone of a saved run, looked for where it was or where the user says it is now, and checked to be the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petbench.config.sections import ModelSpec
from petbench.errors import UserError
from petbench.models.content import backbone_content
from petbench.tuned.content import located_model, refuse_another

WAYS_ON = (
    "Give the one that the run was trained on: --model FOLDER (--tokenizer FOLDER where it has one of its own), "
    "in Python load(RUN, model=FOLDER)."
)


def backbone_of(
    model: ModelSpec, saved: Mapping[str, Any], folder: Path, name: str | None, tokenizer: str | None
) -> ModelSpec:
    """The spec of a run's backbone as it can be found now. saved: the adapter's config.

    Raises UserError when it is not found, or when config or tokenizer (and weights, as far as their files tell)
    are not those of the training.
    """
    then = saved.get("content") or {}
    update: dict[str, Any] = {} if tokenizer is None else {"tokenizer": tokenizer}
    if name is not None:
        update |= {"name": name, "revision": None, "known": None}
    elif str(then.get("config")).startswith("hub:"):
        update["revision"] = then["config"].removeprefix("hub:")  # the branch may have moved on
    model = located_model(model.model_copy(update=update))
    try:
        now = backbone_content(model)
    except UserError as error:
        raise UserError(f"{folder}: the backbone of this run was not found. {error}\n{WAYS_ON}") from error
    # A commit of the hub and a folder's bytes cannot be compared; the weights themselves are, once loaded.
    known = {key for key in now if key in then and _kind(now[key]) == _kind(then[key])}
    refuse_another(
        f"{folder}: this run was trained on another backbone than the one at '{model.name}' (was → now)",
        {key: then[key] for key in known},
        {key: now[key] for key in known},
        WAYS_ON,
    )
    return model


def require_weights(saved: Mapping[str, Any], digest: str, folder: Path) -> None:
    """Raise UserError when the loaded weights are not those of the training."""
    wanted = saved.get("backbone_digest")
    if wanted is not None and wanted != digest:
        name = saved["config"]["model"]["name"]
        raise UserError(
            f"{folder}: trained on other weights of '{name}' than the ones found "
            f"({wanted[:12]} in training, {digest[:12]} now).\n{WAYS_ON}"
        )


def _kind(digest: str) -> str:
    """The kind of a digest: `hub`, `random`, or empty for one of a file's bytes."""
    return digest.rpartition(":")[0].partition(":")[0]
