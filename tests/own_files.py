"""Four small files of one's own, made for the tests: CSV with quotes and commas, JSONL pairs, TSV 0 to 100, Parquet."""

import csv
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from petbench.tasks.toy import AGENTS, BAD, GOOD, OTHERS, THINGS, VERBS

QUEUES = {"billing": OTHERS[:3], "repair": THINGS[:3], "refund, other": AGENTS[:3]}


def tickets(path: Path, rows: int = 120, seed: int = 0) -> Path:
    """Three classes in `queue`, two texts with quotes, commas and a line end, and a column that numbers rows."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "body", "queue"])
        for number in range(rows):
            queue = rng.choice(list(QUEUES))
            word, other = rng.choice(QUEUES[queue]), rng.choice(QUEUES[queue])
            title = f'the "{word}" , {rng.choice(GOOD)} {number % 7}'
            body = f"the {other} {rng.choice(VERBS)}, the {word} and the {rng.choice(WORDS)}\nat {number}"
            writer.writerow([number, title, body, queue])
    return path


WORDS = (*GOOD, *BAD)


def pairs(path: Path, rows: int = 80, seed: int = 0) -> Path:
    """Pairs as JSON lines: the answer fits its question, or speaks of other things."""
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            fits = rng.random() < 0.5
            agent, thing = rng.choice(AGENTS), rng.choice(THINGS)
            answer = (
                f"the {agent} {rng.choice(VERBS)} the {thing} ."
                if fits
                else f"the {rng.choice(OTHERS)} {number}"
            )
            row = {
                "question": f"where is the {agent} ?",
                "answer": answer,
                "label": "fits" if fits else "not",
            }
            file.write(json.dumps(row) + "\n")
    return path


def quality(path: Path, rows: int = 100, seed: int = 0) -> Path:
    """A number from 0 to 100: the share of good words."""
    rng = random.Random(seed)
    lines = ["text\tscore"]
    for number in range(rows):
        good = rng.randrange(6)
        words = [*rng.sample(GOOD, good), *rng.sample(BAD, 5 - good)]
        rng.shuffle(words)
        lines.append(f"{' '.join(words)} {number}\t{good * 20 + (0.5 if 0 < good < 5 else 0)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def stars(path: Path, rows: int = 90, seed: int = 0) -> Path:
    """Whole numbers 1, 2, 3 as labels in a Parquet file."""
    rng = random.Random(seed)
    labels = [rng.randrange(1, 4) for _ in range(rows)]
    words = {1: BAD[:3], 2: THINGS[:3], 3: GOOD[:3]}
    texts = [f"{rng.choice(words[label])} film {number}" for number, label in enumerate(labels)]
    pq.write_table(pa.table({"review": texts, "stars": pa.array(labels, pa.int64())}), path)
    return path
