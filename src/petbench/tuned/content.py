"""A run's content: digests of what it is made of besides its config; and its folders as absolute paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petbench.adapters.peft_in import PEFT_CONFIG, PEFT_WEIGHTS, is_foreign
from petbench.config.sections import ModelSpec
from petbench.config.spec import RunSpec
from petbench.errors import NotHere, UserError
from petbench.machine.devices import choose_device, choose_precision
from petbench.models.content import backbone_content
from petbench.models.file_digests import remembered_sha256
from petbench.record import ContentFacts
from petbench.tasks.glue import is_glue
from petbench.tasks.splits import content_digest
from petbench.tuned.checkpoint import CONFIG_FILE, WEIGHTS_FILE, adapter_folder


@dataclass(frozen=True)
class Content:
    """What a run is made of. `missing` says why a part is not known yet; such a run can be planned, not run."""

    facts: ContentFacts
    missing: tuple[str, ...] = ()

    def values(self) -> dict[str, str | None]:
        """The facts as plain values: what the run's id is a hash of, besides the config."""
        return self.facts.model_dump()


def content_of(spec: RunSpec, rows: str) -> Content:
    """The content of a run on these rows (their digest). Files are hashed once; no weights are loaded.

    Raises UserError when a folder or package is not there. What may be there later (a hub's model, a run to
    start from) is represented by its name until then, and `missing` says so.
    """
    missing: list[str] = []
    try:
        backbone = backbone_content(spec.model, spec.cache_dir)
    except NotHere as error:
        missing.append(str(error))
        name = f"not here: {spec.model.name}@{spec.model.revision}"
        backbone = {"weights": name, "config": name, "tokenizer": f"not here: {spec.model.tokenizer}"}
    start = None
    if spec.init_from:
        try:
            folder = adapter_folder(spec.init_from, spec.results_dir)
            start = _start(folder, spec.cache_dir)
        except (UserError, OSError) as error:
            missing.append(f"init_from: {error}")
            start = f"not here: {spec.init_from}"
    task = None if is_glue(spec.task) else content_digest(spec.task.definition())
    facts = ContentFacts(rows=rows, **backbone, precision=_precision(spec), start=start, task=task)
    return Content(facts, tuple(missing))


def _start(folder: Path, cache_dir: str | None) -> str:
    """Digest of an adapter to start from. A PEFT adapter's config counts too, since it holds the scaling."""
    if not is_foreign(folder):
        return remembered_sha256(folder / WEIGHTS_FILE, cache_dir)
    files = (folder / PEFT_CONFIG, folder / PEFT_WEIGHTS)
    return content_digest({path.name: remembered_sha256(path, cache_dir) for path in files})


def _precision(spec: RunSpec) -> str:
    """The precision on this machine; where it lacks the device, the one in the config."""
    wanted = spec.trainer.precision
    if wanted != "auto":
        return wanted
    try:
        return choose_precision(wanted, choose_device(spec.trainer.device))
    except UserError:  # a plan for another machine: there the run reports what is missing
        return wanted


def located(spec: RunSpec) -> RunSpec:
    """The spec with absolute paths, so that a record is valid whatever the working directory."""
    data = spec.data
    if data.dir is not None:
        data = data.model_copy(update={"dir": whole_path(data.dir)})
    if data.file is not None:
        data = data.model_copy(update={"file": str(Path(data.file).absolute())})
    start = spec.init_from
    if start is not None and any(
        (Path(start) / inside / CONFIG_FILE).is_file() for inside in ("", "adapter")
    ):
        start = whole_path(start)
    return spec.model_copy(update={"model": located_model(spec.model), "data": data, "init_from": start})


def located_model(model: ModelSpec) -> ModelSpec:
    """The spec with absolute paths for the folders of model and tokenizer."""
    update: dict[str, Any] = {}
    if model.tokenizer not in ("same", "built"):
        update["tokenizer"] = whole_path(model.tokenizer)
    name = whole_path(model.name)
    if name != model.name and not (model.weights == "random" and model.known is not None):
        # `known` describes the model of the given name; a folder's own files describe it.
        update |= {"name": name, "known": None}
    return model.model_copy(update=update)


def whole_path(name: str) -> str:
    """The absolute path of a folder that is there (links stay as they are); any other name as it is."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if name and folder.is_dir() else name


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`optim.lr: 0.001 → 0.002` for every value that is not the same in both."""
    old, new = _flat(was), _flat(now)
    return [
        f"{key}: {_shown(old, key)} → {_shown(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if key not in old or key not in new or old[key] != new[key]
    ]


def refuse_another(what: str, was: Mapping[str, Any], now: Mapping[str, Any], ways_on: str) -> None:
    """Raise UserError with all differences between two contents, when there are any."""
    found = differences(was, now)
    if found:
        raise UserError("\n".join([f"{what}:", *(f"  {line}" for line in found), ways_on]))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return out


def _shown(values: Mapping[str, Any], key: str) -> str:
    """A value as a message shows it; a digest is shortened."""
    if key not in values:
        return "nothing"
    text = str(values[key])
    return f"{text[:12]}…" if len(text) == 64 and not text.count(" ") else text
