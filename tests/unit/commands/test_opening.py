"""The first line: what it says of the arguments, where it goes, and that nothing slow is imported before it."""

import subprocess
import sys

import pytest

from petbench.commands.opening import opening, run_in_words


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "krona on rte with minilm (data auto, protocol petbench, seed 0)"),
        (
            ["adapter=lora", "task=sst2", "data=toy", "model=tiny_bert", "trainer.max_steps=20", "seed=3"],
            "lora on sst2 with tiny_bert (data toy, protocol petbench, seed 3, 20 steps)",
        ),
        (
            ["-m", "adapter=krona,lora", "seed=0,1", "optim.lr=1e-3", "hydra/launcher=joblib"],
            "krona, lora on rte with minilm (data auto, protocol petbench, seed 0,1, by joblib); optim.lr=1e-3",
        ),
        (
            ["sweep=seeds", "plan=true"],
            "plan of sweep seeds, krona on rte with minilm (data auto, protocol petbench, seed 0,1,2,3,4)",
        ),
        (
            ["sweep=all_methods", "model.name=./my-bert", "data.file=reviews.tsv"],
            "sweep all_methods, glob(*) on reviews.tsv with ./my-bert (data auto, protocol petbench, seed 0)",
        ),
        (
            ["model=bert_base", "model.name=/weights/b", "data.source=toy", "protocol.name=glue_dev"],
            "krona on rte with /weights/b (data toy, protocol glue_dev, seed 0)",
        ),
        (
            ["recipe=krona_table1", "model.name=/weights/t5", "task=rte"],
            "recipe krona_table1: task rte (data auto); model.name=/weights/t5",
        ),
        (
            ["recipe=krona_table1", "++adapter.scale=4"],
            "recipe krona_table1: the whole table (data auto); adapter.scale=4",
        ),
        (["trainer.epochs=5"], "krona on rte with minilm (data auto, protocol petbench, seed 0, 5 epochs)"),
    ],
)  # fmt: skip
def test_what_runs_in_words(arguments: list[str], line: str) -> None:
    assert run_in_words(arguments) == line


def test_a_product_on_standard_output_stays_alone(capsys: pytest.CaptureFixture[str]) -> None:
    opening("predict", ["3f2a", "new.tsv", "--out", "labels.tsv"])
    opening("params", ["adapter=krona", "--json"])  # standard error is not a terminal here
    opening("report", ["results"])
    opening("train", ["adapter=krona", "--cfg", "job"])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "petbench predict: 3f2a labels new.tsv\n")
    opening("reproduce", ["recipe=krona_table1"])
    assert capsys.readouterr().out.startswith("petbench reproduce: recipe krona_table1: ")


def test_the_line_is_out_before_anything_slow_is_imported() -> None:
    code = (
        "import sys\nfrom petbench.commands.opening import opening\nopening('train', ['adapter=krona'])\n"
        "slow = {'torch', 'transformers', 'hydra', 'omegaconf', 'pydantic', 'numpy', 'yaml'}\n"
        "print(*sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, loaded = done.stdout.splitlines()
    assert first.startswith("petbench train: krona on rte") and loaded == ""
