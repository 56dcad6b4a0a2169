"""Adapter files of a run: everything that was trained, as safetensors, with the config to rebuild it."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from petbench.config.spec import RunSpec
from petbench.errors import UserError
from petbench.files import replacing, write_json
from petbench.tuned.attach import Tuned

ADAPTER_SCHEMA = 1
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter.safetensors"


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write safetensors. Raises as `atomic.replacing` does when the disk refuses."""
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # its word for a full disk too
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors. Raises UserError on a missing or broken file."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}. Has the run finished?") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is broken: {error}. Delete the run's folder and train again.") from error


def save_adapter(folder: Path, spec: RunSpec, state: dict[str, Tensor], facts: dict[str, Any]) -> int:
    """Write `adapter.safetensors` and `adapter_config.json`; returns the bytes of the tensors' file.

    state: adapter, head, trained norms and other trained parts, by parameter name.
    facts: what loading must know besides the config (form, labels, backbone digest).
    """
    save_tensors(state, folder / WEIGHTS_FILE)
    config = {"schema_version": ADAPTER_SCHEMA, "config": spec.canonical(), **facts}
    write_json(folder / CONFIG_FILE, config)
    return (folder / WEIGHTS_FILE).stat().st_size


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The config saved with an adapter. Raises UserError when the folder holds none."""
    path = folder / CONFIG_FILE
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no petbench adapter ({CONFIG_FILE} is missing).") from error
    except ValueError as error:
        raise UserError(f"{path} is broken: {error}.") from error
    if config.get("schema_version") != ADAPTER_SCHEMA:
        got = config.get("schema_version")
        raise UserError(f"{path} has schema {got}; this petbench reads schema {ADAPTER_SCHEMA}.")
    return config


def adapter_folder(run: str | Path, results_dir: str | Path = "results") -> Path:
    """The adapter folder of a run given as its id, its folder or the adapter folder itself."""
    for candidate in (Path(run), Path(results_dir) / "runs" / str(run)):
        for folder in (candidate, candidate / "adapter"):
            if (folder / CONFIG_FILE).is_file():
                return folder
    raise UserError(
        f"no trained run at '{run}': neither a folder with an adapter nor a run id under {results_dir}/runs. "
        "`petbench report` lists the runs; results_dir=DIR names another folder."
    )


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
    theirs = load_tensors(folder / WEIGHTS_FILE)
    own = {name: p for name, p in tuned.model.named_parameters() if name in tuned.trained_names}
    fits = {name: t for name, t in theirs.items() if name in own and own[name].shape == t.shape}
    if not fits.keys() & (tuned.trained_names - tuned.head_names):
        raise UserError(f"init_from: nothing that {folder} trained fits this model, method and size.")
    return tuned.load_state(fits, strict=False)
