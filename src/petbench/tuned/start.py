"""Start a run from what another run trained, or from a PEFT adapter, copied in where names and shapes agree."""

from pathlib import Path

from torch import Tensor

from petbench.adapters.peft_in import Foreign, is_foreign, read_foreign, require_plain
from petbench.adapters.registry import methods
from petbench.errors import UserError
from petbench.tuned.attach import Tuned
from petbench.tuned.checkpoint import FROZEN, load_adapter, read_adapter_config, tensors_digest


def start_from(tuned: Tuned, folder: Path, backbone_digest: str) -> list[str]:
    """Copy in what another run, or PEFT, trained; returns the names of parameters left as they were.

    The head is taken when it fits (same number of labels). Raises UserError when the run is of another method
    or backbone (names and shapes may agree by chance; PEFT's adapters do not say their backbone), or when nothing fits.
    """
    if is_foreign(folder):
        foreign = read_foreign(folder)
        theirs = values_of(foreign, tuned)
        heads = {name for name in tuned.head_names & theirs.keys() if not _fits(tuned, name, theirs[name])}
        return tuned.load_state({n: t for n, t in theirs.items() if n not in heads}, strict=False)
    saved = read_adapter_config(folder)
    method, model = saved["config"]["adapter"]["method"], saved["config"]["model"]["name"]
    if method != tuned.spec.method:
        raise UserError(
            f"init_from: {folder} holds {method}, this run's method is {tuned.spec.method}. "
            f"Give a run of {tuned.spec.method}."
        )
    if saved.get("backbone_digest") not in (None, backbone_digest):
        raise UserError(
            f"init_from: {folder} was trained on another backbone ({model}). Give a run on this one."
        )
    if FROZEN in saved and saved[FROZEN] != tensors_digest(tuned.frozen()):
        raise UserError(
            f"init_from: {folder} was trained on another backbone ({model}). Give one on this backbone."
        )
    theirs = load_adapter(folder)
    own = {name: p for name, p in tuned.model.named_parameters() if name in tuned.trained_names}
    fits = {name: t for name, t in theirs.items() if name in own and own[name].shape == t.shape}
    if not fits.keys() & (tuned.trained_names - tuned.head_names):
        raise UserError(f"init_from: nothing that {folder} trained fits this model, method and size.")
    return tuned.load_state(fits, strict=False)


def values_of(foreign: Foreign, tuned: Tuned) -> dict[str, Tensor]:
    """A PEFT adapter's values by the parameter names of a method on a model, head and norms beside it included.

    Raises UserError where the method is not that of the adapter's type, the forms do not agree, or something is saved
    that does not train in this run: nothing is silently dropped.
    """
    method = tuned.method
    if method.name != "peft":
        require_plain(foreign)
        if method.peft_type != foreign.kind:
            right = " or ".join(
                f"adapter={m.name}" for m in methods().values() if m.peft_type == foreign.kind
            )
            raise UserError(
                f"{foreign.folder} holds PEFT's {foreign.kind}, this run's method is {method.name}. Use {right} or "
                f"adapter=peft/custom adapter.peft_type={foreign.kind}."
            )
    values = method.values_of_peft(foreign, tuned.spec, tuned.layout, tuned.installed)
    root = "base_model.model." if method.name == "peft" else ""
    for name, tensor in foreign.beside.items():
        here = root + name
        if here in tuned.adapter_names or here in values:
            continue
        if here not in tuned.trained_names:
            raise foreign.refusal(
                f"{name[:80]} is saved with it but does not train under adapter={method.name}"
            )
        values[here] = tensor
    return values


def _fits(tuned: Tuned, name: str, tensor: Tensor) -> bool:
    return tuned.model.get_parameter(name).shape == tensor.shape
