"""Write tests/golden/: the losses of short runs and the tables that `petbench train` prints.

    python scripts/make_golden.py

Run it after a change that is meant to move numbers, look at the difference, and say so in the commit.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path

from petbench.cli import run_command
from petbench.commands import tables as shown_tables
from petbench.console import print_table
from petbench.record import Headline, Metrics, Record

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
METHODS = ("krona", "lora", "bitfit", "full")
MODELS = ("tiny_bert", "tiny_t5")
STEPS = 12
# No dropout: which elements fall out depends on torch's vectorised generators, not on petbench.
NO_DROPOUT = {
    "tiny_bert": ["hidden_dropout_prob", "attention_probs_dropout_prob"],
    "tiny_t5": ["dropout_rate"],
}


def losses(method: str, model: str) -> list[float]:
    """The loss of every step of a short run in float32 on the CPU."""
    words = [f"adapter={method}", "task=rte", f"model={model}", "data=toy", f"trainer.max_steps={STEPS}"]
    words += ["trainer.log_every=1", "trainer.precision=fp32", "trainer.device=cpu", "trainer.threads=1"]
    words += [f"++model.known.config.{key}=0" for key in NO_DROPOUT[model]]
    with tempfile.TemporaryDirectory() as place:
        os.environ["PETBENCH_CACHE"] = f"{place}/cache"
        status = run_command(["train", *words, f"results_dir={place}"])
        if status:
            raise SystemExit(f"{method} on {model} ended with {status}")
        (path,) = Path(place).glob("runs/*/metrics.jsonl")
        lines = [json.loads(line)["values"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def tables() -> str:
    """What `train` prints at the end of a run whose numbers are made up here."""
    params = {"adapter": 110592, "head": 592130, "norm": 47616, "other": 0, "trainable": 750338}
    params |= {
        "backbone": 124645632,
        "tuned": 158208,
        "tuned_percent": 0.126927,
        "trainable_percent": 0.601977,
    }
    record = Record(
        run_id="0123456789ab",
        status="done",
        task="mnli",
        model="roberta_base",
        adapter="krona",
        seed=0,
        config={},
        protocol="petbench",
        metrics=Metrics(
            selection={"accuracy": 0.87125},
            report={
                "validation_matched": {"accuracy": 0.865},
                "validation_mismatched": {"accuracy": 0.86249},
            },
        ),
        headline=Headline(name="accuracy", value=0.865, split="validation_matched", n=9815),
        provenance={
            "marks": ["toy rows", "at most 4000 train rows"],
            "rows": {"selection": 1000, "report/validation_matched": 9815, "report/validation_mismatched": 9832},
        },
    )  # fmt: skip
    printed = io.StringIO()
    row = {"adapter": "krona", "params": params, "mergeable": True}
    with contextlib.redirect_stdout(printed):
        print_table(shown_tables.params_table([row], "Parameters: krona on roberta_base"))
        print_table(shown_tables.scores_table(record))
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


def main() -> None:
    """Write both files."""
    found = {f"{method} on {model}": losses(method, model) for model in MODELS for method in METHODS}
    (GOLDEN / "losses.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (GOLDEN / "train_tables.txt").write_text(tables(), encoding="utf-8")
    print(f"wrote {GOLDEN}", file=sys.stderr)


if __name__ == "__main__":
    main()
