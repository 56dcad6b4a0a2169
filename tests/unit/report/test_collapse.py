"""A run that learnt nothing is said in words: its one answer by name, and the majority class."""

from pathlib import Path

import numpy as np
import pytest

from petbench.record import Answers, run_folder, write_answers
from petbench.report.collapse import nothing_learnt


def kept(folder: Path, answers: list[float]) -> None:
    rows = len(answers)
    said = np.array(answers, dtype=np.float32)
    write_answers(folder, {"validation": Answers(np.arange(rows), np.zeros(rows, dtype=np.float32), said)})


@pytest.mark.parametrize(
    ("task", "value", "report", "answers", "line"),
    [
        ("rte", 0.477, {"accuracy": 0.477}, [0.0] * 128,
         "collapsed: all 128 answers are 'entailment'; the majority class alone scores 52.3"),
        ("rte", 0.477, {"accuracy": 0.477}, None,
         "collapsed: the answers do not depend on the rows; the majority class alone scores 52.3"),
        ("rte", 0.9, {"accuracy": 0.9}, [0.0, 1.0], None),
        ("rte", 0.5, {"accuracy": 0.5}, [0.0, 1.0],
         "accuracy 50.0 is below the majority class, 52.3: little was learnt"),
    ],
)  # fmt: skip
def test_words(make, tmp_path: Path, task, value, report, answers, line) -> None:
    constant = ("validation",) if line and line.startswith("collapsed") else ()
    share = {"data": {"digest": "d1", "source": "toy", "majority": {"validation": 0.523}}}
    record = make("krona", task, 0, value, report={"validation": report}, constant=constant, provenance=share)
    folder = run_folder(tmp_path, record.run_id)
    folder.mkdir(parents=True)
    if answers is not None:
        kept(folder, answers)
    assert nothing_learnt(record, folder) == line
