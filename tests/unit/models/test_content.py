"""What a backbone is: every byte that may move a score is in it, and neither its place nor what lies beside it is."""

import json
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import constants

from model_folders import edit_json, other_tokenizer, other_weights, write_model
from petbench.config.sections import ModelSpec
from petbench.errors import NotHere, UserError
from petbench.models import hub_commit
from petbench.models.content import backbone_content
from petbench.models.load import load
from petbench.models.source import find_source
from petbench.tuned.content import located_model
from tiny_models import _spec

FAMILIES = ("tiny_bert", "tiny_roberta", "tiny_t5", "tiny_gpt2", "tiny_llama", "tiny_distilbert")
COMMITS = {"main": "a" * 40, "v2": "b" * 40}


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, a memory of digests of its own, and a hub that nobody has asked yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("petbench.models.file_digests._KNOWN", {})
    monkeypatch.setattr(hub_commit, "_FOUND", {})
    monkeypatch.setattr(hub_commit, "_NOT_FOUND", {})


def last_byte(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "weights": (other_weights, {"weights"}),
    "one bit of the weights": (last_byte, {"weights"}),
    "a word's number": (other_tokenizer, {"tokenizer"}),
    "a new vocabulary file": (lambda f: (f / "vocab.txt").write_text("a\n"), {"tokenizer"}),
    "an added token": (lambda f: edit_json(f / "added_tokens.json", new=99), {"tokenizer"}),
    "tokenizer settings": (lambda f: edit_json(f / "tokenizer_config.json", do_lower_case=False), {"tokenizer"}),
    "no tokenizer any more": (lambda f: (f / "tokenizer.json").unlink(), {"tokenizer"}),
    "a config value": (lambda f: edit_json(f / "config.json", layer_norm_eps=0.1), {"config"}),
    "how it writes": (lambda f: edit_json(f / "generation_config.json", num_beams=7), {"config"}),
    "a text beside it": (lambda f: (f / "README.md").write_text("new"), set()),
    "a trainer's files": (lambda f: (f / "optimizer.pt").write_bytes(b"x"), set()),
    "weights that nobody reads": (lambda f: (f / "pytorch_model.bin").write_bytes(b"x"), set()),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_place_is_seen_in_its_part_alone(family: str, change: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", family)
    spec = ModelSpec(name=str(folder))
    before = backbone_content(spec)
    alter, parts = CHANGES[change]
    alter(folder)
    after = backbone_content(spec)
    assert {part for part in before if before[part] != after[part]} == parts


SPELLINGS = ("base", "base/", "./base", "x/../base", "{here}/base", "{here}/base/", "link", "~/base", "copy")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_place_is_no_part_of_it(spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_model(tmp_path / "base")
    write_model(tmp_path / "copy")
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("base")
    name = spelling.format(here=tmp_path)
    assert backbone_content(ModelSpec(name=name)) == backbone_content(ModelSpec(name="base"))
    whole = located_model(ModelSpec(name=name)).name
    assert Path(whole).is_absolute() and Path(whole).samefile(
        tmp_path / ("copy" if name == "copy" else "base")
    )
    assert not whole.endswith("/")


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    for number in (1, 2):
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(whole + bytes([number]))
    index = {"weight_map": {f"w{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    spec = ModelSpec(name=str(folder))
    before = backbone_content(spec)["weights"]
    (folder / "model-00003-of-00002.safetensors").write_bytes(b"left over from another download")
    assert backbone_content(spec)["weights"] == before
    (folder / "model-00002-of-00002.safetensors").write_bytes(whole + b"x")
    assert backbone_content(spec)["weights"] != before
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.name: cannot load .*No such file"):
        backbone_content(spec)


def test_a_tokenizer_of_its_own_is_its_bytes(tmp_path: Path) -> None:
    folder, other = write_model(tmp_path / "m"), write_model(tmp_path / "words", seed=8)
    same = backbone_content(ModelSpec(name=str(folder)))
    given = ModelSpec(name=str(folder), tokenizer=str(other))
    assert backbone_content(given) == same  # equal files at another place
    other_tokenizer(other)
    assert backbone_content(given)["tokenizer"] != same["tokenizer"]
    with pytest.raises(UserError, match=r"model\.tokenizer: there is no folder \./nowhere"):
        backbone_content(ModelSpec(name=str(folder), tokenizer="./nowhere"))


def test_a_random_model_is_its_architecture_and_tokenizer() -> None:
    bert = _spec("tiny_bert")
    assert bert.known is not None
    plain = backbone_content(bert)
    assert plain["weights"] == "random:0"
    renamed = bert.known.model_copy(update={"name": "other"})
    assert backbone_content(bert.model_copy(update={"name": "other", "known": renamed})) == plain
    wider = bert.known.model_copy(update={"config": bert.known.config | {"hidden_size": 64}})
    assert backbone_content(bert.model_copy(update={"known": wider}))["config"] != plain["config"]
    tokenizers = {family: backbone_content(_spec(family))["tokenizer"] for family in FAMILIES}
    assert tokenizers["tiny_gpt2"] == tokenizers["tiny_llama"]  # one style
    assert len(set(tokenizers.values())) == 5


def test_a_random_model_of_a_folder_needs_no_weights_there(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    spec = ModelSpec(name=str(folder), weights="random", tokenizer="built")
    (folder / "model.safetensors").unlink()
    before = backbone_content(spec)
    assert (
        before["weights"] == "random:0"
        and before["tokenizer"] == backbone_content(_spec("tiny_bert"))["tokenizer"]
    )
    edit_json(folder / "config.json", num_attention_heads=8)
    assert backbone_content(spec)["config"] != before["config"]


def test_a_package_is_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "made_up_backbone" / "model")
    (tmp_path / "made_up_backbone" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    spec = ModelSpec(name="package:made_up_backbone/model")
    before = backbone_content(spec)
    assert before == backbone_content(ModelSpec(name=str(folder)))
    other_tokenizer(folder)
    assert backbone_content(spec)["tokenizer"] != before["tokenizer"]


def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path) -> None:
    """transformers would read `base_model_name_or_path` there and load that model."""
    folder = write_model(tmp_path / "m")
    edit_json(folder / "adapter_config.json", base_model_name_or_path="some/other")
    with pytest.raises(UserError, match=r"holds an adapter beside the weights"):
        backbone_content(ModelSpec(name=str(folder)))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as the hub's client leaves it: two snapshots of `lab/tiny`, `main` and `v2`, of other weights."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    repository = cache / "models--lab--tiny"
    (repository / "refs").mkdir(parents=True)
    for number, (name, commit) in enumerate(COMMITS.items()):
        write_model(repository / "snapshots" / commit, seed=number)
        (repository / "refs" / name).write_text(commit)
    return repository


@pytest.mark.parametrize(
    ("revision", "commit"), [(None, "main"), ("main", "main"), ("v2", "v2"), ("b" * 40, "v2")]
)
def test_a_hub_model_is_its_commit(hub_cache: Path, revision: str | None, commit: str) -> None:
    spec = ModelSpec(name="lab/tiny", revision=revision)
    assert backbone_content(spec) == dict.fromkeys(
        ("weights", "config", "tokenizer"), f"hub:{COMMITS[commit]}"
    )
    assert find_source("lab/tiny", revision).arguments == {
        "revision": COMMITS[commit], "local_files_only": True, "trust_remote_code": False,
    }  # fmt: skip


def test_a_branch_that_moved_is_another_model(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(name="lab/tiny")
    before = backbone_content(spec)
    (hub_cache / "refs" / "main").write_text(COMMITS["v2"])
    assert backbone_content(spec) == before  # all parts of what one process runs come from one commit
    monkeypatch.setattr(hub_commit, "_FOUND", {})
    assert backbone_content(spec)["weights"] == f"hub:{COMMITS['v2']}"


def test_a_hub_model_that_is_not_here_is_said(hub_cache: Path) -> None:
    for name, revision in (("lab/other", None), ("lab/tiny", "v3"), ("bert-base-uncased", None)):
        with pytest.raises(NotHere, match=r"not in the local cache and the hub is not in reach"):
            backbone_content(ModelSpec(name=name, revision=revision))


class FakeHub(BaseHTTPRequestHandler):
    """Answers for `lab/new` at commit c…, for `lab/bare` (no config.json) at d…, and 404 for all else."""

    def do_HEAD(self) -> None:
        known = {"/lab/new/": (200, "c" * 40), "/lab/bare/": (404, "d" * 40)}
        status, commit = next((v for k, v in known.items() if self.path.startswith(k)), (404, ""))
        if self.path == "/":
            status = 200
        self.send_response(status)
        for name, value in {"X-Repo-Commit": commit, "ETag": '"e"', "Content-Length": "2"}.items():
            if value:
                self.send_header(name, value)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound" if commit else "RepoNotFound")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), FakeHub)
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + template[template.index("/{repo_id}") :]
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    server.shutdown()


def test_in_reach_the_hub_says_the_commit(fake_hub: None, hub_cache: Path) -> None:
    assert hub_commit.commit_of("lab/new", None, offline=False) == "c" * 40
    assert hub_commit.commit_of("lab/bare", None, offline=False) == "d" * 40  # a tokenizer's repository
    assert hub_commit.commit_of("lab/tiny", None, offline=False) == COMMITS["main"]  # gone there, cached here
    with pytest.raises(NotHere, match="404"):
        hub_commit.commit_of("lab/none", None, offline=False)
    assert find_source("lab/new").arguments == {
        "revision": "c" * 40,
        "local_files_only": False,
        "trust_remote_code": False,
    }
    with pytest.raises(NotHere, match=r"model\.name: cannot load 'lab/none' from the hub: .*404"):
        find_source("lab/none")


def test_the_hub_is_asked_once_for_many_members(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(hub_commit, "_REACHED", {})
    monkeypatch.setattr("petbench.models.hub_commit.hub_reachable", lambda: asked.append(1))
    for _ in range(5):
        backbone_content(ModelSpec(name="lab/tiny"))
        with pytest.raises(NotHere):
            find_source("lab/none")
    assert len(asked) == 1


def test_what_is_loaded_is_the_commit_that_was_named(hub_cache: Path) -> None:
    digests = {
        revision: load(ModelSpec(name="lab/tiny", revision=revision), "head", 2, False, 0).digest
        for revision in (None, "v2")
    }
    one = load(ModelSpec(name=str(hub_cache / "snapshots" / COMMITS["main"])), "head", 2, False, 0)
    assert digests[None] == one.digest != digests["v2"]


NO_FOLDER = r"model\.name: there is no folder "
NAMES = {
    "./nowhere": NO_FOLDER + r"\./nowhere \(looked from .*\)\. Give a folder",
    "/nowhere/at/all": NO_FOLDER + r"/nowhere/at/all\. ",
    "~/nowhere": NO_FOLDER,
    "nowhere/": NO_FOLDER + r"nowhere/ ",
    "m/foo": NO_FOLDER + r"m/foo \(looked from .*\)\. Did you mean 'food'\?",  # m is a folder here
    "m/food.safetensors": NO_FOLDER,
    "a/b/c": NO_FOLDER,
    "model.safetensors": NO_FOLDER,
    r"C:\models\base": NO_FOLDER + r".* Folders are written with / here\.",
    r"models\base": NO_FOLDER,
    "with space": NO_FOLDER,
    "übung/modell": NO_FOLDER,
    "": NO_FOLDER + "''",
    "m/a_file": r"model\.name: m/a_file is a file\. Give the folder that holds it with its config\.json: m",
    "lab/none": r"'lab/none' is not in the local cache and the hub is not in reach",
    "none": r"'none' is not in the local cache .* there is no folder of that name either",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_nothing_is_told_as_what_it_looks_like(name: str, tmp_path: Path) -> None:
    (tmp_path / "m" / "food").mkdir(parents=True)
    (tmp_path / "m" / "a_file").touch()
    with pytest.raises(UserError, match=NAMES[name]):
        find_source(name)


def test_a_hub_id_whose_owner_is_also_a_folder_here_is_found(hub_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    assert find_source("lab/tiny").revision == COMMITS["main"]


def test_content_reads_no_weights_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan of many members must stay quick: files are hashed, nothing is built."""
    folder = write_model(tmp_path / "m")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refuse)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", refuse)
    monkeypatch.setattr("petbench.models.source.config_of", refuse)
    monkeypatch.setattr("petbench.models.content.config_of", refuse)
    content = backbone_content(ModelSpec(name=str(folder)))
    assert {len(digest) for digest in content.values()} == {64}
    assert backbone_content(_spec("tiny_t5"))["weights"] == "random:0"
