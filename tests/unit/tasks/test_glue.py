"""The ten tasks as data, and their YAMLs."""

from pathlib import Path

import pytest

from petbench.compose.expand import choice
from petbench.config.sections import DataSpec, ProtocolSpec, TaskSpec
from petbench.config.task import OWN
from petbench.config.tree import options
from petbench.errors import UserError
from petbench.record.metrics.table import require_metrics
from petbench.tasks.glue import TASKS, bibtex_of, is_glue, require_trainable, task_named
from petbench.tasks.protocols import SMALL_TRAIN

CONF = Path(__file__).resolve().parents[3] / "conf"

OFFICIAL = {
    "cola": (8551, 1043, 1063),
    "sst2": (67349, 872, 1821),
    "mrpc": (3668, 408, 1725),
    "stsb": (5749, 1500, 1379),
    "qqp": (363846, 40430, 390965),
    "mnli": (392702, 9815, 9832, 9796, 9847),
    "qnli": (104743, 5463, 5463),
    "rte": (2490, 277, 3000),
    "wnli": (635, 71, 146),
    "ax": (1104,),
}


def test_official_row_counts():
    assert {
        name: tuple(task.rows[split] for split in task.splits) for name, task in TASKS.items()
    } == OFFICIAL


def test_eleven_submission_files():
    stems = [stem for task in TASKS.values() for stem in task.glue.files.values()]
    assert sorted(stems) == sorted(
        ["CoLA", "SST-2", "MRPC", "STS-B", "MNLI-m", "MNLI-mm", "QNLI", "QQP", "RTE", "WNLI", "AX"]
    )
    assert TASKS["rte"].glue.labels == ("entailment", "not_entailment")
    assert TASKS["wnli"].glue.labels == ("0", "1")


def test_headlines_and_sizes():
    assert {name: task.headline for name, task in TASKS.items() if task.headline != "accuracy"} == {
        "cola": "matthews_correlation",
        "mrpc": "accuracy_f1",
        "stsb": "pearson_spearman",
        "qqp": "accuracy_f1",
        "ax": "matthews_correlation",
    }
    assert [name for name, task in TASKS.items() if task.train and task.rows["train"] < SMALL_TRAIN] == [
        "cola",
        "mrpc",
        "stsb",
        "rte",
        "wnli",
    ]
    assert TASKS["stsb"].num_labels == 1 and TASKS["mnli"].num_labels == 3


def test_bibtex_names_the_task_and_glue():
    assert "@article{warstadt2019cola" in bibtex_of("cola") and "{wang2019glue" in bibtex_of("cola")
    assert bibtex_of("ax").count("@inproceedings") == 1


def test_unknown_task_names_the_nearest():
    with pytest.raises(UserError, match=r"task: 'sst' is unknown. Did you mean 'sst2'\? Legal: ax, cola"):
        task_named("sst")


def test_ax_cannot_be_trained():
    with pytest.raises(UserError, match="train on mnli"):
        require_trainable(TASKS["ax"])


def test_every_task_yaml_holds_every_field():
    files = {name: choice("task", name) for name in options("task")}
    assert set(files) >= {*TASKS, OWN}
    for name, values in files.items():
        spec = TaskSpec.model_validate(values)
        assert spec.name == name.replace("/", "_")
        assert set(values) - {"bibtex"} == set(TaskSpec.model_fields)
        if name != OWN:
            require_metrics(spec.metrics, spec.headline, spec.regression)


def test_a_name_alone_stands_for_its_yaml():
    """Records and saved adapters from before tasks were YAMLs say the name and settings only."""
    for name, task in TASKS.items():
        assert TaskSpec(name=name).definition() == task.definition() and is_glue(TaskSpec(name=name))
    other = TaskSpec(name="rte", metrics=("macro_f1", "accuracy"))
    assert not is_glue(other) and other.headline == "accuracy"


@pytest.mark.parametrize("group,spec,key", [("data", DataSpec, "source"), ("protocol", ProtocolSpec, "name")])
def test_data_and_protocol_yamls_hold_every_field(group, spec, key):
    for path in (CONF / group).glob("*.yaml"):
        values = choice(group, path.stem)
        assert set(values) == set(spec.model_fields), path
        assert getattr(spec.model_validate(values), key) == path.stem
        lines = path.read_text().splitlines()
        assert lines[1].startswith("# petbench train ")
