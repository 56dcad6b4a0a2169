"""The ten GLUE tasks as data: columns, labels, metrics, splits, official row counts, submission, citation."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from petbench.errors import UserError, unknown
from petbench.tasks.citations import BIBTEX

SMALL_TRAIN = 10_000  # the Compacter protocol halves the validation set of tasks with fewer train rows


@dataclass(frozen=True)
class Task:
    """What GLUE itself says of one task. `labels` is in code order; empty: regression.

    `submission` maps a test split to its file's stem in the GLUE zip; `submission_labels` are the strings
    written there, in code order (empty: a number). Raise `version` when a change alters rows, wording or
    metrics: cached rows of the old version are then left alone.
    """

    name: str
    text_fields: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    headline: str
    train: str | None
    validation: tuple[str, ...]
    test: tuple[str, ...]
    rows: Mapping[str, int]
    submission: Mapping[str, str]
    submission_labels: tuple[str, ...]
    citation: str
    predict_also: tuple[str, ...] = ()  # tasks without train rows whose test rows this task's model answers
    version: int = 1

    @property
    def regression(self) -> bool:
        """Whether labels are numbers (STS-B: 0 to 5)."""
        return not self.labels

    @property
    def num_labels(self) -> int:
        """Outputs of the head: classes, or 1 for regression."""
        return len(self.labels) or 1

    @property
    def splits(self) -> tuple[str, ...]:
        """Every official split: train, validation, test."""
        return (*((self.train,) if self.train else ()), *self.validation, *self.test)

    @property
    def small(self) -> bool:
        """Whether the official train split has fewer than 10,000 rows."""
        return self.train is not None and self.rows[self.train] < SMALL_TRAIN

    @property
    def bibtex(self) -> str:
        """BibTeX of the task's paper and of GLUE."""
        return "\n\n".join(BIBTEX[key] for key in dict.fromkeys((self.citation, "wang2019glue")))


LABEL_RANGE = (0.0, 5.0)  # of the regression task, STS-B

_PAIR = ("sentence1", "sentence2")
_NLI = ("entailment", "neutral", "contradiction")
_BINARY_NLI = ("entailment", "not_entailment")
_DIGITS = ("0", "1")


def _plain(
    name: str,
    text_fields: tuple[str, ...],
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    rows: tuple[int, int, int],
    stem: str,
    submission_labels: tuple[str, ...],
    citation: str,
) -> Task:
    """A task with one train, one validation and one test split; the last metric is the headline."""
    return Task(
        name=name,
        text_fields=text_fields,
        labels=labels,
        metrics=metrics,
        headline=metrics[-1],
        train="train",
        validation=("validation",),
        test=("test",),
        rows=MappingProxyType(dict(zip(("train", "validation", "test"), rows, strict=True))),
        submission=MappingProxyType({"test": stem}),
        submission_labels=submission_labels,
        citation=citation,
    )


_F1 = ("accuracy", "f1", "accuracy_f1")  # GLUE's own score for MRPC and QQP is the mean of the two
_CORRELATION = ("pearson", "spearmanr", "pearson_spearman")  # and for STS-B the mean of these
_ACCURACY = ("accuracy",)

_ALL = (
    _plain(
        "cola", ("sentence",), ("unacceptable", "acceptable"),
        ("accuracy", "matthews_correlation"), (8551, 1043, 1063), "CoLA", _DIGITS, "warstadt2019cola",
    ),
    _plain(
        "sst2", ("sentence",), ("negative", "positive"),
        _ACCURACY, (67349, 872, 1821), "SST-2", _DIGITS, "socher2013sst",
    ),
    _plain(
        "mrpc", _PAIR, ("not_equivalent", "equivalent"),
        _F1, (3668, 408, 1725), "MRPC", _DIGITS, "dolan2005mrpc",
    ),
    _plain(
        "stsb", _PAIR, (),
        _CORRELATION, (5749, 1500, 1379), "STS-B", (), "cer2017stsb",
    ),
    _plain(
        "qqp", ("question1", "question2"), ("not_duplicate", "duplicate"),
        _F1, (363846, 40430, 390965), "QQP", _DIGITS, "iyer2017qqp",
    ),
    Task(
        name="mnli",
        text_fields=("premise", "hypothesis"),
        labels=_NLI,
        metrics=_ACCURACY,
        headline="accuracy",
        train="train",
        validation=("validation_matched", "validation_mismatched"),
        test=("test_matched", "test_mismatched"),
        rows=MappingProxyType(
            {
                "train": 392702,
                "validation_matched": 9815,
                "validation_mismatched": 9832,
                "test_matched": 9796,
                "test_mismatched": 9847,
            }
        ),
        submission=MappingProxyType({"test_matched": "MNLI-m", "test_mismatched": "MNLI-mm"}),
        submission_labels=_NLI,
        citation="williams2018mnli",
        predict_also=("ax",),
    ),
    _plain(
        "qnli", ("question", "sentence"), _BINARY_NLI,
        _ACCURACY, (104743, 5463, 5463), "QNLI", _BINARY_NLI, "rajpurkar2016squad",
    ),
    _plain(
        "rte", _PAIR, _BINARY_NLI,
        _ACCURACY, (2490, 277, 3000), "RTE", _BINARY_NLI, "dagan2005rte",
    ),
    _plain(
        "wnli", _PAIR, ("not_entailment", "entailment"),
        _ACCURACY, (635, 71, 146), "WNLI", _DIGITS, "levesque2012winograd",
    ),
    Task(
        name="ax",
        text_fields=("premise", "hypothesis"),
        labels=_NLI,
        metrics=("matthews_correlation",),
        headline="matthews_correlation",
        train=None,
        validation=(),
        test=("test",),
        rows=MappingProxyType({"test": 1104}),
        submission=MappingProxyType({"test": "AX"}),
        submission_labels=_NLI,
        citation="wang2019glue",
    ),
)  # fmt: skip

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ALL})


def task_named(name: str) -> Task:
    """The task of a name. Raises UserError with the nearest name when there is none."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def require_trainable(task: Task) -> None:
    """Raise UserError for a task without train rows (ax)."""
    if task.train is None:
        raise UserError(
            f"task={task.name} has no train rows and no public labels: train on mnli (task=mnli "
            f"protocol=glue_test); that run also predicts the {task.name} rows."
        )
