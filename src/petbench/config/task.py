"""The definition of a task, as in its YAML: texts, labels, metrics, splits, place of its rows, and GLUE's rules."""

from collections.abc import Mapping
from functools import cache
from itertools import chain
from typing import Annotated, Any

from pydantic import Field, model_validator

from petbench.config.tree import conf_dir, plugin_conf_dirs, yaml_values
from petbench.config.values import Frozen, PathText

OWN = "own"  # the name of a task whose definition is read off the rows that data.file or data.hub names


class GlueRules(Frozen):
    """The rules of a GLUE task: its files in the submission, and which other tasks its model answers."""

    files: dict[str, str]  # test split -> name of its file in the zip, without .tsv
    labels: tuple[str, ...] = ()  # the strings in these files, in code order; empty for a number
    also: tuple[str, ...] = ()  # tasks without train rows whose test rows this task's model answers, too


class Task(Frozen):
    """One task. `labels` is in code order; empty means that the label is a number.

    Raise `version` when a change alters rows, wording or metrics: rows cached for the old version are then not used.
    """

    name: str
    text_fields: Annotated[tuple[str, ...], Field(max_length=2)] = ()  # one or two fields; empty: see OWN
    columns: dict[str, str] = Field(
        default_factory=dict
    )  # field -> its column or pattern `{one} and {other}`; a missing field is its own column
    label: str = "label"  # the column of labels
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    headline: str = ""  # the metric that chooses the checkpoint and is reported; empty: the last of `metrics`
    label_range: tuple[float, float] | None = None  # lowest and highest label, if it is a number
    scale: tuple[float, Annotated[float, Field(gt=0)]] | None = None  # (a, b): a head learns (label − a) / b
    train: str | None = "train"
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)
    rows: dict[str, int] = Field(
        default_factory=dict
    )  # split -> official number of rows, which is then checked
    files: PathText | None = None  # a file, a folder of <split>.<ending>, or package:<module>/<folder>
    hub: str | None = None  # owner/name or owner/name:config
    asked_as: str = ""  # the name in wordings that begin with a task's name; empty: `name`
    glue: GlueRules | None = None
    version: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, raw: Any) -> Any:
        """Add the values of the task's YAML if only a name is given, and the headline; drop the citation."""
        if not isinstance(raw, Mapping):
            return raw
        known = {} if raw.get("text_fields") else task_values(str(raw.get("name", "")))
        whole = {**{key: value for key, value in known.items() if key in cls.model_fields}, **raw}
        whole.pop("bibtex", None)
        metrics = whole.get("metrics")
        if not whole.get("headline") and isinstance(metrics, list | tuple) and metrics:
            whole["headline"] = metrics[-1]
        return whole

    @model_validator(mode="after")
    def _fits_together(self) -> "Task":
        if self.headline and self.metrics and self.headline not in self.metrics:
            raise ValueError(f"headline: got '{self.headline}'. Legal: {', '.join(self.metrics)}")
        if not self.text_fields:
            return self
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(
                "labels: got one, or one twice. Legal: two or more different names, or none for a number"
            )
        if self.regression and self.label_range is None:
            raise ValueError("label_range: missing. A label that is a number needs its lowest and highest")
        if self.label_range is not None and not self.label_range[0] < self.label_range[1]:
            raise ValueError(f"label_range: got {list(self.label_range)}. Legal: the lower number first")
        return self

    @property
    def regression(self) -> bool:
        """Whether the labels are numbers (as in STS-B: 0 to 5)."""
        return not self.labels

    @property
    def num_labels(self) -> int:
        """The number of the head's outputs: one for each class, or 1 for regression."""
        return len(self.labels) or 1

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest label of a regression task."""
        assert self.label_range is not None
        return self.label_range

    @property
    def units(self) -> tuple[float, float]:
        """(a, b) with label = a + b · head output: `scale`, otherwise the middle and a quarter of the range; (0, 1) for
        classes and for GLUE's tasks, whose labels are learnt unchanged."""
        if not self.regression or self.glue is not None:
            return 0.0, 1.0
        low, high = self.bounds
        return self.scale or ((low + high) / 2, (high - low) / 4)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits: train, validation, test."""
        return (*((self.train,) if self.train else ()), *self.validation, *self.test)

    def definition(self) -> dict[str, Any]:
        """The values that identify the task besides its rows: without its name and the place of its rows."""
        apart = {"name", "columns", "label", "files", "hub", "glue"}
        return self.model_dump(mode="json", include=set(Task.model_fields) - apart)


DEFINED = tuple(name for name in Task.model_fields if name != "name")  # the keys that a task's YAML fixes


def task_in(config: Mapping[str, Any], name: str) -> Task:
    """The task of a recorded config; older records hold only its name."""
    known = config.get("task") or {}
    return Task.model_validate(
        {"name": name, **{key: value for key, value in known.items() if key in Task.model_fields}}
    )


@cache
def task_values(name: str) -> dict[str, Any]:
    """The values of a task's YAML; empty for a name without one."""
    group, _, rest = name.partition("_")  # `superglue/boolq.yaml` is the task superglue_boolq
    for root in chain([conf_dir()], plugin_conf_dirs()):
        for path in (root / "task" / f"{name}.yaml", root / "task" / group / f"{rest}.yaml"):
            if path.is_file():
                return {key: value for key, value in yaml_values(path).items() if key != "defaults"}
    return {}
