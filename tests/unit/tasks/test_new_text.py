"""New text from files, whole and broken."""

from pathlib import Path

import pytest

from petbench.config.task import Task
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


def read(tmp_path: Path, name: str, content: bytes | str, task: Task = COLA) -> dict[str, list[str]]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_new_text(path, task).texts


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.jsonl", '{"sentence": ""}\n{"sentence": "é\\t\\u2028x"}\n', ["", "é\t\u2028x"]),
        ("a.jsonl", '{"sentence": "\\ud83d\\ude00"}', ["😀"]),  # a whole pair
        ("a.jsonl", '{"sentence": "a\\r\\nb", "n": NaN}\r\n', ["a\r\nb"]),
        ("a.csv", "sentence\n" + "x" * 200_000 + "\n", ["x" * 200_000]),
        ("a.csv", "sentence,n\r\na,1\r\nb,2\r\n", ["a", "b"]),
        ("a.csv", 'n,sentence\n1,"a\nb"\n2,c\n', ["a\nb", "c"]),
        ("a.csv", 'n,sentence\n1,"a\rb"\n', ["a\rb"]),  # inside quotes a carriage return is text
        ("a.csv", "sentence\na\n\nb\n\n", ["a", "", "b", ""]),
        ("a.csv", 'sentence\na\n""\nb', ["a", "", "b"]),
        ("a.tsv", "sentence\na\n\nb\n", ["a", "", "b"]),
        ("a.tsv", "sentence\n\na\n\n\n", ["", "a", "", ""]),
        ("a.tsv", "sentence\r\na\r\n\r\nb\r\n", ["a", "", "b"]),
        ("a.tsv", "sentence\na\nb", ["a", "b"]),
        ("a.tsv", "sentence\n  \n", ["  "]),
        ("a.tsv", "n\tsentence\tn\n1\ta\t2\n1\t\t2\n", ["a", ""]),  # another column is there twice
        ("a.tsv", "sentence\na\u2028b\nc\u0085d\n", ["a\u2028b", "c\u0085d"]),  # no line ends
        ("a.tsv", "\ufeffsentence\n12\n0x1f\nnull\n", ["12", "0x1f", "null"]),
    ],
)
def test_every_line_is_a_row(tmp_path: Path, name: str, content: str, wanted: list[str]) -> None:
    assert read(tmp_path, name, content) == {"sentence": wanted}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"sentence\nx\n", r"a\.txt: ending '\.txt'\. Legal: \.tsv, \.csv, \.jsonl"),
        ("a.tsv", b"text\nx\n", r"line 1: no column 'sentence'; there: text\. cola needs sentence"),
        ("a.tsv", b"Sentence\nx\n", r"line 1: no column 'sentence'; there: Sentence"),
        ("a.tsv", b"sentence\tsentence\nx\ty\n", r"line 1: 2 columns are called 'sentence'"),
        ("a.csv", b"sentence,sentence\nx,y\n", r"line 1: 2 columns are called 'sentence'"),
        ("a.tsv", b"id\tsentence\n1\tx\n2\n", r"line 3: 1 fields, but the header has 2"),
        ("a.csv", b"id,sentence\n1,x,y\n", r"line 2: 3 fields, but the header has 2"),
        ("a.tsv", b"id\tsentence\n1\tx\n\n2\ty\n", r"line 3: empty; a row here has 2 fields"),
        ("a.tsv", b"id\tsentence\n1\tx\n\n", r"line 3: empty"),
        ("a.csv", b"id,sentence\n1,x\n\n2,y\n", r"line 3: empty"),
        ("a.csv", b'id,sentence\n1,"x\ny"\n\n', r"line 4: empty"),
        ("a.jsonl", b'{"sentence": "x"}\n\n{"sentence": "y"}\n', r"line 2: empty"),
        ("a.jsonl", b'{"sentence": "x"}\n \n', r"line 2: empty"),
        ("a.tsv", b"sentence\nfine\n\xff\n", r"line 3: broken UTF-8"),
        ("a.tsv", "sentence\nüber\n".encode("latin-1"), r"line 2: broken UTF-8"),
        ("a.csv", "sentence\nx\n".encode("utf-16"), r"line 1: broken UTF-8 \(it looks like UTF-16\)"),
        ("a.tsv", "sentence\nx\n".encode("utf-16-le"), r"line 1: NUL characters; it looks like UTF-16"),
        ("a.jsonl", b'{"sentence": "\xed\xa0\xbd"}\n', r"line 1: broken UTF-8"),
        ("a.tsv", b"sentence\nok\na\x00b\n", r"line 3: 'sentence' holds a NUL character"),
        ("a.csv", b"sentence\na\x00b\n", r"line 2: 'sentence' holds a NUL character"),
        ("a.jsonl", b'{"sentence": "a\\u0000"}\n', r"line 1: 'sentence' holds a NUL character"),
        (
            "a.jsonl",
            b'{"sentence": "x"}\n{"sentence": "a\\ud83d"}\n',
            r"line 2: .*half of a surrogate pair \(\\ud83d, ",
        ),
        ("a.jsonl", b'{"sentence": "\\ude00b"}\n', r"half of a surrogate pair \(\\ude00, character 1\)"),
        ("a.tsv", b"sentence\na\rb\n", r"line 2: a carriage return inside a row"),
        ("a.tsv", b"sentence\ra\rb\r", r"line 1: a carriage return inside a row"),
        ("a.csv", b"id,sentence\n1,a\n2,b\rc\n", r"line 3: a carriage return outside quotes"),
        ("a.csv", b"sentence\ra\r", r"line 1: a carriage return outside quotes"),
        ("a.tsv", b"sentence\n", r"has no rows"),
        ("a.tsv", b"", r"has no rows"),
        ("a.jsonl", b"", r"has no rows"),
        (
            "a.csv",
            b'sentence\nx\n"open\nand on\n',
            r"the row from line 3 on: unexpected end of data\. Correct the quotes",
        ),
        ("a.csv", b'sentence\n"a"b\n', r"the row from line 2 on: .*Correct the quotes"),
        ("a.jsonl", b'{"sentence": "x"}\n{"sentence": \n', r"line 2: not JSON"),
        ("a.jsonl", b"[" * 100_000, r"line 1: not JSON \(too deep\)"),
        ("a.jsonl", b'["x"]\n', r"line 1: got list, not an object\. Give one object per line"),
        ("a.jsonl", b'{"sentence": null}\n', r"line 1: 'sentence' is null\. Give a text in quotes"),
        ("a.jsonl", b'{"sentence": 12}\n', r"line 1: 'sentence' is 12\."),
        ("a.jsonl", b'{"sentence": ["x"]}\n', r"line 1: 'sentence' is \[\"x\"\]"),
        ("a.jsonl", b'{"text": "x"}\n', r"line 1: no column 'sentence'; there: text"),
        (
            "a.jsonl",
            b'{"sentence": "x", "sentence": "y"}\n',
            r"line 1: not JSON \(the key 'sentence' occurs twice\)",
        ),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, name, content)


def test_both_texts_of_a_pair_are_needed(tmp_path: Path) -> None:
    assert read(tmp_path, "a.tsv", "sentence2\tsentence1\nb\ta\n", RTE) == {
        "sentence1": ["a"],
        "sentence2": ["b"],
    }
    for name, content in {
        "a.tsv": "sentence1\na\n",
        "a.csv": "sentence1,text\na,b\n",
        "a.jsonl": '{"sentence1": "a"}\n',
    }.items():
        with pytest.raises(UserError, match=r"line 1: no column 'sentence2'.*rte needs sentence1, sentence2"):
            read(tmp_path, name, content, RTE)


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_new_text(tmp_path / "none.tsv", COLA)
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        read_new_text(tmp_path / "folder.tsv", COLA)
