"""The first line of a command that takes seconds to start: what will run, read off its arguments alone.

Only quick modules are imported here: the line is printed before Hydra, pydantic and torch are imported.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from petbench.config.tree import conf_dir, key_of
from petbench.console import shown

# Flags that print something and run nothing. Their output is read by a program or is help: it gets no first line.
FLAGS_THAT_ONLY_SHOW = (
    "--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i", "--resolve", "--shell-completion", "-sc",
)  # fmt: skip
_SAID_IN_WORDS = (
    "adapter", "task", "model", "data", "protocol", "seed", "sweep", "recipe", "trainer.max_steps",
    "trainer.epochs", "hydra/launcher", "hydra/sweeper", "plan",
)  # fmt: skip
# Choice -> keys whose value is shown instead of the choice: with `model.name=FOLDER`, the preset is not what runs.
_INSTEAD_OF = {
    "model": ("model.name",), "adapter": ("adapter.method",), "task": ("data.file", "data.hub"),
    "data": ("data.source",), "protocol": ("protocol.name",),
}  # fmt: skip
_LOGS = ("train", "reproduce")  # commands whose standard output is a log; for others it is the result
_TAKE_SECONDS = ("predict", "params", "bench", "merge", "export", "conformance")


def opening(command: str, arguments: Sequence[str]) -> None:
    """Print the line, if the command has one; on standard error if standard output is the command's result."""
    if any(argument.split("=")[0] in FLAGS_THAT_ONLY_SHOW for argument in arguments):
        return
    stream, words = sys.stderr, ""
    if command in _LOGS:
        stream, words = sys.stdout, run_in_words(arguments)
    elif command == "predict":
        words = _predict_in_words(arguments)
    elif command in _TAKE_SECONDS and sys.stderr.isatty():
        words = " ".join(arguments)
    if words:
        with suppress(OSError, ValueError):  # a broken stream is reported when the results are printed
            print(shown(f"petbench {command}: {words}"), file=stream, flush=True)


def run_in_words(arguments: Sequence[str]) -> str:
    """`krona on rte with tiny_bert (data toy, protocol petbench, seed 0, 20 steps)`, and what else was given."""
    given = {
        key_of(word): word.partition("=")[2]
        for word in arguments
        if "=" in word and not word.startswith(("-", "~"))
    }
    values = {**_default_choices(), **_choices_of_a_sweep(given.get("sweep", "")), **given}
    told = {} if "recipe" in given else _instead_of_choices(given)
    values |= {choice: given[key] for choice, key in told.items()}
    plan = "plan of " if given.get("plan") == "true" else ""
    if "recipe" in given:  # the recipe's table has the other values
        axes = [
            f"{key} {given[key].replace(',', ', ')}"
            for key in ("model", "adapter", "task", "seed")
            if key in given
        ]
        place, inside = f"recipe {given['recipe']}: {'; '.join(axes) or 'the whole table'}", ["data"]
    else:
        shown = {key: values[key].replace(",", ", ") for key in ("adapter", "task", "model")}
        kind = f"sweep {given['sweep']}, " if "sweep" in given else ""
        place = f"{kind}{shown['adapter']} on {shown['task']} with {shown['model']}"
        inside = ["data", "protocol", "seed"]
    words = [f"{key} {values.get(key, '0')}" for key in inside]
    words += [f"{given[f'trainer.{key}']} {word}" for key, word in _LENGTHS if f"trainer.{key}" in given]
    words += [f"by {given[key]}" for key in ("hydra/launcher", "hydra/sweeper") if key in given]
    said = {*_SAID_IN_WORDS, *told.values()}
    rest = " ".join(f"{key}={value}" for key, value in given.items() if key not in said)
    return f"{plan}{place} ({', '.join(words)}){f'; {rest}' if rest else ''}"


_AXES = ("model", "adapter", "task", "seed")
_LENGTHS = (("max_steps", "steps"), ("epochs", "epochs"))


def _instead_of_choices(given: Mapping[str, str]) -> dict[str, str]:
    """Choice -> the given key that is shown instead. `data.file` and `data.hub` replace a task that was not chosen."""
    return {
        choice: key
        for choice, keys in _INSTEAD_OF.items()
        for key in keys
        if key in given and (choice != "task" or "task" not in given)
    }


def _predict_in_words(arguments: Sequence[str]) -> str:
    """`3f2a labels new.tsv`; empty unless the first two arguments are RUN and FILE."""
    plain = [argument for argument in arguments[:2] if not argument.startswith("-")]
    return f"{plain[0]} labels {plain[1]}" if len(plain) == 2 else ""


def _default_choices() -> Mapping[str, str]:
    """The choices of `config.yaml`, without a YAML reader: `  - model: minilm`."""
    path = Path(conf_dir(), "config.yaml")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^  - (\w+): (\w+)", text, flags=re.MULTILINE))


def _choices_of_a_sweep(name: str) -> Mapping[str, str]:
    """The choices that the YAML of a sweep makes: `      adapter: glob(*)`."""
    path = Path(conf_dir(), "sweep", f"{name}.yaml")
    text = path.read_text(encoding="utf-8") if name and path.is_file() else ""
    return dict(re.findall(rf"^ {{6}}({'|'.join(_AXES)}): *(.+)", text, flags=re.MULTILINE))
