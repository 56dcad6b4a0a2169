"""The frozen specs of a run's parts: model, adapter, task, data, protocol, trainer, optimiser, logger."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from petbench.config.task import Task
from petbench.config.values import BelowOne, Frozen, PathText, Seed, WandbName

PositiveInt = Annotated[int, Field(ge=1)]


Fraction = Annotated[float, Field(ge=0, le=1)]


Source = Literal["split", "sample", "order"]  # a source of variance that a run's seed may draw
SOURCES: tuple[Source, ...] = get_args(Source)
USUAL: tuple[Source, ...] = ("order",)  # the default, which records leave out


def _in_order(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Each source once, in a fixed order, so that equal choices give equal runs."""
    return tuple(source for source in SOURCES if source in sources)


Vary = Annotated[
    tuple[Source, ...],
    AfterValidator(_in_order),
    Field(exclude_if=lambda value: value == USUAL),
]


class KnownModel(Frozen):
    """What a model's YAML knows of a hub name, so that planning needs neither network nor weights."""

    name: str
    label: str
    config: dict[str, Any]  # arguments of the architecture's transformers config, including `model_type`
    sha256: str | None = None  # SHA-256 of model.safetensors, for weights that come in a package


class ModelSpec(Frozen):
    """Which backbone: a hub id, a folder, `package:<module>/<folder>`, or a config with random weights."""

    name: PathText
    weights: Literal["pretrained", "random"] = "pretrained"
    revision: str | None = None
    tokenizer: PathText = "same"  # same | built (petbench's own small one) | a hub id or folder
    attn: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    known: KnownModel | None = None
    label: str = ""  # the short name in tables

    @model_validator(mode="before")
    @classmethod
    def _forget_what_is_known_of_another_name(cls, raw: Any) -> Any:
        """Drop `known` when `model.name=X` overrides the name in a YAML for Y: it describes Y, not X."""
        if isinstance(raw, Mapping):
            raw = dict(raw)
            known = raw.get("known")
            if isinstance(known, Mapping) and known.get("name") != raw.get("name"):
                raw["known"] = known = None
            if not raw.get("label"):
                name = str(raw.get("name", ""))
                is_known = isinstance(known, Mapping) and "label" in known
                raw["label"] = known["label"] if is_known else name.rstrip("/").rsplit("/", 1)[-1]
        return raw


# Keys of a method's YAML that are not hyper-parameters: learning rate and search space, paper, group of methods.
ABOUT_THE_METHOD = ("tuning", "citation", "family")


def hyper_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a method's YAML that belong to its spec."""
    return {key: value for key, value in values.items() if key not in ABOUT_THE_METHOD}


class AdapterSpec(Frozen):
    """The fields that all methods' specs share; each method's file subclasses it with its own fields."""

    method: str
    name: str = ""  # the label in tables; empty: the method's name
    layers: Literal["all"] | str | tuple[int, ...] = "all"  # all | last:8 | first:4 | [0, 3, 5]
    train_norms: bool = False  # also train every norm of the encoder and decoder

    @property
    def label(self) -> str:
        """Its name in tables: that of the chosen YAML."""
        return self.name or self.method


class BudgetSpec(Frozen):
    """The number of tuned parameters (without the head) to aim for: the method gets the largest size that is not above
    it."""

    params: PositiveInt | None = None
    percent: Annotated[float, Field(gt=0, le=100)] | None = None  # of the backbone's parameters

    @model_validator(mode="after")
    def _one_of_both(self) -> "BudgetSpec":
        if self.params is not None and self.percent is not None:
            raise ValueError("give params or percent, not both")
        return self


class TaskSpec(Task):
    """A task, the form and wording in which a model gets it, and how much of it is used."""

    form: Literal["auto", "head", "text"] = "auto"  # auto: text if the model family answers in text
    wording: Literal["compacter", "compacter_named", "t5", "words"] = "compacter"  # text form only
    stsb_step: Literal[0.2, 0.1] = 0.2  # type: ignore[valid-type]  # text form only: step of the grid of STS-B's targets
    max_length: PositiveInt = 128  # input tokens, special tokens included
    train_examples: PositiveInt | None = None  # low-resource sample of train: nested, stratified
    sample_seed: Seed = 0  # the seed of the low-resource sample


