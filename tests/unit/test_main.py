"""The command line itself: its other name, its commands, their help."""

import subprocess
import sys

import pytest

from petbench import __version__
from petbench.cli import COMMANDS, USAGE, run_command


def test_python_m_petbench_is_the_command() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "petbench", *arguments], capture_output=True, text=True)

    assert run("--version").stdout == f"petbench {__version__}\n"
    mistake = run("trian")
    assert mistake.returncode == 2 and "Did you mean 'train'?" in mistake.stderr


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])  # Hydra answers for train
def test_every_command_is_there_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_command([name, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: petbench {name}")
    assert f"petbench {name} " in USAGE


@pytest.mark.parametrize("name", ["submit", "predict", "compare", "merge", "export"])
def test_the_results_folder_is_one_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command([name, "--help"])
    assert "--results-dir" in capsys.readouterr().out
