"""Frozen specs: what a run is, validated once with every error in one message, and its id by content."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import (
    ValidationError,
)

from petbench.config.mistakes import mistakes
from petbench.config.sections import (
    USUAL,
    AdapterSpec,
    BudgetSpec,
    DataSpec,
    EvalSpec,
    LoggerSpec,
    ModelSpec,
    OptimSpec,
    ProtocolSpec,
    TaskSpec,
    TrainerSpec,
    TuningNote,
    Vary,
    hyper_parameters,
)
from petbench.config.task import DEFINED
from petbench.config.values import Frozen, PathText
from petbench.console import secret_in
from petbench.errors import UserError

RUN_SCHEMA = 2  # raise it when the meaning of a config field changes: every run id changes with it


# What may change without making it another run: where it runs, how it is shown, which worker does it.
NOT_IDENTITY: tuple[tuple[str, ...], ...] = (
    ("results_dir",),
    ("cache_dir",),
    ("plan",),
    ("retry",),
    ("tuning",),
    ("logger",),
    ("adapter", "name"),
    ("model", "label"),
    ("model", "known"),
    *(("task", key) for key in DEFINED),  # of GLUE's told by the name, of others by content
    ("data", "dir"),
    ("data", "source"),
    *(("data", key) for key in ("file", "hub", "text", "label", "kind")),
    ("trainer", "device"),
    ("trainer", "threads"),
    ("trainer", "log_every"),
    ("trainer", "progress"),
    ("trainer", "keep_resume_state"),
)


# What a run is told by in another way: these name things, and `run_id` is handed their content.
NAMES_OF_CONTENT: tuple[tuple[str, ...], ...] = (
    ("model", "name"),
    ("model", "revision"),
    ("model", "tokenizer"),
    ("trainer", "precision"),
    ("init_from",),
)


class RunSpec(Frozen):
    """One run, whole."""

    model: ModelSpec
    adapter: AdapterSpec
    task: TaskSpec
    data: DataSpec
    protocol: ProtocolSpec
    trainer: TrainerSpec
    optim: OptimSpec
    eval: EvalSpec
    logger: LoggerSpec
    budget: BudgetSpec = BudgetSpec()
    seed: int = 0
    vary: Vary = USUAL  # what the seed draws besides initial values and dropout
    tuning: TuningNote | None = None
    init_from: PathText | None = None  # a run id or folder whose adapter and body are the start
    recipe: str | None = None  # the name of the published setting, when one was chosen
    results_dir: PathText = "results"
    cache_dir: PathText | None = None
    plan: bool = False
    retry: bool = True  # run failed cells again

    def canonical(self) -> dict[str, Any]:
        """The whole config as plain JSON values."""
        dump = self.model_dump(mode="json")
        dump["adapter"] = self.adapter.model_dump(mode="json")  # the subclass's fields too
        return dump

    def identity(self) -> dict[str, Any]:
        """The part of the config that makes it this run and no other."""
        config = self.canonical()
        for *parents, leaf in (*NOT_IDENTITY, *NAMES_OF_CONTENT):
            place = config
            for key in parents:
                place = place[key]
            place.pop(leaf, None)
        if self.task.glue is None:
            config["task"].pop("name")
        return config

    def run_id(self, content: Mapping[str, Any]) -> str:
        """First 12 hex digits of SHA-256 over schema number, identity and content: digests of rows, weights,
        tokenizer and start, and the precision (see `petbench.tuned.content`)."""
        whole = {"schema": RUN_SCHEMA, "config": self.identity(), "content": dict(content)}
        return hashlib.sha256(canonical_json(whole).encode()).hexdigest()[:12]

    def cell_id(self, content: Mapping[str, Any]) -> str:
        """As `run_id`, the same for all seeds: those rows are left out that the seed draws."""
        drawn = {"split", "sample"} & set(self.vary)
        same = {key: value for key, value in content.items() if key != "rows" or not drawn}
        whole = {"config": {**self.identity(), "seed": None}, "content": same}
        return hashlib.sha256(canonical_json(whole).encode()).hexdigest()[:8]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _secrets(value: Any, path: str = "") -> Iterator[str]:
    """A problem for every value that holds a secret of the environment: a config is stored, logged and published."""
    if isinstance(value, str) and (name := secret_in(value)) is not None:
        yield (
            f"{path}: holds the value of {name}. A config is stored with the run: leave it out. Keys of W&B and of the "
            "hub are read from the environment where they are needed."
        )
    inside: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else ()
    for key, part in enumerate(value) if isinstance(value, list | tuple) else inside:
        yield from _secrets(part, f"{path}.{key}" if path else str(key))


def parse(raw: Mapping[str, Any], spec_of: Callable[[str], type[AdapterSpec]]) -> RunSpec:
    """Plain nested values from Hydra -> RunSpec.

    `spec_of` gives the spec class of a method's name. Raises UserError with every mistake in one
    message, each with its path, what was got and what is legal.
    """
    values = dict(raw)
    if values.get("table", ...) is None:
        del values["table"]  # of a recipe, and already read: see recipe.py
    values.pop("published", None)  # of a recipe: what stands beside its runs, which changes no run
    given = values.pop("adapter", None) or {}
    adapter_raw = hyper_parameters(given) if isinstance(given, Mapping) else {}
    problems: list[str] = [*_secrets(raw)]
    if not isinstance(given, Mapping):
        problems.append(f"adapter: got {given!r}. Legal: a group of keys.")
    adapter: AdapterSpec | None = None
    spec_class: type[AdapterSpec] = AdapterSpec
    try:
        spec_class = spec_of(str(adapter_raw.get("method", "")))
        adapter = spec_class.model_validate(adapter_raw)
    except UserError as error:
        problems.append(str(error))
    except ValidationError as error:
        problems += mistakes(error, spec_class, prefix="adapter")
    stand_in = adapter if adapter is not None else AdapterSpec(method="?")
    try:
        spec = RunSpec.model_validate({**values, "adapter": stand_in})
    except ValidationError as error:
        problems += mistakes(error, RunSpec, prefix="")
    if problems:
        head = "1 problem in the config" if len(problems) == 1 else f"{len(problems)} problems in the config"
        raise UserError("\n".join([f"{head}:", *(f"  {line}" for line in problems)]))
    return spec