class DataSpec(Frozen):
    """Where the rows come from: a source of the task's own rows, or `file` or `hub` for the user's own rows."""

    source: Literal["auto", "local", "hub", "toy"] = "auto"
    dir: PathText | None = None
    file: PathText | None = (
        None  # a .csv, .tsv, .jsonl or .parquet, or a folder with train, validation and test
    )
    hub: str | None = None  # a data set of the hub: owner/name or owner/name:config
    text: tuple[str, ...] | None = None  # columns of `file` or `hub`; null: guessed and printed
    label: str | None = None
    kind: Literal["auto", "classes", "number"] = "auto"  # of the label
    allow_partial: bool = False
    max_train_examples: PositiveInt | None = None  # for quick tries: the first rows of a seeded order
    toy_train: Annotated[int, Field(ge=8, le=10**6)] = 512  # rows of generated train splits
    toy_validation: Annotated[int, Field(ge=8, le=10**6)] = 128

    @field_validator("text", mode="before")
    @classmethod
    def _one_or_two_columns(cls, raw: Any) -> Any:
        columns = (raw,) if isinstance(raw, str) else raw
        if isinstance(columns, list | tuple) and (
            len(columns) not in (1, 2) or len(set(columns)) < len(columns)
        ):
            raise ValueError(f"got {list(columns)}. Legal: one column, or two different ones")
        return columns

    @model_validator(mode="after")
    def _one_place(self) -> "DataSpec":
        if self.file is not None and self.hub is not None:
            raise ValueError("got file and hub. Legal: one of the two")
        return self


class ProtocolSpec(Frozen):
    """Which rows choose the checkpoint and which are reported."""

    name: Literal["petbench", "compacter", "glue_dev", "glue_test"] = "petbench"
    split_seed: Seed = 0
    selection_fraction: Annotated[float, Field(gt=0, lt=0.5)] = (
        0.1  # share of train; for `petbench` and `glue_test`
    )
    selection_max: PositiveInt = 1000  # most selection rows


class TrainerSpec(Frozen):
    """How a run trains: its length, batches, evaluation, precision, device and log."""

    epochs: Annotated[float, Field(gt=0)] = 3
    max_steps: PositiveInt | None = None  # overrides epochs
    batch_size: PositiveInt = 32  # examples per optimiser step
    gradient_accumulation: PositiveInt = 1  # micro-batches per step, which share its batch_size examples
    eval_batch_size: PositiveInt = 64
    eval_every: Literal["epoch"] | PositiveInt = "epoch"  # or a number of steps
    select: Literal["best", "last"] = "best"  # which checkpoint is reported
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: bool = False
    bucket: bool = True  # batches of rows of similar length, in a seeded order
    deterministic: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cuda_graph: Literal["auto", "off"] = "off"  # auto: replay steps as CUDA graphs where they give the same
    threads: PositiveInt | None = None  # null: torch's default
    log_every: PositiveInt = 10
    progress: Literal["auto", "off"] = "auto"
    keep_resume_state: bool = False  # keep the optimiser state of a finished run


class OptimSpec(Frozen):
    """AdamW with warm-up and linear decay; `linear_hf` is transformers' form of the decay, for recipes that used it."""

    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    warmup_ratio: Fraction = 0.06  # of all steps, when warmup_steps is null
    schedule: Literal["linear", "linear_hf", "constant"] = "linear"
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8


class EvalSpec(Frozen):
    """How a text-to-text model answers: the likeliest label string (`score`), or free text (`generate`)."""

    decode: Literal["score", "generate"] = "score"


class LoggerSpec(Frozen):
    """Where a run is logged besides `metrics.jsonl` in its folder, which is always written."""

    name: Literal["none", "jsonl", "wandb"] = "jsonl"
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: WandbName = "petbench"
    entity: WandbName | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    artifact: bool = False  # upload the adapter folder
    pictures: bool = False  # draw plots/*.png in the run's folder without W&B too


class TuningNote(Frozen):
    """The role of a run in a tuning sweep, and what choosing its setting cost."""

    role: Literal["trial", "final", "cut"]  # cut: a shortened run of `sweep=choose`
    runs: int | None = None
    steps: int | None = None  # optimiser steps
    seconds: float | None = None
    # Dotted keys of the settings in which the trials differed: the tuning chose these of a final run.
    searched: Annotated[tuple[str, ...] | None, Field(exclude_if=lambda value: value is None)] = None
    # A trial pauses at its first evaluation from this share of its steps on.
    pause: Annotated[Fraction | None, Field(exclude_if=lambda value: value is None)] = None
