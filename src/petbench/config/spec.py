"""The frozen spec of a run: validated once, with all errors in one message, and hashed with its content to an id."""

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

RUN_SCHEMA = 2  # raise it when the meaning of a config field changes: all run ids then change


# Keys that do not change a run's id: where it runs, how it is shown, how it is launched.
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
    *(("task", key) for key in DEFINED),  # the name identifies GLUE's tasks, the content others
    ("data", "dir"),
    ("data", "source"),
    *(("data", key) for key in ("file", "hub", "text", "label", "kind")),
    ("trainer", "device"),
    ("trainer", "cuda_graph"),
    ("trainer", "threads"),
    ("trainer", "log_every"),
    ("trainer", "progress"),
    ("trainer", "keep_resume_state"),
)


# Keys that name things whose content is in the id instead: `run_id` gets the digests of what they name.
NAMES_OF_CONTENT: tuple[tuple[str, ...], ...] = (
    ("model", "name"),
    ("model", "revision"),
    ("model", "tokenizer"),
    ("trainer", "precision"),
    ("init_from",),
)


class RunSpec(Frozen):
    """The complete spec of one run."""

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
    init_from: PathText | None = (
        None  # a run id or folder: training starts from its adapter and trained backbone parts
    )
    recipe: str | None = None  # the name of the published setting, if one was chosen
    results_dir: PathText = "results"
    cache_dir: PathText | None = None
    plan: bool = False
    retry: bool = True  # whether failed runs are tried again

    def canonical(self) -> dict[str, Any]:
        """The whole config as plain JSON values."""
        dump = self.model_dump(mode="json")
        dump["adapter"] = self.adapter.model_dump(mode="json")  # the subclass's fields too
        return dump

    def identity(self) -> dict[str, Any]:
        """The part of the config that identifies the run."""
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
        """The first 12 hex digits of SHA-256 over RUN_SCHEMA, `identity()` and content. content: the precision, and
        digests of rows, weights, tokenizer and the adapter to start from (see `petbench.tuned.content`)."""
        whole = {"schema": RUN_SCHEMA, "config": self.identity(), "content": dict(content)}
        return hashlib.sha256(canonical_json(whole).encode()).hexdigest()[:12]

    def cell_id(self, content: Mapping[str, Any]) -> str:
        """The id of the run's cell: 8 hex digits as in `run_id`, but equal for all seeds. If the seed draws the rows,
        their digest is left out."""
        drawn = {"split", "sample"} & set(self.vary)
        same = {key: value for key, value in content.items() if key != "rows" or not drawn}
        whole = {"config": {**self.identity(), "seed": None}, "content": same}
        return hashlib.sha256(canonical_json(whole).encode()).hexdigest()[:8]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and without spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _secrets(value: Any, path: str = "") -> Iterator[str]:
    """A problem for every value that contains a secret of the environment: configs are stored, logged and published."""
    if isinstance(value, str) and (name := secret_in(value)) is not None:
        yield (
            f"{path}: holds the value of {name}. Leave it out, since a config is stored with the run. Keys of W&B and "
            "of the hub are read from the environment where they are needed."
        )
    inside: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else ()
    for key, part in enumerate(value) if isinstance(value, list | tuple) else inside:
        yield from _secrets(part, f"{path}.{key}" if path else str(key))


def parse(raw: Mapping[str, Any], spec_of: Callable[[str], type[AdapterSpec]]) -> RunSpec:
    """The RunSpec of plain nested values from Hydra. spec_of: a method's name -> its spec class.

    Raises UserError with all mistakes in one message, each with its path, what was got and what is legal.
    """
    values = dict(raw)
    if values.get("table", ...) is None:
        del values["table"]  # the recipe's table, which compose/recipe.py has already read
    values.pop("published", None)  # the paper's numbers beside a recipe's runs, which change no run
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
