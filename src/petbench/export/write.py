"""Export: a tuned model as files that do not need petbench: a PEFT adapter, or a plain Hugging Face checkpoint."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from petbench.adapters.peft.method import no_keys_in
from petbench.adapters.peft_form import PeftForm, Ranks
from petbench.errors import RunError, UserError
from petbench.models.made_up import made_up
from petbench.tuned.attach import Tuned
from petbench.tuned.published import public_name

# Logits before and after may differ by rounding, because sums are taken in another order.
TOLERANCE = 1e-4


def export_peft(
    tuned: Tuned,
    folder: Path | str,
    max_rank: int = 16,
    approximate: int | None = None,
    base_model: str | None = None,
) -> str:
    """Write a PEFT adapter, head and trained norms included; returns one line on what was written.

    max_rank: the highest rank of an exact LoRA in place of KronA. approximate: allow the nearest LoRA of that rank
    where nothing is exact. base_model: what the adapter's config names as its backbone (default: the model's own
    name). Stock PEFT loads the folder onto the same backbone, and gives the same logits.
    Raises UserError where PEFT has no equal form, RunError if the logits differ all the same.
    """
    folder = fresh(folder)
    if tuned.other_names:
        raise UserError(
            f"{tuned.method.name} trains weights of the backbone itself, which no PEFT adapter holds. "
            "Use `petbench merge` for a plain checkpoint."
        )
    ranks = Ranks(max_rank, approximate)
    form = tuned.method.peft_form(tuned.spec, tuned.layout, tuned.installed, ranks)
    wrapped = _peft_model(tuned, form)
    before = _logits(tuned.model)
    gap = float((_logits(wrapped) - before).abs().max())
    if form.relative_error < 1e-5 and not _within(gap, before):
        raise RunError(f"the exported adapter's logits differ by {gap:.1e}: nothing was written.")
    if base_model is not None:
        wrapped.peft_config["default"].base_model_name_or_path = base_model
    with warnings.catch_warnings(), _safetensors_errors_as_os_errors():
        warnings.simplefilter("ignore")
        wrapped.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's card holds nothing but blanks
    return f"{form.note or form.peft_type}; logits on a test input differ by {gap:.1e}"


def merge_to_folder(tuned: Tuned, tokenizer: Any, folder: Path | str) -> str:
    """Write a plain checkpoint with the adapters merged, loadable by transformers alone; returns one line on it.

    The tuned model itself is left as it was. Raises UserError where the method does not merge, RunError if the logits
    differ by more than rounding.
    """
    from transformers.utils import logging  # transformers takes seconds

    folder = fresh(folder)
    before = _logits(tuned.model)
    if not tuned.method.mergeable(tuned.spec, tuned.layout):
        tuned.merge()  # raises with the reason
    plain: Any = tuned.installed.plain(folded=True)
    gap = float((_logits(plain) - before).abs().max())
    if not _within(gap, before):
        raise RunError(f"the merged model's logits differ by {gap:.1e}: nothing was written.")
    logging.disable_progress_bar()
    plain.config._name_or_path = public_name(str(plain.config._name_or_path))
    with _safetensors_errors_as_os_errors():
        plain.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return f"plain {type(plain).__name__}; logits on a test input differ by {gap:.1e}"


def _within(gap: float, logits: Tensor) -> bool:
    """Whether a difference is one of rounding; NaN is not."""
    return gap <= TOLERANCE * max(1.0, float(logits.abs().max()))


@contextmanager
def _safetensors_errors_as_os_errors() -> Iterator[None]:
    """Turn safetensors' error for a failed write into an OSError."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error


def fresh(folder: Path | str) -> Path:
    """The path of a folder to write. Raises UserError when something is there already."""
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"--out: {path} is there already and is not empty. Name a new folder.")
    return path


def _peft_model(tuned: Tuned, form: PeftForm) -> Any:
    """The form on a plain copy of the backbone; the head and trained norms are saved whole beside it."""
    # peft takes seconds
    from peft import get_peft_model
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    base: Any = tuned.installed.plain()
    beside = set(tuned.layout.head_modules)
    beside |= {_inside_peft(n).rpartition(".")[0] for n in tuned.head_names if not _in_head(n, tuned)}
    if not form.norms_in_form:
        beside |= {_inside_peft(name).rpartition(".")[0] for name in tuned.norm_names}
    config_class: Any = {kind.value: c for kind, c in PEFT_TYPE_TO_CONFIG_MAPPING.items()}[form.peft_type]
    config = config_class(
        **form.arguments, task_type=_task_type(tuned), modules_to_save=sorted(beside) or None
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = get_peft_model(base, config)
    own = dict(wrapped.named_parameters())
    learned = [own[name] for name in form.values]
    if form.peft_type == "PREFIX_TUNING" and (trouble := no_keys_in(wrapped, learned)):
        raise UserError(f"{tuned.method.name} cannot be exported: {trouble}.")
    with torch.no_grad():
        for name, value in form.values.items():
            own[name].copy_(value)
    return wrapped.eval()


def _inside_peft(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def _in_head(name: str, tuned: Tuned) -> bool:
    return any(_inside_peft(name).startswith(f"{module}.") for module in tuned.layout.head_modules)


def _task_type(tuned: Tuned) -> str:
    if tuned.layout.head_modules:
        return "SEQ_CLS"
    return "SEQ_2_SEQ_LM" if tuned.layout.encoder_decoder else "CAUSAL_LM"


@torch.no_grad()
def _logits(model: Any) -> Tensor:
    """Logits of three rows of made-up tokens, one of them padded, in evaluation mode."""
    was_training = model.training
    logits: Tensor = model.eval()(**made_up(model, (12, 12, 9))).logits.float()
    model.train(was_training)
    return logits
