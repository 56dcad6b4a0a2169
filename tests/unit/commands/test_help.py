"""`petbench` alone, `list`, `train --help` and `info`: what a newcomer reads."""

from pathlib import Path

import pytest

from petbench.cli import run_command
from petbench.commands.info import drawing
from petbench.commands.method_facts import Placed, trained_parts
from petbench.config.tree import options
from petbench.record import Params


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run_command(list(words)) == 0
    return capsys.readouterr().out


def test_petbench_alone_begins_with_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    first, blank, type_first, command, *_ = said(capsys).splitlines()
    assert first.startswith("petbench: ") and blank == "" and type_first.startswith("A first run")
    assert command.strip().startswith("petbench train adapter=krona")


def test_models_for_tests_stand_apart(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "list", "models").splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert heads[:3] == ["encoders", "encoder-decoders", "decoders"] and heads[3].startswith("for tests")
    names = [line.split()[0] for line in lines if line.startswith(" ")]
    assert sorted(names) == options("model")
    tests = lines.index(heads[3])
    assert all(line.split()[0].startswith("tiny_") for line in lines[tests + 1 :])
    assert not any("tiny_" in line.split()[0] for line in lines[:tests])
    group = {name: head for head, *rest in _blocks(lines) for name in (line.split()[0] for line in rest)}
    assert (group["t5_base"], group["gpt2"], group["smollm2_135m"], group["bert_base"]) == (
        "encoder-decoders", "decoders", "decoders", "encoders",
    )  # fmt: skip


def _blocks(lines: list[str]) -> list[list[str]]:
    blocks: list[list[str]] = []
    for line in lines:
        if line.startswith(" "):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks


@pytest.mark.parametrize("kind", ["adapters", "tasks", "recipes", "sweeps", "data", "protocols"])
def test_every_choice_is_listed_once(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    group = {"data": "data"}.get(kind, kind.removesuffix("s"))
    lines = said(capsys, "list", kind).splitlines()
    names = [line.split()[0] for line in lines if line.split()[0] in options(group)]
    assert sorted(names) == options(group)


def test_train_help_has_examples_choices_and_the_yamls_comments(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "train", "--help")
    assert "examples" in text and "plan=true" in text and "--hydra-help" in text
    for line in (
        "trainer.batch_size: 32            # examples per optimiser step",
        "optim.weight_decay: 0.0",
        "task.max_length: 128",
        "data.toy_train: 512",
        "seed: 0 ",
    ):
        assert f"  {line}" in text, line
    assert "krona" in text and "peft/lora" in text and "hydra.job" not in text
    assert max(map(len, text.splitlines())) <= 160


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "info", "krona", "--model", "tiny_bert")
    for part in (
        "krona: KronA: Y = XW + s·X(A ⊗ B). Edalati et al. 2023, arXiv 2212.10650.",
        "a1·a2 + b1·b2 parameters a site",  # the method's own docstring
        "adapter.factor_shape: auto",
        "adapter=krona",
        "attention: query ●, key, value ●",
        "attention_norm ○",
        "on tiny_bert: 4 sites; it trains 256 parameters of adapters, 256 parameters of norms",
        "merge: exactly into the backbone's weights",
        "export: petbench export RUN --to peft",
        "published (krona, Table 1, t5_base, as KronA): cola ",
        "petbench reproduce recipe=krona_table1 --only adapter=krona",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("norms", "others", "parts"),
    [
        (["encoder.layer.0.output.LayerNorm.weight"], [], {"norm"}),
        ([], ["encoder.layer.0.output.dense.bias"], {"bias"}),
        (["ln_f.weight"], ["encoder.layer.0.output.dense.weight"], {"all", "norm"}),
        ([], [], set()),
    ],
)
def test_what_trains_as_it_is(norms: list[str], others: list[str], parts: set[str]) -> None:
    assert trained_parts(norms, others) == parts


@pytest.mark.parametrize(("places", "shown"), [({"query"}, False), ({"query", "final_norm"}, True)])
def test_the_drawing_marks_each_place_and_shows_none_that_the_model_lacks(
    places: set[str], shown: bool
) -> None:
    found = Placed(
        frozenset(places), frozenset({"ffn_block"}), frozenset({"bias"}), 2, Params.model_construct(), False
    )
    text = "\n".join(drawing(found))
    assert "(around the whole block ●)" in text and "query ○" in text and "attention_norm ○" not in text
    assert ("final_norm" in text) == shown


def test_an_unknown_method_names_the_nearest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command(["info", "kronaa"]) == 2
    assert "Did you mean 'krona'?" in capsys.readouterr().err
