"""The backbone and its head, from any source or from a config alone; and the same on the meta device."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from petbench.config.sections import ModelSpec
from petbench.config.task import Task
from petbench.errors import UserError
from petbench.models.agreement import Head, HeadLabels, agree
from petbench.models.checks import check_padding, check_tokenizer, positions_of, refuse_pickles
from petbench.models.content import BACKBONE_SEED, check_weights, weights_digest
from petbench.models.families import family_of, layout_of
from petbench.models.sites import Layout
from petbench.models.source import (
    Source,
    cannot_load,
    config_of,
    find_source,
    first_line,
    local_folder,
    quiet,
)
from petbench.models.special_ids import adopt, complete, settle
from petbench.models.tokenizer import load_tokenizer

if TYPE_CHECKING:  # transformers takes seconds, and no mistake should wait for it
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Form = Literal["head", "text"]


@dataclass(frozen=True)
class Backbone:
    """A loaded model in float32 on the CPU, in evaluation mode.

    new_modules: modules outside the head whose weights the checkpoint did not hold: they must train.
    fresh: parameter names that were drawn from the run's seed (the head's and those of new_modules).
    head: what became of the task head; None in text form. notes: one line each on what is not as the files say.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    layout: Layout
    form: Form
    source: str  # such as `hub roberta-base`, `folder DIR`, `random tiny_bert`
    digest: str  # sha256 of the weights, or `random:<seed>`
    new_modules: tuple[str, ...]
    fresh: tuple[str, ...]
    head: Head | None = None
    notes: tuple[str, ...] = ()


def resolve_form(spec: ModelSpec, task_form: Literal["auto", "head", "text"]) -> Form:
    """The form of the task; auto: text where the family can answer in text, head elsewhere. Raises UserError for text
    elsewhere, and for an unknown family."""
    config = config_of(spec)
    writes = config.is_encoder_decoder and family_of(config.model_type).text
    if task_form == "auto":
        return "text" if writes else "head"
    if task_form == "text" and not writes:
        why = (
            "whose label strings cannot be scored"
            if config.is_encoder_decoder
            else "which is not an encoder-decoder"
        )
        raise UserError(
            f"task.form: got 'text' for a {config.model_type} model, {why}. "
            "Legal here: auto, head; or choose a model such as model=t5_base."
        )
    return task_form


def skeleton(
    spec: ModelSpec, form: Form, num_labels: int, regression: bool
) -> tuple["PreTrainedModel", Layout]:
    """The model on the meta device and its layout: shapes and counts without weights.

    Raises UserError when the config builds no model, or one that its family's entry does not describe.
    """
    config = config_of(spec)
    _adapt(config, form, num_labels, regression)
    with torch.device("meta"):
        model = _from_config(config, form, spec)
    empty = [name for name, part in model.named_modules() if getattr(part, "num_embeddings", 1) < 1]
    if empty:
        raise UserError(
            f"model.name: the config of '{spec.name}' gives {empty[0]} no rows. Legal: 1 or more of each size."
        )
    return model, layout_of(model)


def load(
    spec: ModelSpec, form: Form, num_labels: int, regression: bool, seed: int, task: Task | None = None
) -> Backbone:
    """The model with weights, its tokenizer and layout. The head is drawn from `seed`, whatever was
    drawn before; the global generator is left as it was.

    task: whose labels a head of the checkpoint must carry to be kept; without it the head is always new.
    Raises UserError when the source is missing, out of reach, corrupted or of an unknown family, and when
    weights, config and tokenizer do not fit each other.
    """
    random = spec.weights == "random"
    config = config_of(spec, from_weights=not random)
    made_of = _short_digest(config.to_dict())  # before the task's values are added
    labels = HeadLabels.of(config)
    tokenizer = load_tokenizer(spec, config)
    check_tokenizer(spec, tokenizer, config, form)
    pad_before = getattr(config, "pad_token_id", None)
    adopt(config, tokenizer, replace=spec.tokenizer == "built")
    _adapt(config, form, num_labels, regression, task)
    if random:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(BACKBONE_SEED)
            model = _from_config(config, form, spec)
        layout = layout_of(model)
        new_modules: tuple[str, ...] = ()
        fresh = tuple(name for name, _ in model.named_parameters() if _inside(name, layout.head_modules))
        head: Head | None = "new" if layout.head_modules else None
        notes: tuple[str, ...] = ()
        origin, digest = f"random {spec.name}", f"random:{BACKBONE_SEED}:{made_of}"
    else:
        source = find_source(spec.name, spec.revision)
        check_weights(spec, source)
        if source.offline:  # else the hub may have more than the cache
            refuse_pickles(spec.name, local_folder(source))
        model, loaded = _from_pretrained(config, form, spec, source)
        layout = layout_of(model)
        found = agree(spec.name, model, layout, loaded, labels, task)
        fresh, new_modules, head, notes = found.fresh, found.new_modules, found.head, found.notes
        origin, digest = f"{source.kind} {spec.name}", weights_digest(source)
    check_padding(spec, positions_of(model), pad_before, tokenizer)
    notes += settle(model, tokenizer, pad_before if spec.tokenizer != "built" else None)
    draw(model, fresh, seed)
    return Backbone(model.eval(), tokenizer, layout, form, origin, digest, new_modules, fresh, head, notes)


