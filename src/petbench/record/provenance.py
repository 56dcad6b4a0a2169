"""Provenance: what a run was made from and on, so that its number can be judged and made again."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from petbench.config.sections import TuningNote
from petbench.record.parts import Count, Part, Share


class GitState(Part):
    """petbench's own checkout."""

    commit: str
    dirty: bool  # whether `src` or `conf` held changes that no commit has


class DataFacts(Part):
    """Which rows."""

    source: str = ""  # local, hub, toy; `made` for records of scripts/make_records.py
    location: str = ""
    digest: str = ""  # of all official splits that were read
    splits: dict[str, str] = Field(default_factory=dict)  # split -> its digest
    partial: tuple[str, ...] = ()  # splits with another number of rows than the official ones
    majority: dict[str, Share] = Field(
        default_factory=dict
    )  # report split -> the share of its most frequent label


class BackboneFacts(Part):
    """Which weights were loaded."""

    source: str = ""
    digest: str = ""
    head: str | None = None  # new, kept or reordered; null in text form and in older records


class ContentFacts(Part):
    """What the run's id is a hash of besides the config: digests, and the precision that was used."""

    rows: str
    weights: str
    config: str  # the backbone's
    tokenizer: str
    precision: str
    start: str | None = None  # of the adapter that `init_from` names
    # Of the task's definition; of GLUE's tasks the name says it.
    task: str | None = Field(default=None, exclude_if=lambda value: value is None)


class Provenance(Part):
    """Where the numbers of a run come from. A run that did not finish knows only a part of it."""

    git: GitState | None = None  # null when petbench ran from a wheel
    versions: dict[str, str] = Field(default_factory=dict)  # package -> version
    device: str = ""  # as a person would name it
    threads: Count | None = None
    processes: Count | None = None
    precision: str = ""  # the one that was used, never `auto`
    tf32: bool | None = None
    data: DataFacts = DataFacts()
    model: BackboneFacts = BackboneFacts()
    content: ContentFacts | None = None
    draws: dict[str, int] = Field(default_factory=dict)  # what `vary` drew: source -> seed
    tuning: TuningNote | None = None
    marks: tuple[str, ...] = ()  # what a table must say of this run, such as partial data
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rows: dict[str, Count] = Field(default_factory=dict)  # part -> rows
    cut_rows: dict[str, Count] = Field(
        default_factory=dict
    )  # part -> rows that were longer than `task.max_length`

    @field_validator("git", mode="before")
    @classmethod
    def _no_checkout(cls, value: Any) -> Any:
        """Older records of a wheel hold an empty mapping."""
        return value or None

    @field_validator("device", mode="before")
    @classmethod
    def _name_of_a_device(cls, value: Any) -> Any:
        """Older records may hold name and type."""
        return value.get("name") or value.get("type") if isinstance(value, Mapping) else value
