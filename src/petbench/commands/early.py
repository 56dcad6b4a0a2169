"""What can be known to be wrong with a run before torch is imported: the config, its folders and its files."""

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from petbench.config.sections import AdapterSpec
from petbench.config.spec import RunSpec, parse
from petbench.config.tree import key_of
from petbench.errors import UserError
from petbench.files import unwritable


class _AnyMethod(AdapterSpec):
    """Takes whatever keys a method has: only the method's own file, which needs torch, knows them."""

    model_config = ConfigDict(extra="ignore")


def check_run(values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Raise UserError for what the method itself need not be asked.

    A mistake in the config waits for the method where the command line sets keys of the method, too: all mistakes
    come in one message.
    """
    try:
        spec = _parsed(values)
    except UserError:
        if any(key_of(text).startswith("adapter.") for text in overrides):
            return
        raise
    _check_places(spec)


def check_members(members: Iterable[Mapping[str, Any]]) -> None:
    """Raise UserError where the rows or the model of every member are nowhere; what only some lack, and mistakes of
    the config, the plan of the sweep says with all others."""
    different = {str([values[key] for key in ("task", "data", "model")]): values for values in members}
    errors = []
    for values in different.values():
        try:
            spec = _parsed(values)
        except UserError:
            return
        try:
            _check_places(spec)
        except UserError as error:
            errors.append(error)
        else:
            return
    if errors:
        raise errors[0]


def _parsed(values: Mapping[str, Any]) -> RunSpec:
    return parse(values, lambda name: _AnyMethod)


def _check_places(spec: RunSpec) -> None:
    """Raise UserError where a folder or a file that the run starts from is not there, or cannot be written to."""
    if spec.plan:
        return
    from petbench.models.source import require_place
    from petbench.tasks.rows.load import require_source

    runs = Path(spec.results_dir, "runs")
    above = next(place for place in (runs, *runs.parents) if place.exists())
    if not above.is_dir():
        raise unwritable(runs, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    require_source(spec.task, spec.data)
    if spec.model.weights == "pretrained":
        require_place(spec.model.name)
    if spec.model.tokenizer not in ("same", "built"):
        require_place(spec.model.tokenizer, "model.tokenizer")
