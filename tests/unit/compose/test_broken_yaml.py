"""A config folder of the user's that cannot be read: a mistake that names the file and the line."""

import re
from pathlib import Path

import pytest

from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.errors import UserError

FILES = {
    "tab": ("method: krona\n\tlayers: all\n", r"own\.yaml, line 2: found character"),
    "two values": ("method: krona: x\n", r"own\.yaml, line 1: mapping values are not allowed here"),
    "a key twice": ("method: krona\nmethod: lora\n", r"own\.yaml, line 2: found duplicate key method"),
    "an open list": ("method: [1, 2\n", r"own\.yaml, line 2: expected ',' or '\]'"),
    "no such anchor": ("name: a\nmethod: *x\n", r"own\.yaml, line 2: found undefined alias"),
    "code": ("method: !!python/object/apply:os.getpid []\n", r"own\.yaml, line 1: could not determine a constructor"),
    "two documents": ("method: krona\n---\nmethod: lora\n", r"own\.yaml, line 2: but found another document"),
    "a NUL": ("method: \x00\n", r"own\.yaml: special characters are not allowed"),
    "Latin-1": (b"# petbench\nmethod: \xfcber\n", r"own\.yaml, line 2: broken UTF-8\. Save the file as UTF-8"),
    "holds itself": ("a: &a [*a]\nmethod: krona\n", r"own\.yaml: contains itself"),
    "defaults are no list": ("defaults: 3\n", r"Invalid defaults list in 'adapter/own'"),
    "defaults name nothing": ("defaults:\n  - nosuch: x\n", r"nosuch"),
    "a list": ("- krona\n- lora\n", r"adapter|optim\.lr"),
    "text": ("krona\n", r"adapter\.method|optim\.lr"),
    "empty": ("", r"optim\.lr: cannot be resolved: .*adapter\.tuning\.lr"),
    "no learning rate": ("method: krona\n", r"optim\.lr: cannot be resolved: .*'adapter\.tuning\.lr' not found"),
    "stands for nothing": ("method: krona\nname: ${nope}\ntuning: {lr: 0.1}\n", r"adapter\.name: cannot be resolved"),
    "half a reference": ("method: krona\nname: ${\n", r"no viable alternative.*Legal in \$\{…\}|Legal in"),
}  # fmt: skip


@pytest.fixture(params=FILES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A folder whose path Hydra's grammar cannot read as it stands, and what is to be said of its file."""
    content, said = FILES[request.param]
    place = tmp_path / "my (own)=conf"
    (place / "adapter").mkdir(parents=True)
    (place / "adapter" / "own.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    (place / "adapter" / "sound.yaml").write_text("method: krona\ntuning: {lr: 0.1}\n")
    return place, said


@pytest.mark.parametrize("command", ["params", "train", "train -m"])
def test_the_file_and_the_line_are_named(
    command: str, folder: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    place, said = folder
    words = [*command.split(), "model=tiny_bert", "task=rte", "data=toy", "adapter=own", "plan=true"]
    assert run_command([*words, "--config-dir", str(place)]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert "bug" not in error and len(error.splitlines()) <= 4


def test_what_is_sound_beside_it_still_works(folder: tuple[Path, str]) -> None:
    (member,) = expand(["adapter=sound"], str(folder[0]))
    assert member.values["optim"]["lr"] == 0.1


def test_a_tilde_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "adapter").mkdir(parents=True)
    (tmp_path / "conf" / "adapter" / "mine.yaml").write_text("method: krona\ntuning: {lr: 0.1}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["model=tiny_bert", "adapter=mine"]
    assert run_command(["params", *words, "--config-dir", "~/conf"]) == 0
    assert run_command(["train", *words, "task=rte", "data=toy", "plan=true", "--config-dir=~/conf"]) == 0


def test_an_unknown_choice_names_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "mine.yaml").write_text("method: krona\n")
    with pytest.raises(UserError, match=r"adapter: 'mime' is unknown\. Did you mean 'mine'"):
        expand(["adapter=mime"], str(tmp_path))
