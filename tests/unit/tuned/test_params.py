"""Parameter counts by part, against numbers worked out by hand and printed in papers."""

import json

import pytest

from petbench.cli import run_command
from petbench.record import Params, units


def params(capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, int]:
    """What `petbench params … --json` prints for one model and method."""
    assert run_command(["params", *overrides, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {"model", "adapter", "params"}
    assert set(shown["params"]) == set(Params.model_fields)
    found: dict[str, int] = shown["params"]
    return found


def test_krona_on_t5_base_is_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    """A (32, 24) and B (24, 32) on query and value of 36 attentions, and 62 norms of width 768."""
    found = params(capsys, "model=t5_base", "adapter=krona", "adapter.factor_shape=[32,24]")
    assert found["adapter"] == 36 * 2 * (32 * 24 + 24 * 32) == 110_592
    assert found["norm"] == 62 * 768 == 47_616
    assert (found["head"], found["other"]) == (0, 0)
    assert found["trainable"] == 158_208
    assert found["backbone"] == 222_903_552
    assert found["tuned"] == 158_208
    assert found["tuned_percent"] == pytest.approx(100 * 158_208 / 222_903_552)


def test_lora_on_roberta_base(capsys: pytest.CaptureFixture[str]) -> None:
    """RoBERTa's head is a dense layer and a projection: 768² + 768 + 2 · 768 + 2."""
    found = params(capsys, "model=roberta_base", "adapter=lora", "adapter.rank=8")
    assert found["adapter"] == 12 * 2 * 8 * (768 + 768) == 294_912
    assert found["head"] == 768 * 768 + 768 + 2 * 768 + 2 == 592_130
    assert found["trainable"] == 294_912 + 592_130
    assert found["trainable_percent"] == pytest.approx(100 * 887_042 / found["backbone"])


def test_minilm_has_a_pooler_in_the_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    found = params(capsys, "model=minilm", "adapter=head_only")
    assert found["head"] == 2 * 384 + 2
    assert found["backbone"] == 22_713_216
    assert found["adapter"] == found["norm"] == found["other"] == 0


def test_three_classes_and_one_number_change_the_head_alone(capsys: pytest.CaptureFixture[str]) -> None:
    three = params(capsys, "model=tiny_bert", "adapter=lora", "task=mnli")
    one = params(capsys, "model=tiny_bert", "adapter=lora", "task=stsb")
    assert (three["head"], one["head"]) == (3 * 32 + 3, 32 + 1)
    assert three["adapter"] == one["adapter"]
    assert three["backbone"] == one["backbone"]


def test_full_trains_all_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = params(capsys, "model=tiny_bert", "adapter=full")
    assert found["trainable"] == found["backbone"] + found["head"]
    assert found["norm"] > 0
    assert found["trainable_percent"] > 100  # of the backbone, and the head comes on top
    assert (found["tuned"], found["tuned_percent"]) == (found["backbone"], 100.0)


def test_bitfit_counts_biases_as_other_and_norms_as_norms(capsys: pytest.CaptureFixture[str]) -> None:
    found = params(capsys, "model=tiny_bert", "adapter=bitfit")
    # Two layers of q, k, v, o (32), ffn in (64) and out (32), the embedding's norm, the pooler.
    assert found["norm"] == 2 * 2 * 32
    assert found["other"] == 2 * (4 * 32 + 64 + 32) + 32 + 32


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5", "tiny_gpt2"])
def test_every_method_has_one_size_and_a_percent_of_it(
    capsys: pytest.CaptureFixture[str], model: str
) -> None:
    """BitFit adds nothing to BERT and tunes its biases: its size is not 0 with a percent of something else."""
    assert run_command(["params", f"model={model}", "adapter=glob(*)", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown) > 15
    for item in shown:
        found = item["params"]
        assert found["tuned"] == found["adapter"] + found["norm"] + found["other"]
        assert found["tuned_percent"] == pytest.approx(100 * found["tuned"] / found["backbone"])
        assert found["trainable"] == found["tuned"] + found["head"]
        assert (found["tuned"] == 0) == (item["adapter"] == "head_only")
    assert run_command(["params", f"model={model}", "adapter=bitfit,krona"]) == 0
    text = capsys.readouterr().out
    by_name = {item["adapter"]: item["params"] for item in shown}
    for line in (line for line in text.splitlines() if line.startswith("│")):
        name, tuned, percent, *parts = [cell.strip() for cell in line.strip("│").split("│")]
        assert (tuned, percent) == (
            f"{by_name[name]['tuned']:,}",
            units.percent(by_name[name]["tuned_percent"]),
        )
        assert int(tuned.replace(",", "")) == sum(int(part.replace(",", "")) for part in parts[:3])


def test_records_from_before_tuned_was_a_field_are_read() -> None:
    older = {"adapter": 5, "head": 2, "norm": 3, "other": 1, "trainable": 11, "backbone": 900}
    read = Params.model_validate({**older, "adapter_percent": 1.0, "trainable_percent": 1.2})
    assert (read.tuned, read.tuned_percent) == (9, 1.0)
    assert Params.model_validate(read.model_dump()) == read


def test_a_glob_prints_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["params", "model=tiny_bert", "adapter=glob(l*)", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [item["adapter"] for item in shown] == ["ln_tuning", "lora"]


def test_what_has_no_place_is_a_line_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["params", "model=tiny_t5", "adapter=krona,head_only"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Parameters: tiny_t5\n")
    assert (
        "head_only: not possible on tiny_t5: adapter=head_only: this text-to-text model has no task head."
        in text
    )


def test_one_impossible_method_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["params", "model=tiny_t5", "adapter=head_only", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: adapter=head_only")


def test_a_budgets_choice_stands_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["params", "model=tiny_bert", "adapter=lora", "budget.params=1000"]) == 0
    assert "budget 1,000: lora rank=3, alpha=6.0 tunes 768 parameters" in capsys.readouterr().out
