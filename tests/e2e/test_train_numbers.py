"""The loop's numbers: pieces of a batch, precision, rates, epochs, which checkpoint is reported."""

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import pearsonr, spearmanr

from petbench.measure import latency
from petbench.record import read_answers
from petbench.training import loop as loop
from petbench.training.scoring import Scorer
from toy_runs import adapter_file, train


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder with a token cache of its own; one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def test_accumulation_is_the_same_step() -> None:
    """Dropout draws differently for pieces of a batch, so it is off; the rest is the same sum in another order."""
    words = ["adapter=lora", "trainer.max_steps=4", "trainer.batch_size=30"]
    no_dropout = [
        "++model.known.config.hidden_dropout_prob=0",
        "++model.known.config.attention_probs_dropout_prob=0",
    ]
    whole = train(*words, *no_dropout)
    pieces = train(*words, *no_dropout, "trainer.gradient_accumulation=4", results="pieces")
    one, two = load_file(adapter_file(whole)), load_file(adapter_file(pieces, "pieces"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 2e-5
    assert pieces.curve[-1].loss == pytest.approx(whole.curve[-1].loss, abs=1e-5)


def test_accumulation_weighs_target_tokens_in_text_form() -> None:
    """Pieces with targets of unlike lengths: their losses are means over tokens, not over rows."""
    words = ["task=qqp", "adapter=lora", "trainer.max_steps=3", "trainer.batch_size=15", "model=tiny_t5"]
    words += ["++model.known.config.dropout_rate=0"]
    whole = train(*words)
    pieces = train(*words, "trainer.gradient_accumulation=4", results="pieces")
    one, two = load_file(adapter_file(whole)), load_file(adapter_file(pieces, "pieces"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 2e-5
    assert pieces.curve[-1].loss == pytest.approx(whole.curve[-1].loss, abs=1e-5)


def test_checkpointing_gives_the_same_bytes() -> None:
    words = ["adapter=krona", "trainer.max_steps=4"]
    plain = train(*words)
    other = train(*words, "trainer.gradient_checkpointing=true", results="checkpointing")
    assert adapter_file(other, "checkpointing").read_bytes() == adapter_file(plain).read_bytes()


def test_bf16_stays_on_after_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate wraps `forward`; taking the wrapper off to evaluate once turned training into float32."""
    seen: list[torch.dtype] = []
    original = loop.train

    def watched(accelerator: Any, model: Any, *arguments: Any, **keywords: Any) -> None:
        query = model.get_submodule("bert.encoder.layer.0.attention.self.query")
        query.register_forward_hook(
            lambda module, inputs, output: seen.append(output.dtype) if model.training else None
        )
        original(accelerator, model, *arguments, **keywords)

    monkeypatch.setattr("petbench.training.fit.train", watched)
    words = ["adapter=bitfit", "trainer.max_steps=6", "trainer.eval_every=2", "trainer.precision=bf16"]
    record = train(*words)
    assert seen == [torch.bfloat16] * 6
    assert record.provenance.precision == "bf16"
    assert {tensor.dtype for tensor in load_file(adapter_file(record)).values()} == {torch.float32}


def test_a_step_of_the_log_has_loss_and_rate() -> None:
    record = train("adapter=krona", "trainer.max_steps=10", "trainer.log_every=1", "optim.warmup_steps=5")
    path = Path("results/runs", record.run_id, "metrics.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rates = [line["values"]["lr"] for line in lines if "lr" in line["values"]]
    # After step t the schedule stands at t: warm-up to the full rate, then down to zero at the end.
    full = 5e-3
    up = [full * (t + 1) / 5 for t in range(1, 5)]
    down = [full * (10 - t) / 5 for t in range(5, 11)]
    assert rates == pytest.approx(up + down)
    assert all(0.3 < line["values"]["loss"] < 1.5 for line in lines if "loss" in line["values"])


def test_epochs_and_steps_are_counted_in_batches() -> None:
    record = train("adapter=krona", "trainer.epochs=1.5", "trainer.batch_size=64")
    # 461 rows are 8 batches of 64; 1.5 epochs are 12 steps, evaluated after each epoch and at the end.
    assert [(point.step, point.epoch) for point in record.curve] == [(8, 1.0), (12, 1.5)]


def test_the_last_checkpoint_can_be_reported() -> None:
    words = ["adapter=krona", "trainer.max_steps=20", "trainer.eval_every=2", "optim.lr=2e-2"]
    best = train(*words)
    last = train(*words, "trainer.select=last", results="last")
    assert [p.score for p in best.curve] == [p.score for p in last.curve]
    assert best.metrics.selection["accuracy"] == max(point.score for point in best.curve)
    assert last.metrics.selection["accuracy"] == last.curve[-1].score
    assert last.best is not None
    assert last.best.step == 20


def test_rows_that_choose_and_are_reported_are_answered_once_an_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under glue_dev they are the same; their answers are those of the evaluation that chose the checkpoint."""
    asked, answer = [], Scorer.answer
    monkeypatch.setattr(Scorer, "answer", lambda self, rows: asked.append(rows.name) or answer(self, rows))
    record = train("adapter=krona", "protocol=glue_dev", "trainer.max_steps=4", "trainer.eval_every=2")
    assert asked == ["validation", "validation"]
    assert record.metrics.report == {"validation": record.metrics.selection}


def test_a_linear_probe_is_never_the_best_of_hadamard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that fall: the head's stage has the highest, and the best is the first of the adapter's own stage."""
    scores = count(start=-1)
    plain = Scorer.selection
    monkeypatch.setattr(
        "petbench.training.fit.Scorer.selection",
        lambda self: replace(plain(self), metrics={"accuracy": 1 / (3 + next(scores))}),
    )
    words = ["adapter=hadamard", "trainer.max_steps=6", "trainer.eval_every=1"]
    record = train(*words)
    assert [point.step for point in record.curve] == [1, 2, 3, 4, 5, 6]
    assert record.best is not None and record.best.step == 4
    saved = load_file(adapter_file(record))
    moved = {name: tensor for name, tensor in saved.items() if name.endswith(".w")}
    assert moved and all(not torch.equal(w, torch.ones_like(w)) for w in moved.values())


@pytest.mark.parametrize(
    ("protocol", "said", "counted"),
    [
        ("compacter", [3.5, 7.5, 1000.0, None, -2.0], [3.5, 7.5, 1000.0, -1.0, -2.0]),
        ("petbench", [3.5, 5.0, None, None, 0.0], None),
    ],
)
def test_written_scores_are_read_as_the_protocol_says(
    protocol: str, said: list[float | None], counted: list[float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """compacter: any number that Python reads, not clamped, and -1 for none, as in that paper's code."""
    texts = ["3.5", "7.5", "1e3", "no", "-2"]

    def written(model: Any, batch: dict[str, torch.Tensor], *_: Any) -> tuple[list[str], torch.Tensor]:
        rows = batch["input_ids"]
        return [texts[int(ids.sum()) % 5] for ids in rows], torch.ones(len(rows), dtype=torch.bool)

    monkeypatch.setattr("petbench.inference.ask.written_answers", written)
    words = ["task=stsb", "model=tiny_t5", "adapter=lora", f"protocol={protocol}", "eval.decode=generate"]
    record = train(*words, "trainer.max_steps=1")
    path = Path("results/runs", record.run_id, "predictions/report-validation.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["prediction"] for line in lines} == set(said)
    labels = [line["label"] for line in lines]
    known = dict(zip(said, counted or said, strict=True))
    answers = [known[line["prediction"]] for line in lines]
    if counted is None:  # the end of the scale that is farther from the label
        answers = [(0 if y > 2.5 else 5) if x is None else x for x, y in zip(answers, labels, strict=True)]
    found = record.metrics.report["validation"]
    assert found["pearson"] == pytest.approx(pearsonr(answers, labels).statistic, abs=1e-6)
    assert found["spearmanr"] == pytest.approx(spearmanr(answers, labels).statistic, abs=1e-6)
    assert record.metrics.unparsable["validation"] == sum(line["prediction"] is None for line in lines)


def test_latency_is_in_the_record_merged_only_where_the_method_merges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A counted clock: each reading is 1 ms later than the last, so a timed forward pass takes 1 ms."""
    reads = count()
    monkeypatch.setattr(
        latency, "clock_of", lambda device: latency.Clock("counted", lambda: next(reads) / 1000)
    )
    krona = train("adapter=krona", "trainer.max_steps=2")
    assert krona.cost.latency_unmerged_ms == pytest.approx(1.0)
    assert krona.cost.latency_merged_ms == pytest.approx(1.0)
    assert next(reads) == 2 * 2 * (latency.WARM_UP + latency.TIMED)
    houlsby = train("adapter=houlsby", "trainer.max_steps=2", results="houlsby")
    assert houlsby.cost.latency_unmerged_ms == pytest.approx(1.0)
    assert houlsby.cost.latency_merged_ms is None


@pytest.mark.parametrize(
    "words", [["task=rte"], ["task=mrpc", "model=tiny_t5"], ["task=mnli", "data.toy_train=96"]]
)
def test_the_loss_on_the_selection_rows_is_that_of_the_kept_class_scores(words: list[str]) -> None:
    """Under glue_dev these rows are the report rows, whose scores are kept (as float16), with `last` of the end."""
    record = train("protocol=glue_dev", "trainer.select=last", "trainer.max_steps=6", "adapter=krona", *words)
    folder = Path("results/runs", record.run_id)
    (split, *_) = record.metrics.report
    kept = read_answers(folder, split)
    assert kept is not None and kept.logits is not None
    scores = torch.tensor(kept.logits, dtype=torch.float64)
    own = torch.tensor(kept.labels, dtype=torch.int64)
    expected = -torch.log_softmax(scores, dim=-1)[torch.arange(len(own)), own].mean()
    assert record.curve[-1].selection_loss == pytest.approx(float(expected), abs=2e-3)


@pytest.mark.parametrize(
    "words",
    [["task=stsb"], ["task=stsb", "model=tiny_t5"], ["task=rte", "model=tiny_t5", "eval.decode=generate"]],
)
def test_numbers_and_written_answers_have_no_loss_on_the_selection_rows(words: list[str]) -> None:
    record = train("trainer.max_steps=2", "adapter=krona", *words)
    assert record.curve and all(point.selection_loss is None for point in record.curve)
