"""`python -m petbench` is the command."""

import subprocess
import sys

from petbench import __version__


def test_python_m_petbench_is_the_command() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "petbench", *arguments], capture_output=True, text=True)

    assert run("--version").stdout == f"petbench {__version__}\n"
    mistake = run("trian")
    assert mistake.returncode == 2 and "Did you mean 'train'?" in mistake.stderr
