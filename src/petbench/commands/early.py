"""Checks of a run before torch is imported: of its config, and of the folders and files that the config names."""

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
    """A spec that accepts any key: only the method's own file, which needs torch, knows which keys it has."""

    model_config = ConfigDict(extra="ignore")


def check_run(values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Raise UserError for mistakes that can be found without the method's own file.

    If the command line sets keys of the method, mistakes in the config are left to the later check, which knows the
    method: all mistakes then come in one message.
    """
    try:
        spec = _parsed(values)
    except UserError:
        if any(key_of(text).startswith("adapter.") for text in overrides):
            return
        raise
    _check_places(spec)


def check_members(members: Iterable[Mapping[str, Any]]) -> None:
    """Raise UserError when every member of a sweep lacks its rows or its model. What only some members lack, and
    mistakes in the config, are left to the plan of the sweep, which reports all of them together."""
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
    """Raise UserError when rows, a model or a tokenizer on disk is missing, or the results folder cannot be one."""
    if spec.plan:
        return
    from petbench.models.source import require_place
    from petbench.tasks.rows.load import require_source
    from petbench.tasks.task import require_one_source

    runs = Path(spec.results_dir, "runs")
    above = next(place for place in (runs, *runs.parents) if place.exists())
    if not above.is_dir():
        raise unwritable(runs, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    require_one_source(spec.task, spec.data)
    require_source(spec.task, spec.data)
    if spec.model.weights == "pretrained":
        require_place(spec.model.name)
    if spec.model.tokenizer not in ("same", "built"):
        require_place(spec.model.tokenizer, "model.tokenizer")
