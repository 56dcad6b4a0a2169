"""Rows from folders: parquet and TSV are one, and broken rows are told with file and line."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from made_glue import REAL_GLUE, RTE, write_lines, write_parquet
from petbench.config.sections import DataSpec
from petbench.errors import UserError
from petbench.tasks.glue import task_named
from petbench.tasks.rows.load import companion_splits, load_splits

WORDS = ("entailment", "not_entailment")


def rte_lines(rows=RTE, words=True):
    header = "index\tsentence1\tsentence2\tlabel"
    labels = [WORDS[label] if words else str(label) for label in rows["label"]]
    body = zip(rows["sentence1"], rows["sentence2"], labels, strict=True)
    return [header, *(f"{i}\t{a}\t{b}\t{c}" for i, (a, b, c) in enumerate(body))]


def load(folder, task="rte", allow_partial=True, **more):
    return load_splits(task_named(task), DataSpec(dir=str(folder), allow_partial=allow_partial, **more))


def test_parquet_and_tsv_of_equal_rows_are_equal(tmp_path):
    write_parquet(tmp_path / "a" / "rte", "train", RTE)
    write_lines(tmp_path / "b" / "RTE" / "train.tsv", rte_lines())
    one, two = load(tmp_path / "a"), load(tmp_path / "b")
    assert one.parts["train"] == two.parts["train"]
    assert one.digest == two.digest and len(one.digest) == 64
    assert one.source == "local" and one.partial == ("train",)


def test_digest_changes_with_a_label_a_text_or_a_split(tmp_path):
    digests = set()
    changes = [{}, {"label": [0, 1, 1]}, {"sentence2": ["He refused.", "Animals run", "It was dry."]}]
    for i, change in enumerate(changes):
        write_parquet(tmp_path / str(i) / "rte", "train", RTE | change)
        digests.add(load(tmp_path / str(i)).digest)
    write_parquet(tmp_path / "0" / "rte", "validation", RTE)
    digests.add(load(tmp_path / "0").digest)
    assert len(digests) == 4


def test_a_quote_in_a_tsv_is_text(tmp_path):
    write_lines(tmp_path / "RTE" / "dev.tsv", rte_lines())
    assert load(tmp_path).part("validation").texts["sentence1"][0] == 'He said "no" twice.'


def test_stsb_scores_are_equal_from_text_and_float32(tmp_path):
    rows = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [3.8, 0.75]}
    write_parquet(tmp_path / "a" / "stsb", "train", rows, pa.float32())
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    lines = [header, "0\tg\tf\ty\t1\ts\ts\ta\tc\t3.800", "1\tg\tf\ty\t2\ts\ts\tb\td\t0.750"]
    write_lines(tmp_path / "b" / "STS-B" / "train.tsv", lines)
    one, two = load(tmp_path / "a", "stsb"), load(tmp_path / "b", "stsb")
    assert one.digest == two.digest
    assert two.part("train").labels == [float(np.float32(3.8)), 0.75]


def test_cola_has_no_header_but_in_test(tmp_path):
    write_lines(tmp_path / "CoLA" / "train.tsv", ["gj04\t1\t\tThe dog ran.", "gj04\t0\t*\tDog the ran."])
    write_lines(tmp_path / "CoLA" / "test.tsv", ["index\tsentence", "0\tCats run."])
    splits = load(tmp_path, "cola")
    assert splits.part("train").labels == [1, 0]
    assert splits.part("train").idx == [0, 1]
    assert splits.part("test").texts == {"sentence": ["Cats run."]}
    assert splits.part("test").labels is None


def test_mrpc_pieces_are_told_apart_by_dev_ids(tmp_path):
    folder = tmp_path / "MRPC"
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    write_lines(
        folder / "msr_paraphrase_train.txt",
        [header, "1\t10\t11\ta\tb", '0\t12\t13\tc "\td', "1\t14\t15\te\tf"],
    )
    write_lines(folder / "msr_paraphrase_test.txt", [header, "1\t20\t21\tg\th"])
    write_lines(folder / "dev_ids.tsv", ["12\t13"])
    splits = load(tmp_path, "mrpc")
    assert splits.part("train").idx == [0, 2]
    assert splits.part("validation").idx == [1]
    assert splits.part("validation").texts["sentence1"] == ['c "']
    assert splits.part("test").labels is None  # the file has them; GLUE's test labels are never used


def test_mnli_and_ax_official_files(tmp_path):
    header = "index\tsentence1\tsentence2\tlabel1\tgold_label"
    write_lines(tmp_path / "MNLI" / "dev_mismatched.tsv", [header, "0\tP\tH\tneutral\tcontradiction"])
    write_lines(tmp_path / "diagnostic" / "diagnostic.tsv", ["index\tsentence1\tsentence2", "0\tP\tH"])
    assert load(tmp_path, "mnli").part("validation_mismatched").labels == [2]
    assert load(tmp_path, "ax").part("test").texts == {"premise": ["P"], "hypothesis": ["H"]}
    spec = DataSpec(dir=str(tmp_path), allow_partial=True)
    assert (
        list(companion_splits(task_named("mnli"), spec)) == ["ax"]
        and companion_splits(task_named("rte"), spec) == {}
    )


def test_qqp_leaves_out_cut_off_lines_as_the_hub_does(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    write_lines(
        tmp_path / "QQP" / "train.tsv", [header, "1\t2\t3\ta\tb\t1", "4\t5\t6\ta", "7\t8\t9\tc\td\t0"]
    )
    train = load(tmp_path, "qqp").part("train")
    assert train.labels == [1, 0] and train.idx == [0, 2]


@pytest.mark.parametrize(
    "label,message",
    [
        (
            float("nan"),
            r"row 1: label nan of rte is not legal. Legal: 0 \(entailment\), 1 \(not_entailment\)",
        ),
        (7.0, "row 1: label 7.0 of rte is not legal"),
        (0.5, "row 1: label 0.5 of rte is not legal"),
        (-1.0, "row 1: label -1.0 of rte is not legal"),
        (None, "row 1: label None of rte is not legal"),
    ],
)
def test_bad_labels(tmp_path, label, message):
    write_parquet(tmp_path / "rte", "train", RTE | {"label": [0.0, label, 1.0]}, pa.float64())
    with pytest.raises(UserError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("score", ["nan", "5.2", "-0.1", ""])
def test_bad_scores(tmp_path, score):
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    write_lines(tmp_path / "STS-B" / "dev.tsv", [header, f"0\tg\tf\ty\t1\ts\ts\ta\tc\t{score}"])
    with pytest.raises(UserError, match=r"dev.tsv, line 2: label '.*' is not a number from 0 to 5"):
        load(tmp_path, "stsb")


def test_an_unknown_label_word_names_the_line(tmp_path):
    lines = rte_lines()
    lines[2] = lines[2].replace("\tentailment", "\tmaybe")
    write_lines(tmp_path / "RTE" / "train.tsv", lines)
    with pytest.raises(UserError, match=r"train.tsv, line 3: label 'maybe' of rte"):
        load(tmp_path)


def test_an_empty_text_is_kept_and_told(tmp_path):
    write_parquet(tmp_path / "rte", "train", RTE | {"sentence2": ["x", "", "y"]})
    splits = load(tmp_path)
    assert len(splits.part("train")) == 3
    assert splits.warnings == ("train: 1 of 3 rows have an empty sentence2",)


def test_a_missing_text_is_an_error(tmp_path):
    write_parquet(tmp_path / "rte", "train", RTE | {"sentence2": ["x", None, "y"]})
    with pytest.raises(UserError, match=r"train.parquet, row 1: sentence2 is missing \(got None\)"):
        load(tmp_path)


def test_a_very_long_line_is_whole(tmp_path):
    lines = rte_lines()
    lines.append("3\t" + "word " * 20_000 + "\tshort\tentailment")
    write_lines(tmp_path / "RTE" / "train.tsv", lines)
    assert len(load(tmp_path).part("train").texts["sentence1"][3]) == 100_000


def test_broken_utf8_names_file_and_line(tmp_path):
    path = write_lines(tmp_path / "RTE" / "train.tsv", rte_lines())
    path.write_bytes(path.read_bytes().replace(b"dogs", b"d\xffgs"))
    with pytest.raises(UserError, match=r"train.tsv, line 3: broken UTF-8 at byte 7"):
        load(tmp_path)


def test_broken_utf8_in_parquet_names_file_and_row(tmp_path):
    folder = tmp_path / "rte"
    folder.mkdir()
    bad = pa.array([b"fine", b"\xff"], pa.binary()).view(pa.string())
    good = pa.array(["a", "b"])
    table = pa.table(
        {"sentence1": good, "sentence2": bad, "label": pa.array([0, 1]), "idx": pa.array([0, 1])}
    )
    pq.write_table(table, folder / "train.parquet")
    with pytest.raises(UserError, match=r"train.parquet, row 1: broken UTF-8 in sentence2"):
        load(tmp_path)


def test_a_line_with_another_number_of_fields_names_file_and_line(tmp_path):
    lines = rte_lines()
    lines[3] = "2\tIt rained."
    write_lines(tmp_path / "RTE" / "train.tsv", lines)
    with pytest.raises(UserError, match=r"train.tsv, line 4: 2 tab-separated fields, expected 4"):
        load(tmp_path)


def test_a_missing_column_is_named(tmp_path):
    write_lines(tmp_path / "RTE" / "train.tsv", ["index\tsentence1\tlabel", "0\ta\tentailment"])
    with pytest.raises(
        UserError, match=r"no column 'sentence2' for rte; columns there: index, sentence1, label"
    ):
        load(tmp_path)


def test_an_empty_split_is_an_error(tmp_path):
    write_lines(tmp_path / "RTE" / "train.tsv", rte_lines()[:1])
    with pytest.raises(UserError, match="the rte train split has no rows"):
        load(tmp_path)


def test_a_broken_parquet_file_is_one_message(tmp_path):
    (tmp_path / "rte").mkdir()
    (tmp_path / "rte" / "train.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"cannot read .*train.parquet"):
        load(tmp_path)


def test_a_short_split_is_refused_unless_allowed(tmp_path):
    write_parquet(tmp_path / "rte", "train", RTE)
    with pytest.raises(
        UserError, match=r"rte train has 3 rows, officially 2490.*\S* data.allow_partial=true"
    ):
        load(tmp_path, allow_partial=False)


def test_a_folder_without_the_task(tmp_path):
    write_parquet(tmp_path / "rte", "train", RTE)
    with pytest.raises(UserError, match=r"holds no folder for task=cola; there: rte"):
        load(tmp_path, "cola")
    with pytest.raises(UserError, match="is not a folder"):
        load(tmp_path / "nothing")


def test_a_missing_split_says_which_and_where_it_was_sought(tmp_path):
    write_parquet(tmp_path / "qnli", "validation", {"question": ["q"], "sentence": ["s"], "label": [0]})
    with pytest.raises(UserError, match=r"qnli: there is no 'train' split in .*train.parquet or train.tsv"):
        load(tmp_path, "qnli").part("train")


def test_local_without_a_folder(monkeypatch):
    monkeypatch.delenv("PETBENCH_GLUE", raising=False)
    with pytest.raises(UserError, match=r"give data.dir=DIR or set PETBENCH_GLUE"):
        load_splits(task_named("rte"), DataSpec(source="local"))


def test_auto_reads_the_environment(tmp_path, monkeypatch):
    write_parquet(tmp_path / "rte", "train", RTE)
    monkeypatch.setenv("PETBENCH_GLUE", str(tmp_path))
    assert load_splits(task_named("rte"), DataSpec(allow_partial=True)).location == str(tmp_path / "rte")


@pytest.mark.skipif(not REAL_GLUE.is_dir(), reason="no real GLUE beside the repository")
def test_real_glue_is_whole():
    splits = load_splits(task_named("rte"), DataSpec(dir=str(REAL_GLUE)))
    assert {name: len(split) for name, split in splits.parts.items()} == {
        "train": 2490,
        "validation": 277,
        "test": 3000,
    }
    assert splits.partial == () and splits.warnings == ()