def _short_digest(values: dict[str, Any]) -> str:
    """12 hex digits of SHA-256 over a config, which with the seed identifies a model with random weights."""
    own = {k: v for k, v in values.items() if k not in ("transformers_version", "_name_or_path")}
    return hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()[:12]


def draw(model: "PreTrainedModel", fresh: Iterable[str], seed: int) -> None:
    """Initialise these parameters as the architecture does, from `seed` alone; leave all others."""
    names = set(fresh)
    if not names:
        return
    # transformers initialises every tensor without this mark, by the architecture's own rules.
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        tensor._is_hf_initialized = name not in names  # type: ignore[attr-defined]
    for module in model.modules():
        module._is_hf_initialized = False  # type: ignore[assignment]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model.initialize_weights()


def _adapt(
    config: "PreTrainedConfig", form: Form, num_labels: int, regression: bool, task: Task | None = None
) -> None:
    """Set in the config what the task decides, and the ids without which a head or a decoder fails."""
    if form == "head":
        config.num_labels = num_labels
        config.problem_type = "regression" if regression else "single_label_classification"
        config.use_cache = False  # nothing is generated
        if task is not None:  # so that a merged checkpoint says what its head answers
            config.finetuning_task = task.name
            if task.labels:
                config.id2label = dict(enumerate(task.labels))
                config.label2id = {label: number for number, label in enumerate(task.labels)}
    complete(config)


def _auto_class(form: Form) -> Any:
    from transformers import (  # transformers takes seconds
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
    )

    return AutoModelForSeq2SeqLM if form == "text" else AutoModelForSequenceClassification


def _arguments(spec: ModelSpec) -> dict[str, Any]:
    # Without dtype, a checkpoint in bfloat16 would give bfloat16 weights.
    chosen = {} if spec.attn == "auto" else {"attn_implementation": spec.attn}
    return {"dtype": torch.float32, **chosen}


def _from_config(config: "PreTrainedConfig", form: Form, spec: ModelSpec) -> "PreTrainedModel":
    try:
        with quiet():
            model = _auto_class(form).from_config(config, trust_remote_code=False, **_arguments(spec))
    except Exception as error:  # transformers builds from wrong values with all kinds of exceptions
        raise _wrong_attention(spec, error) or UserError(
            f"model.name: cannot build '{spec.name}': {first_line(error)}"
        ) from error
    if form == "text" and not getattr(config, "scale_decoder_outputs", True):
        _untie(model)
    return model


def _wrong_attention(spec: ModelSpec, error: Exception) -> UserError | None:
    """The error for an attention function that this model or machine lacks; None where the cause is another."""
    if spec.attn == "auto" or "attention" not in str(error).lower():
        return None
    return UserError(
        f"model.attn: got '{spec.attn}', which '{spec.name}' cannot run with here "
        f"({first_line(error).partition('. ')[0]}). Use model.attn=auto or eager."
    )


def _untie(model: "PreTrainedModel") -> None:
    """Give T5 v1.1 its own output matrix; transformers 5 ties it unless a checkpoint holds two."""
    tied = getattr(model, "all_tied_weights_keys", {})
    tied.pop("lm_head.weight", None)
    head = model.get_output_embeddings()
    head.weight = nn.Parameter(torch.empty_like(head.weight))
    if not head.weight.is_meta:
        torch.nn.init.normal_(head.weight, std=model.config.hidden_size**-0.5)


def _from_pretrained(
    config: "PreTrainedConfig", form: Form, spec: ModelSpec, source: Source
) -> tuple["PreTrainedModel", dict[str, Any]]:
    """The model, and the lists of tensors that its checkpoint lacks, has in another size or has in excess."""
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            model, loaded = _auto_class(form).from_pretrained(
                source.where,
                config=config,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # `agree` judges them
                use_safetensors=True,  # a pickle may run code
                **source.arguments,
                **_arguments(spec),
            )
    except Exception as error:  # as above; safetensors has its own
        raise _wrong_attention(spec, error) or cannot_load(spec.name, source, error) from error
    return model, loaded


def _inside(name: str, modules: Iterable[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)
