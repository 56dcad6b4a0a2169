"""`compare --rows`: the rows that two methods differ on, by hand; confusion matrices; texts where the rows are here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from petbench.cli import run_command
from petbench.commands.compare import compare_main
from petbench.config.sections import DataSpec
from petbench.errors import UserError
from petbench.record import Answers, write_answers, write_record
from petbench.tasks.glue import task_named
from petbench.tasks.rows.load import load_splits

LABELS = [0, 0, 1, 1, 1]
# Row 3: lora alone is right, in both runs. Row 1: krona is right in one run of two. Row 4: each in one run.
SAID = {
    "krona": [[0, 0, 1, 0, 1], [0, 1, 1, 0, 0]],
    "lora": [[0, 1, 1, 1, 0], [0, 1, 1, 1, 1]],
}


def keep(make, folder: Path, adapter: str, seed: int, said: list[float], labels=LABELS, **more: Any) -> None:
    answers = Answers(
        np.arange(len(labels)) + 10, np.array(labels, np.float32), np.array(said, dtype=np.float32)
    )
    value = float((answers.labels == answers.answers).mean())
    write_answers(
        write_record(make(adapter, seed=seed, value=value, **more), folder).parent, {"validation": answers}
    )


def compare(folder: Path, *more: str) -> list[str]:
    return ["adapter=krona", "adapter=lora", "--results-dir", str(folder), "--rows", *more]


def test_rows_and_matrices_by_hand(make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for adapter, runs in SAID.items():
        for seed, said in enumerate(runs):
            keep(make, tmp_path, adapter, seed, said)
    assert compare_main(compare(tmp_path, "--json")) == 0
    (row,) = json.loads(capsys.readouterr().out)
    found = row["disagreement"]
    assert (found["of"], found["runs"], found["classes"]) == (5, [2, 2], [0, 1])
    # Label down, answer across, over two runs.
    assert found["confusion"] == [[[3, 1], [3, 3]], [[2, 2], [1, 5]]]
    assert found["rows"] == [
        {"id": 13, "label": 1, "right_a": 0, "right_b": 2},
        {"id": 11, "label": 0, "right_a": 1, "right_b": 0},
    ]
    assert compare_main(compare(tmp_path, "1")) == 0
    text = capsys.readouterr().out
    assert "On rte, krona and lora differ on 2 of 5 rows." in text
    assert "Right in all 2 runs of krona and in none of the 2 of lora: 0; the other way round: 1." in text
    assert "The 1 rows that differ most, by runs that are right of krona and lora:" in text
    assert "13  label not_entailment  krona 0/2  lora 2/2" in text and "    11  label" not in text
    assert "krona, answers (across) by label (down), mean number of rows over 2 runs:" in text
    assert [line.split() for line in text.splitlines() if line.strip().startswith("entailment")][0:2] == [
        ["entailment", "not_entailment"],
        ["entailment", "1.5", "0.5"],
    ]
    assert "No texts: " in text


def test_an_answer_that_is_no_label_has_a_column_and_no_line(make, tmp_path: Path, capsys) -> None:
    keep(make, tmp_path, "krona", 0, [-1, 0, 1, 1, 1])
    keep(make, tmp_path, "lora", 0, LABELS)
    assert compare_main(compare(tmp_path, "--json")) == 0
    found = json.loads(capsys.readouterr().out)[0]["disagreement"]
    assert found["classes"] == [0, 1, -1]
    assert found["confusion"][0] == [[1, 0, 1], [0, 3, 0], [0, 0, 0]]
    assert compare_main(compare(tmp_path)) == 0
    text = capsys.readouterr().out
    assert text.count("(no label)") == 2  # a head in each of two matrices


def test_numbers_are_told_by_their_means(make, tmp_path: Path, capsys) -> None:
    labels = [0.0, 2.5, 5.0]
    for adapter, runs in {"krona": [[0, 2, 5], [0, 3, 4]], "lora": [[0, 2.5, 2], [0, 2.5, 3]]}.items():
        for seed, said in enumerate(runs):
            keep(make, tmp_path, adapter, seed, said, labels, task="stsb")
    assert compare_main(compare(tmp_path)) == 0
    text = capsys.readouterr().out
    assert "differ on 1 of 3 rows." in text and "answers (across)" not in text
    assert "12  label 5  krona 4.50  lora 2.50" in text


def test_runs_without_answers_and_with_other_rows_are_named(make, tmp_path: Path) -> None:
    keep(make, tmp_path, "krona", 0, LABELS)
    write_record(make("lora", seed=0), tmp_path)
    with pytest.raises(UserError, match=r"1 of 1 runs of lora on rte stored none .*answers\.npz"):
        compare_main(compare(tmp_path))
    keep(make, tmp_path, "lora", 0, [0, 0, 1], [0, 0, 1])
    with pytest.raises(UserError, match="rte: the runs were scored on different rows"):
        compare_main(compare(tmp_path))
    assert run_command(compare_with_rows_of_none(tmp_path)) == 2


def compare_with_rows_of_none(folder: Path) -> list[str]:
    return ["compare", *compare(folder, "0")]


def test_texts_come_from_the_runs_own_rows(make, tmp_path: Path, capsys) -> None:
    data = {"source": "toy", "toy_train": 16, "toy_validation": 8}
    rows = load_splits(task_named("rte"), DataSpec(**data)).parts["validation"]
    labels = [int(label) for label in rows.labels or ()]
    for digest in (rows.digest, "another"):
        known = {"data": {"source": "toy", "digest": "d", "splits": {"validation": digest}}}
        for adapter, said in (("krona", labels), ("lora", [1 - labels[0], *labels[1:]])):
            record = make(adapter, config={"data": data}, provenance=known, value=0.5)
            answers = Answers(np.array(rows.idx), np.array(labels, np.float32), np.array(said, np.float32))
            write_answers(write_record(record, tmp_path).parent, {"validation": answers})
        assert compare_main(compare(tmp_path)) == 0
        text = capsys.readouterr().out
        if digest == rows.digest:
            assert f"sentence1: {rows.texts['sentence1'][0]}" in text
            assert f"sentence2: {rows.texts['sentence2'][0]}" in text and "No texts" not in text
        else:
            assert (
                "No texts: the validation rows of generated rows (toy 1) differ from those of the run" in text
            )
