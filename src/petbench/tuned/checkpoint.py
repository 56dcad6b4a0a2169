"""Adapter files of a run: everything that was trained, as safetensors, with the config to rebuild it."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from petbench.config.sections import AdapterSpec
from petbench.config.spec import RunSpec, canonical_json
from petbench.errors import UserError
from petbench.files import replacing, write_json
from petbench.models.file_digests import file_sha256
from petbench.record import RECORD_FILE, read_record
from petbench.tuned.published import public_name, without_places

ADAPTER_SCHEMA = 1
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter.safetensors"
FROZEN = "frozen_sha256"  # a key only of adapters that `Tuned.save` wrote, which belong to no run


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write safetensors. Raises as `files.replacing` does when the disk refuses."""
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # raised for a full disk too
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors. Raises UserError on a missing or broken file."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}. Has the run finished?") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is broken: {error}. Delete the run's folder and train again.") from error


def save_adapter(
    folder: Path, spec: RunSpec, state: dict[str, Tensor], facts: dict[str, Any]
) -> tuple[int, str]:
    """Write `adapter.safetensors` and `adapter_config.json`; returns bytes and SHA-256 of the tensors' file.

    state: adapter, head, trained norms and other trained parts, by parameter name.
    facts: what loading must know besides the config (form, labels, backbone digest).
    """
    save_tensors(state, folder / WEIGHTS_FILE)
    digest = file_sha256(folder / WEIGHTS_FILE)
    own = without_places(spec.canonical())
    config: dict[str, Any] = {
        "schema_version": ADAPTER_SCHEMA,
        "config": own,
        **facts,
        "weights_sha256": digest,
    }
    write_adapter_config(folder / CONFIG_FILE, config)
    return (folder / WEIGHTS_FILE).stat().st_size, digest


def save_attached(
    folder: Path, spec: AdapterSpec, state: dict[str, Tensor], model: str, frozen: Mapping[str, Tensor]
) -> None:
    """Write what was trained on the caller's own model. It is no run: it has no task, no rows and no backbone to find.

    model: the name in its config. frozen: its tensors that do not train, whose digest identifies it.
    """
    save_tensors(state, folder / WEIGHTS_FILE)
    config = {
        "schema_version": ADAPTER_SCHEMA,
        "config": {"adapter": spec.model_dump(mode="json"), "model": {"name": public_name(model)}},
        FROZEN: tensors_digest(frozen),
        "weights_sha256": file_sha256(folder / WEIGHTS_FILE),
    }
    write_adapter_config(folder / CONFIG_FILE, config)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_adapter_config(path: Path, config: dict[str, Any]) -> None:
    """Write an adapter's config with the digest of itself."""
    write_json(path, config | {"own_sha256": _digest_of(config)})


def publish(folder: Path, into: Path) -> None:
    """Copy an adapter folder with no path in its config: `petbench.load` then needs `model=FOLDER`."""
    config = read_adapter_config(folder)
    model = config["config"]["model"]
    names: dict[str, Any] = {key: public_name(model[key]) for key in ("name", "tokenizer")}
    if model["known"] is not None:
        names["known"] = {**model["known"], "name": names["name"]}
    config["config"] = without_places(config["config"]) | {"model": {**model, **names}}
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / WEIGHTS_FILE, into / WEIGHTS_FILE)
    write_adapter_config(into / CONFIG_FILE, config)


def _digest_of(config: dict[str, Any]) -> str:
    """SHA-256 of an adapter's config, all but the digest itself."""
    rest = {key: value for key, value in config.items() if key != "own_sha256"}
    return hashlib.sha256(canonical_json(rest).encode()).hexdigest()


def load_adapter(folder: Path) -> dict[str, Tensor]:
    """What a run trained, from its adapter folder, the same bits as were saved.

    Raises UserError when the tensors are missing, broken, or have another digest than the adapter's config and the
    record beside it say (adapters of an earlier petbench have none).
    """
    path = folder / WEIGHTS_FILE
    wanted = {folder / CONFIG_FILE: read_adapter_config(folder).get("weights_sha256")}
    with contextlib.suppress(UserError):  # a folder that is not a run's, or a record that cannot be read
        record = read_record(folder.parent)
        if record is not None and record.status == "done":
            wanted[folder.parent / RECORD_FILE] = record.adapter_sha256
    tensors = load_tensors(path)
    found = file_sha256(path)
    for place, digest in wanted.items():
        if digest not in (None, found):
            raise UserError(
                f"{path} is not the file that was saved: its SHA-256 is {found[:12]}…, but {place} says "
                f"{str(digest)[:12]}…. Put the right file back, or delete the run's folder and train again."
            )
    return tensors


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The config saved with an adapter. Raises UserError when the folder holds none."""
    path = folder / CONFIG_FILE
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no petbench adapter ({CONFIG_FILE} is missing).") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is broken: {error}.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is broken: it does not hold a JSON object.")
    if config.get("schema_version") != ADAPTER_SCHEMA:
        got = config.get("schema_version")
        raise UserError(f"{path} has schema {got}; this petbench reads schema {ADAPTER_SCHEMA}.")
    if config.get("own_sha256", "") not in ("", _digest_of(config)):
        raise UserError(
            f"{path} was changed after it was saved (its own_sha256 says so): what it describes is not what was "
            "trained. Put the right file back, or train the run again."
        )
    return config


def require_run(saved: Mapping[str, Any], folder: Path) -> None:
    """Raise UserError for an adapter that was saved in Python and is not a run."""
    if FROZEN in saved:
        raise UserError(
            f"{folder} was saved by tuned.save(): it names no task and no backbone to load. In Python, "
            "petbench.load(FOLDER, model=MODEL) puts it on the model."
        )


def adapter_folder(run: str | Path, results_dir: str | Path = "results") -> Path:
    """The adapter folder of a run given as its id, its folder or the adapter folder itself.

    Raises UserError when there is none.
    """
    for candidate in (Path(run), Path(results_dir) / "runs" / str(run)):
        for folder in (candidate, candidate / "adapter"):
            if (folder / CONFIG_FILE).is_file():
                return folder
    raise UserError(
        f"no trained run at '{run}': neither a folder with an adapter nor a run id under {results_dir}/runs. "
        "`petbench report` lists the runs; results_dir=DIR names another folder."
    )
