"""Nothing on stderr in a run that goes well: no library's notices that a user cannot act on."""

import subprocess
import sys
from pathlib import Path

RUNS = [  # adapter, model, gradient checkpointing
    ("krona", "tiny_gpt2", "true"),
    ("prefix_tuning", "tiny_bert", "true"),
    ("mam", "tiny_t5", "true"),
    ("peft/boft", "tiny_bert", "true"),
    ("peft/ln_tuning", "tiny_t5", "false"),
    ("peft/ia3", "tiny_bert", "false"),
]
CODE = """
import sys
from petbench.cli import run_command

for run in sys.argv[1:]:
    assert run_command(["train", "task=rte", "data=toy", "trainer.max_steps=2", *run.split()]) == 0, run
"""


def test_stderr_is_empty(tmp_path: Path) -> None:
    words = [f"adapter={a} model={m} trainer.gradient_checkpointing={c}" for a, m, c in RUNS]
    command = [sys.executable, "-W", "default", "-W", "ignore::DeprecationWarning", "-c", CODE, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
