"""New text from files, whole and broken."""

from pathlib import Path

import pytest

from petbench.errors import UserError
from petbench.tasks.glue import task_named
from petbench.tasks.rows.new_text import read_new_text

RTE, COLA = task_named("rte"), task_named("cola")


def test_quotes_are_text_in_a_tsv_and_quotes_in_a_csv(tmp_path: Path) -> None:
    tsv, csv = tmp_path / "a.tsv", tmp_path / "a.csv"
    tsv.write_bytes(b'\xef\xbb\xbfid\tsentence\r\n7\tHe said "no.\r\n8\t"Yes", she said\r\n')
    assert read_new_text(tsv, COLA).texts == {"sentence": ['He said "no.', '"Yes", she said']}
    csv.write_text('sentence1,sentence2\n"a, ""b""","two\nlines"\n')
    rows = read_new_text(csv, RTE)
    assert rows.texts == {"sentence1": ['a, "b"'], "sentence2": ["two\nlines"]}
    assert (rows.idx, rows.labels) == ([0], None)


def test_unusual_texts_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"sentence": ""}\n\n{"sentence": "é\\t\\u2028x"}\n', encoding="utf-8")
    assert read_new_text(path, COLA).texts == {"sentence": ["", "é\t\u2028x"]}
    wide = tmp_path / "b.csv"
    wide.write_text("sentence\n" + "x" * 200_000 + "\n")
    assert len(read_new_text(wide, COLA).texts["sentence"][0]) == 200_000
    line = tmp_path / "c.tsv"
    line.write_text("sentence\na\u2028b\nc\n", encoding="utf-8")  # U+2028 is no line end
    assert read_new_text(line, COLA).texts["sentence"] == ["a\u2028b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"sentence\nx\n", r"a\.txt: ending '\.txt'\. Legal: \.tsv, \.csv, \.jsonl"),
        ("a.tsv", b"text\nx\n", r"line 1: no text 'sentence'; there: text\. cola needs sentence"),
        ("a.tsv", b"id\tsentence\n1\tx\n2\n", r"line 3: 1 fields, the header has 2"),
        ("a.tsv", b"sentence\nfine\n\xff\n", r"line 3: broken UTF-8"),
        ("a.tsv", b"sentence\n", r"has no rows"),
        ("a.tsv", b"", r"no text 'sentence'; there: nothing"),
        ("a.csv", b'sentence\n"open\n', r"Mend the quotes"),
        ("a.jsonl", b'{"sentence": "x"}\n{"sentence": \n', r"line 2: no JSON"),
        ("a.jsonl", b'["x"]\n', r"line 1: got list\. Give an object a line"),
        ("a.jsonl", b'{"sentence": null}\n', r"line 1: no text 'sentence'"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_new_text(path, COLA)
    with pytest.raises(UserError, match="No such file"):
        read_new_text(tmp_path / "none.tsv", COLA)
