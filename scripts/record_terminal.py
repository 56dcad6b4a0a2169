"""Record what a terminal shows, as plain text: a run, a sweep, Ctrl-C, resume, status, report, compare, recommend.

    python scripts/record_terminal.py [--out recording.txt]

Every command runs on a pseudo-terminal of 110 columns. A small emulator applies what the output does to a screen, so
the text is what stands there: once in the middle of a command, where it draws, and at its end.
"""

import argparse
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

WIDTH, HEIGHT = 110, 50
TOY = "task=sst2 data=toy model=tiny_bert optim.lr=2e-2 trainer.max_steps=200"
SWEEP = f"train -m adapter=krona,lora,ia3 seed=0,1,2,3 {TOY} hydra/launcher=joblib hydra.launcher.n_jobs=2"
_SIGN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|([^\x1b])", re.DOTALL)


class Screen:
    """Lines as a terminal shows them: cursor up, erased lines, carriage returns; colours are left out."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self.row = self.column = 0
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._cut = ""  # the beginning of a sequence whose end is still to come

    def feed(self, data: bytes) -> None:
        """Apply output."""
        text = self._cut + self._decode(data)
        begun = re.search(r"\x1b(\[[?0-9;]*)?$", text)
        text, self._cut = (text[: begun.start()], begun[0]) if begun else (text, "")
        for numbers, letter, sign in _SIGN.findall(text):
            if letter:
                self._control(letter, int(numbers) if numbers.isdigit() else 1)
            elif sign == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif sign == "\r":
                self.column = 0
            elif sign >= " ":
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + sign + line[self.column + 1 :]
                self.column += 1

    def _control(self, letter: str, number: int) -> None:
        if letter == "A":
            self.row = max(0, self.row - number)
        elif letter == "K":
            self.lines[self.row] = ""

    @property
    def text(self) -> str:
        """What stands there, without empty lines at the end."""
        return "\n".join(line.rstrip() for line in self.lines).rstrip()


class Recording:
    """Commands and what they showed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.parts: list[str] = []

    def run(
        self,
        words: str,
        look: Callable[[float, str], bool] | None = None,
        interrupt: bool = False,
        also: str = "",
    ) -> None:
        """One command. look: by seconds and screen, whether this is the moment to note the screen (once), to run
        `also` in another shell, and to press Ctrl-C."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "OMP_NUM_THREADS": "1"}
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "petbench", *words.split()],
            cwd=self.place, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        screen, first, looked, seen = Screen(), None, False, ""
        self.parts.append(f"$ petbench {words}")
        while True:
            ready, _, _ = select.select([master], [], [], 0.2)
            try:
                data = os.read(master, 65536) if ready else b""
            except OSError:
                break
            if ready and not data:
                break
            screen.feed(data)
            waited = time.monotonic() - began
            first = waited if first is None and data else first
            if look is not None and not looked and look(waited, screen.text):
                looked, seen = True, screen.text
                self.parts.append(f"--- after {waited:.0f} s the screen shows\n{seen}")
                if also:
                    self.run(also)
                if interrupt:
                    self.parts.append("--- Ctrl-C")
                    os.killpg(process.pid, signal.SIGINT)
        status = process.wait()
        os.close(master)
        self.parts.append(
            f"{'--- at the end' if looked else ''}\n{screen.text}\n"
            f"--- exit {status}; first output after {first or 0:.2f} s, {time.monotonic() - began:.0f} s in all\n"
        )


def main() -> None:
    """Write the recording."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("recording.txt"))
    out = parser.parse_args().out

    def some_done(waited: float, text: str) -> bool:
        return re.search(r"\b[3-9] done", text) is not None or waited > 240

    with tempfile.TemporaryDirectory() as folder:
        tape = Recording(Path(folder))
        tape.run("")
        tape.run(f"train adapter=krona {TOY}", look=lambda _, text: "loss 0" in text)
        tape.run(f"{SWEEP} plan=true")
        tape.run(SWEEP, look=some_done, interrupt=True, also="status")
        tape.run("status")
        tape.run(SWEEP, look=lambda _, text: re.search(r"[1-9] running", text) is not None)
        tape.run(SWEEP)
        tape.run("status")
        tape.run("report")
        tape.run("compare adapter=krona adapter=ia3")
        tape.run("recommend results")
        tape.run("info krona")
        tape.run("list models")
        tape.run("reproduce recipe=krona_table1 plan=true --only adapter=krona,lora")
        out.write_text("\n".join(tape.parts), encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
