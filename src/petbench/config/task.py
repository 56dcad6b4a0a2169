"""What a task is, as its YAML says it: texts, labels, metrics, splits, where its rows are; GLUE's rules beside."""

from collections.abc import Mapping
from functools import cache
from itertools import chain
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from petbench.config.tree import conf_dir, plugin_conf_dirs
from petbench.config.values import Frozen, PathText

OWN = "own"  # the task without a definition of its own: it is read off the rows that data.file or data.hub names


class GlueRules(Frozen):
    """What makes a task one of GLUE's: its files in the submission, which other tasks its model answers."""

    files: dict[str, str]  # test split -> the file's stem in the zip
    labels: tuple[str, ...] = ()  # the strings written there, in code order; none: a number
    also: tuple[str, ...] = ()  # tasks without train rows whose test rows this task's model answers


class Task(Frozen):
    """One task. `labels` is in code order; none: the label is a number.

    Raise `version` when a change alters rows, wording or metrics: cached rows of the old version are left alone.
    """

    name: str
    text_fields: Annotated[tuple[str, ...], Field(max_length=2)] = ()  # one or two texts; none: see OWN
    columns: dict[str, str] = Field(
        default_factory=dict
    )  # field -> column or `{one} and {other}`, else its name
    label: str = "label"  # the column of labels
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    headline: str = ""  # the metric that picks and is reported; empty: the last of `metrics`
    label_range: tuple[float, float] | None = None  # lowest and highest label, where it is a number
    scale: tuple[float, Annotated[float, Field(gt=0)]] | None = None  # a head learns (label - first) / second
    train: str | None = "train"
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)
    rows: dict[str, int] = Field(
        default_factory=dict
    )  # official number of rows of a split, which is then held
    files: PathText | None = None  # a file, a folder of <split>.<ending>, or package:<module>/<folder>
    hub: str | None = None  # owner/name or owner/name:config
    asked_as: str = ""  # the name in wordings that begin with one; empty: the task's
    glue: GlueRules | None = None
    version: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, raw: Any) -> Any:
        """The YAML of a name that stands alone, and the headline; the citation is for reports, not for runs."""
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
            raise ValueError("labels: got one, or one twice. Legal: two or more names, or none for a number")
        if self.regression and self.label_range is None:
            raise ValueError("label_range: missing. A label that is a number needs its lowest and highest")
        if self.label_range is not None and not self.label_range[0] < self.label_range[1]:
            raise ValueError(f"label_range: got {list(self.label_range)}. Legal: the lower number first")
        return self

    @property
    def regression(self) -> bool:
        """Whether labels are numbers (STS-B: 0 to 5)."""
        return not self.labels

    @property
    def num_labels(self) -> int:
        """Outputs of the head: classes, or 1 for regression."""
        return len(self.labels) or 1

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest label of a regression task."""
        assert self.label_range is not None
        return self.label_range

    @property
    def units(self) -> tuple[float, float]:
        """What a head's number is taken times, and plus: `scale`, else the middle and a quarter of the range. GLUE's
        labels are learnt as they are."""
        if not self.regression or self.glue is not None:
            return 0.0, 1.0
        low, high = self.bounds
        return self.scale or ((low + high) / 2, (high - low) / 4)

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split: train, validation, test."""
        return (*((self.train,) if self.train else ()), *self.validation, *self.test)

    def definition(self) -> dict[str, Any]:
        """What a run of this task is told by, besides its rows: the name and where the rows lie are no part."""
        apart = {"name", "columns", "label", "files", "hub", "glue"}
        return self.model_dump(mode="json", include=set(Task.model_fields) - apart)


DEFINED = tuple(name for name in Task.model_fields if name != "name")  # the keys that a task's YAML fixes


def task_in(config: Mapping[str, Any], name: str) -> Task:
    """The task of a recorded config; older records say its name alone."""
    known = config.get("task") or {}
    return Task.model_validate(
        {"name": name, **{key: value for key, value in known.items() if key in Task.model_fields}}
    )


@cache
def task_values(name: str) -> dict[str, Any]:
    """What the YAML of a task says; nothing for a name that has none."""
    group, _, rest = name.partition("_")  # `superglue/boolq.yaml` is the task superglue_boolq
    for root in chain([conf_dir()], plugin_conf_dirs()):
        for path in (root / "task" / f"{name}.yaml", root / "task" / group / f"{rest}.yaml"):
            if path.is_file():
                values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
                return {key: value for key, value in values.items() if key != "defaults"}
    return {}
