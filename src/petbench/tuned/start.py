"""Where a run starts from: what another run trained, copied in where names and shapes agree."""

from pathlib import Path

from petbench.errors import UserError
from petbench.tuned.attach import Tuned
from petbench.tuned.checkpoint import FROZEN, load_adapter, read_adapter_config, tensors_digest


def start_from(tuned: Tuned, folder: Path, backbone_digest: str) -> list[str]:
    """Copy in what another run trained, where names and shapes agree; returns the names left as they were.

    The head is taken when it fits (same number of labels). Raises UserError when the run is of another method
    or backbone (names and shapes may agree by chance), or when nothing fits.
    """
    saved = read_adapter_config(folder)
    method, model = saved["config"]["adapter"]["method"], saved["config"]["model"]["name"]
    if method != tuned.spec.method:
        raise UserError(
            f"init_from: {folder} holds {method}, this run is {tuned.spec.method}. Give a run of {tuned.spec.method}."
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
