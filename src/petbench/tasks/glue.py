"""GLUE: its ten tasks in their order, and the rules that hold for all of them."""

from collections.abc import Mapping
from types import MappingProxyType

from petbench.config.task import GlueRules, Task, task_values
from petbench.errors import UserError, unknown

NAMES = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "ax")
NOT_AVERAGED = (
    "ax",
    "wnli",
)  # AX has no public labels; WNLI's scores mislead, see `petbench report --include-wnli`

TASKS: Mapping[str, Task] = MappingProxyType({name: Task.model_validate({"name": name}) for name in NAMES})

BIBTEX = """@inproceedings{wang2019glue,
  title = {{GLUE}: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding},
  author = {Wang, Alex and Singh, Amanpreet and Michael, Julian and Hill, Felix and Levy, Omer and Bowman, Samuel R.},
  booktitle = {International Conference on Learning Representations},
  year = {2019}
}"""


def task_named(name: str) -> Task:
    """The GLUE task of this name. Raises UserError with the nearest name when there is none."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def rules_of(task: Task) -> GlueRules:
    """The submission rules of one of GLUE's ten tasks."""
    assert task.glue is not None
    return task.glue


def is_glue(task: Task) -> bool:
    """Whether a task is one of GLUE's, unchanged: its name then identifies it."""
    official = TASKS.get(task.name)
    return official is not None and official.definition() == task.definition()


def bibtex_of(name: str) -> str:
    """BibTeX of a task's paper, and of GLUE's if it is one of GLUE's tasks; empty when the task's YAML has none."""
    own = str(task_values(name).get("bibtex") or "").strip()
    return "\n\n".join(filter(None, (own, BIBTEX if name in TASKS else "")))


def require_trainable(task: Task) -> None:
    """Raise UserError for a task without train rows (ax)."""
    if task.train is None:
        raise UserError(
            f"task={task.name} has no train rows and no public labels: train on mnli (task=mnli "
            f"protocol=glue_test); that run also predicts the {task.name} rows."
        )
