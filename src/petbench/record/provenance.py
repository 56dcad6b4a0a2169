"""Provenance: code, versions, machine, data and weights of a run, so that its score can be judged and reproduced."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from petbench.config.sections import TuningNote
from petbench.record.parts import Count, Part, Share


class GitState(Part):
    """The git state of the petbench checkout that ran."""

    commit: str
    dirty: bool  # whether `src` or `conf` had uncommitted changes


class DataFacts(Part):
    """Which rows the run read."""

    source: str = ""  # local, hub or toy; `made` in records that scripts/make_records.py wrote
    location: str = ""
    digest: str = ""  # of all official splits that were read, together
    splits: dict[str, str] = Field(default_factory=dict)  # split -> its digest
    partial: tuple[str, ...] = ()  # splits whose number of rows differs from the official one
    majority: dict[str, Share] = Field(
        default_factory=dict
    )  # report split -> the share of its most frequent label


class BackboneFacts(Part):
    """Which weights were loaded."""

    source: str = ""
    digest: str = ""
    head: str | None = None  # new, kept or reordered; null without a head (text form) and in older records


class ContentFacts(Part):
    """What goes into the run's id besides the config: digests (SHA-256), and the precision that was used."""

    rows: str
    weights: str
    config: str  # of the backbone
    tokenizer: str
    precision: str
    start: str | None = None  # the adapter that `init_from` names
    # The task's definition; None for GLUE's tasks, which their names identify.
    task: str | None = Field(default=None, exclude_if=lambda value: value is None)


class Provenance(Part):
    """Where the numbers of a run come from. In the record of an unfinished run, some of it is missing."""

    git: GitState | None = None  # null when petbench ran from a wheel
    versions: dict[str, str] = Field(default_factory=dict)  # package -> version
    device: str = ""  # its name, such as `NVIDIA A100`
    threads: Count | None = None
    processes: Count | None = None
    precision: str = ""  # the one that was used; never `auto`
    tf32: bool | None = None
    data: DataFacts = DataFacts()
    model: BackboneFacts = BackboneFacts()
    content: ContentFacts | None = None
    draws: dict[str, int] = Field(
        default_factory=dict
    )  # the seeds that `vary` drew: source of randomness -> seed
    tuning: TuningNote | None = None
    marks: tuple[str, ...] = ()  # what a table must say about this run, such as that its data are partial
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rows: dict[str, Count] = Field(default_factory=dict)  # part -> number of rows
    cut_rows: dict[str, Count] = Field(
        default_factory=dict
    )  # part -> number of rows that were cut to `task.max_length`

    @field_validator("git", mode="before")
    @classmethod
    def _no_checkout(cls, value: Any) -> Any:
        """Older records hold an empty mapping when petbench ran from a wheel."""
        return value or None

    @field_validator("device", mode="before")
    @classmethod
    def _name_of_a_device(cls, value: Any) -> Any:
        """Older records may hold a mapping with the device's name and type."""
        return value.get("name") or value.get("type") if isinstance(value, Mapping) else value
