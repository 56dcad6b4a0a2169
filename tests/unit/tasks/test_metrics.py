"""GLUE's metrics against hand cases, scikit-learn and scipy; never NaN."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from petbench.errors import RunError, UserError
from petbench.record.metrics.table import METRICS
from petbench.tasks.glue import TASKS
from petbench.tasks.metrics import metric, score


def test_hand_cases():
    """3 true positives, 1 false positive, 2 false negatives, 4 true negatives."""
    labels = [1] * 5 + [0] * 5
    predictions = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    values, notes = score(TASKS["mrpc"], predictions, labels)
    assert values["accuracy"] == pytest.approx(0.7)
    assert values["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert values["accuracy_f1"] == pytest.approx((0.7 + 2 / 3) / 2)
    assert list(values) == ["accuracy", "f1", "accuracy_f1"] and notes == []
    values, _ = score(TASKS["cola"], predictions, labels)
    assert values["matthews_correlation"] == pytest.approx((3 * 4 - 1 * 2) / math.sqrt(4 * 5 * 5 * 6))


def test_hand_correlations():
    values, _ = score(TASKS["stsb"], [1.0, 2.0, 3.0, 5.0], [0.0, 2.0, 1.0, 5.0])
    # Pearson by its definition; Spearman from ranks 1 2 3 4 against 1 3 2 4: 1 - 6·2/(4·15).
    x, y = np.array([1, 2, 3, 5]) - 2.75, np.array([0, 2, 1, 5]) - 2.0
    assert values["pearson"] == pytest.approx((x @ y) / math.sqrt((x @ x) * (y @ y)))
    assert values["spearmanr"] == pytest.approx(0.8)
    assert values["pearson_spearman"] == pytest.approx((values["pearson"] + 0.8) / 2)


@pytest.mark.parametrize(
    "no_number,counted",
    [(None, [1.0, 5.0, 3.0, 0.0, 9.5]), (-1.0, [1.0, -1.0, 3.0, -1.0, 9.5])],
)
def test_what_a_missing_number_counts_as(no_number, counted):
    """The end of the scale that is farther from the label, or the number that the protocol says."""
    labels = [0.5, 1.0, 2.0, 4.0, 5.0]
    values, _ = score(TASKS["stsb"], [1.0, None, 3.0, None, 9.5], labels, no_number)
    assert values["pearson"] == pytest.approx(stats.pearsonr(counted, labels).statistic)
    assert values["spearmanr"] == pytest.approx(stats.spearmanr(counted, labels).statistic)


def test_against_scikit_learn_and_scipy():
    rng = np.random.default_rng(0)
    for name in ("cola", "mrpc", "ax"):
        task = TASKS[name]
        labels = rng.integers(0, len(task.labels), 200)
        predictions = np.where(rng.random(200) < 0.7, labels, rng.integers(0, len(task.labels), 200))
        values, _ = score(task, predictions.tolist(), labels.tolist())
        wanted = {
            "accuracy": sk.accuracy_score(labels, predictions),
            "matthews_correlation": sk.matthews_corrcoef(labels, predictions),
        }
        if name == "mrpc":
            wanted["f1"] = sk.f1_score(labels, predictions)
        for key in values.keys() & wanted.keys():
            assert values[key] == pytest.approx(wanted[key])
    scores = rng.random(100) * 5
    noisy = scores + rng.normal(size=100)
    values, _ = score(TASKS["stsb"], noisy.tolist(), scores.tolist())
    assert values["pearson"] == pytest.approx(stats.pearsonr(noisy, scores).statistic)
    assert values["spearmanr"] == pytest.approx(stats.spearmanr(noisy, scores).statistic)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.filterwarnings("error")
def test_constant_predictions_are_defined_and_told(name):
    task = TASKS[name]
    labels = [0.0, 2.5, 5.0, 1.0] if task.regression else [0, 1, 0, 1]
    for constant in ([2.0] * 4 if task.regression else [0] * 4, [3.3] * 4 if task.regression else [1] * 4):
        values, notes = score(task, constant, labels)
        assert all(math.isfinite(value) for value in values.values())
        assert len(notes) == 1 and "all 4 predictions are" in notes[0]
    for zero in ("matthews_correlation", "pearson", "spearmanr"):
        assert values.get(zero, 0.0) == 0.0


def test_constant_labels_are_defined_and_told():
    values, notes = score(TASKS["stsb"], [1.0, 2.0], [3.0, 3.0])
    assert values == {"pearson": 0.0, "spearmanr": 0.0, "pearson_spearman": 0.0}
    assert notes == ["stsb: all 2 labels are 3"]


def test_an_answer_that_is_no_label_is_wrong():
    assert score(TASKS["rte"], [None, None, 1], [0, 1, 1])[0]["accuracy"] == pytest.approx(1 / 3)
    assert score(TASKS["mnli"], [None, None, None], [0, 1, 2])[0]["accuracy"] == 0.0
    # STS-B: the far end of the scale: 0 for a label above 2.5, else 5.
    got = score(TASKS["stsb"], [None, 4.0, None], [1.0, 4.0, 3.0])[0]
    assert got == score(TASKS["stsb"], [5.0, 4.0, 0.0], [1.0, 4.0, 3.0])[0]


def test_a_diverged_prediction_stops_the_run():
    with pytest.raises(RunError, match="diverged"):
        score(TASKS["stsb"], [float("nan"), 1.0], [1.0, 2.0])


def test_scores_are_compared_in_float64():
    """Differences of 1e-9 are ranks in float64 and ties in float32, where this Spearman would be 0."""
    labels = [1.0, 2.0, 3.0, 4.0]
    values, notes = score(TASKS["stsb"], [3 + 1e-9, 3 + 2e-9, 3 + 3e-9, 3 + 4e-9], labels)
    assert values["spearmanr"] == 1.0
    assert values["pearson"] == pytest.approx(1.0)
    assert notes == []
    thirds = [1 / 3, 2 / 3, 4 / 3, 5 / 3]
    exact = stats.pearsonr(thirds, labels).statistic
    assert score(TASKS["stsb"], thirds, labels)[0]["pearson"] == exact  # the last bit, too


def test_no_rows_and_unequal_lengths():
    with pytest.raises(UserError, match="0 predictions for 0 labels"):
        score(TASKS["rte"], [], [])
    with pytest.raises(UserError, match="1 predictions for 2 labels"):
        score(TASKS["rte"], [1], [0, 1])


def test_it_is_an_evaluate_metric():
    import evaluate

    glue = metric(("accuracy", "f1"))
    assert isinstance(glue, evaluate.Metric)
    glue.add_batch(predictions=[1, 0], references=[1, 1])
    glue.add_batch(predictions=[1], references=[1])
    assert glue.compute() == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(0.8)}


def test_no_folder_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    metric.cache_clear()
    assert score(TASKS["rte"], [1, 0], [1, 1])[0] == {"accuracy": 0.5}
    assert score(TASKS["rte"], [1, 1], [1, 1])[0] == {"accuracy": 1.0}
    assert list(tmp_path.iterdir()) == []


def test_every_tasks_metrics_are_known():
    for task in TASKS.values():
        assert set(task.metrics) <= set(METRICS) and task.headline in task.metrics


def test_nothing_heavy_is_imported_with_the_tasks():
    """`--help` and `list` read the tasks; these imports cost seconds."""
    code = (
        "import sys, json; import petbench.tasks.glue, petbench.tasks.metrics, petbench.tasks.rows.load,"
        "petbench.tasks.toy,"
        "petbench.tasks.wording, petbench.tasks.encode.encode, petbench.tasks.protocols, petbench.tasks.rows.fetch;"
        "print(json.dumps([m for m in ('torch', 'transformers', 'evaluate', 'datasets', 'pyarrow', 'pandas', 'sklearn')"
        " if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True
    )
    assert json.loads(done.stdout) == []
