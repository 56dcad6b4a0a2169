"""The record of a run: its parts, the provenance of its numbers, the files that hold it, and the answers by row."""

from petbench.record.answers import ANSWERS_FILE, Answers, read_answers, write_answers
from petbench.record.files import (
    RECORD_FILE,
    RESUME_FILE,
    read_record,
    read_records,
    run_folder,
    write_record,
)
from petbench.record.parts import Best, Cost, Headline, Merge, Metrics, Params, Point, WandbRun
from petbench.record.provenance import BackboneFacts, ContentFacts, DataFacts, GitState, Provenance
from petbench.record.record import Record, Status

__all__ = [
    "ANSWERS_FILE",
    "RECORD_FILE",
    "RESUME_FILE",
    "Answers",
    "BackboneFacts",
    "Best",
    "ContentFacts",
    "Cost",
    "DataFacts",
    "GitState",
    "Headline",
    "Merge",
    "Metrics",
    "Params",
    "Point",
    "Provenance",
    "Record",
    "Status",
    "WandbRun",
    "read_answers",
    "read_record",
    "read_records",
    "run_folder",
    "write_answers",
    "write_record",
]  # fmt: skip
