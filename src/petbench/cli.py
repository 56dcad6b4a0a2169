"""The command line: `petbench COMMAND …`; finds the command, prints errors, sets the exit status."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from petbench import __version__
from petbench.errors import RunError, UserError, unknown

USAGE = """petbench: a GLUE benchmarking harness for parameter-efficient tuning

A first run, on generated rows, takes seconds:
  petbench train adapter=krona task=sst2 data=toy model=tiny_bert optim.lr=2e-2 trainer.max_steps=300

Then:
  petbench train adapter=krona task=rte     one run; -m sweeps; Hydra's flags all work
  petbench train adapter=krona data.file=tickets.csv
                                            the same on rows of your own
  petbench params adapter=krona model=t5_base [--json]
                                            parameters by part; no weights, no data
  petbench list adapters|tasks|models|recipes|sweeps
  petbench info krona                       formula, where it sits, counts, settings, published numbers
  petbench status [RESULTS_DIR] [--watch]   which runs are running, waiting, done, failed; the time left
  petbench report [RESULTS_DIR] [--where task=rte] [--out DIR]
                                            tables, plots and one HTML page
  petbench compare A B                      whether the difference between two methods is real
  petbench recommend [RESULTS_DIR] [--max-params 20k]
                                            which method to use
  petbench power task=rte seeds=5           how small a difference these seeds can show
  petbench reproduce recipe=krona_table1    a published table beside ours
  petbench submit RUNS… --out glue.zip      the GLUE test files, checked
  petbench predict RUN FILE                 label new text; a folder of runs is an ensemble
  petbench merge RUN --out DIR              a plain Hugging Face checkpoint
  petbench export RUN --to peft --out DIR   a PEFT adapter
  petbench bench                            step time, memory and latency, side by side
  petbench new task NAME --from FILE        a task's YAML, read off its rows
  petbench data fetch|check DIR             GLUE on disk, with checksums
  petbench conformance NAME                 run the checks that every method must pass
  petbench new method NAME --dir DIR        a package with a method of your own
  petbench sync [RESULTS_DIR]               upload offline W&B runs
  petbench wandb workspace|report ENTITY/PROJECT
                                            a W&B workspace or report that compares methods
  petbench doctor                           what is installed, and what can be reached

`petbench COMMAND --help` says more. --debug shows the traceback of an error.
Tab completion: eval "$(petbench train -sc install=bash)"
"""


# Commands that go on when standard output breaks: the result of their hours of work is files, not text.
GOES_ON = ("train", "reproduce")


def main() -> None:
    """Entry point of the console script. Exit status: 0; 1 for a failed run; 2 for a user's mistake; 130, 143 or 129
    after Ctrl-C, SIGTERM or SIGHUP."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")  # characters that the terminal lacks
    sys.exit(run_command(sys.argv[1:]))


def run_command(argv: Sequence[str]) -> int:
    """Run one command and return its exit status. An error is printed in a few lines."""
    arguments = [argument for argument in argv if argument != "--debug"]
    debug = len(arguments) < len(argv)
    try:
        _say_what_is_asked(arguments)
        from petbench.machine.signals import stop_signals  # after the first line, as it takes a moment

        with stop_signals():
            return _after_output(_dispatch(arguments), arguments)
    except UserError as error:
        return _failed(error, 2, debug)
    except RunError as error:
        return _failed(error, 1, debug)
    except KeyboardInterrupt as stop:
        from petbench.machine.signals import exit_status

        status = exit_status(stop)
        with suppress(OSError):
            print("interrupted" if status == 130 else f"interrupted ({stop})", file=sys.stderr)
        return status
    except OSError as error:
        return _world_broke(error, arguments, debug)
    except Exception as error:
        bug = RunError(
            f"{type(error).__name__}: {error}\nA bug in petbench: run the same command with --debug to see where."
        )
        return _failed(bug, 1, debug)


def _say_what_is_asked(arguments: Sequence[str]) -> None:
    """Print the first line before anything slow is imported; of several processes of a run, only the first does."""
    if arguments and arguments[0] in COMMANDS and os.environ.get("RANK", "0") == "0":
        from petbench.commands.opening import opening

        opening(arguments[0], arguments[1:])


def _failed(error: Exception, status: int, debug: bool) -> int:
    from petbench.console import shown

    with suppress(OSError):  # standard error may be closed, too
        if debug:
            traceback.print_exc()
        print(f"error: {shown(str(error))}", file=sys.stderr)
    return status


def _world_broke(error: OSError, arguments: Sequence[str], debug: bool) -> int:
    """The exit status after reading or writing a file, a disk or a pipe failed."""
    if error.filename is None and (isinstance(error, BrokenPipeError) or _output_error() is not None):
        from petbench.console import out

        out.lose(error)
        return _after_output(0, arguments)
    wrong_place = error.filename is not None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    place = f"{error.filename}: " if error.filename is not None else ""
    return _failed(RunError(f"{place}{error.strerror or error}."), 2 if wrong_place else 1, debug)


def _after_output(status: int, arguments: Sequence[str]) -> int:
    """The exit status once everything is printed: 1 if the printed text is the command's result and writing it failed.

    A pipe that its reader closed is not a failure.
    """
    error = _output_error()
    if error is None and "petbench.console" not in sys.modules:
        return status
    from petbench.console import out

    lost = out.end(error)
    if lost is None or isinstance(lost, BrokenPipeError) or arguments[0] in GOES_ON:
        return status
    return _failed(RunError(f"standard output: {lost.strerror or lost}."), 1, debug=False)


def _output_error() -> OSError | None:
    """The error that writing to standard output raises, or None."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"petbench {__version__}")
        return 0
    if arguments[0] == "-sc":  # Tab completion: the shell calls the program without a command
        return _complete(arguments)
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    module, function = COMMANDS[name]
    status: int = getattr(import_module(module), function)(rest)
    return status


def _complete(arguments: list[str]) -> int:
    """Complete the words after `train` as Hydra does, and the first word with the names of the commands."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) < 3 and any(argument.startswith("query=") for argument in arguments):
        start = words[1] if len(words) > 1 else ""
        print("\n".join(name for name in COMMANDS if name.startswith(start)))
        return 0
    line = os.environ.get("COMP_LINE", "")
    removed = len(words[1]) + 1 if len(words) > 1 and words[1] in COMMANDS else 0
    os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]]) if removed else line
    if "COMP_POINT" in os.environ:
        os.environ["COMP_POINT"] = str(int(os.environ["COMP_POINT"]) - removed)
    from petbench.commands.train import train_main

    return train_main(arguments)


# Command -> its module and function. Only the command that was given is imported: the imports of all take seconds.
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("petbench.commands.train", "train_main"),
    "params": ("petbench.commands.params", "params_main"),
    "list": ("petbench.commands.list", "list_main"),
    "status": ("petbench.commands.status", "status_main"),
    "info": ("petbench.commands.info", "info_main"),
    "report": ("petbench.commands.report", "report_main"),
    "compare": ("petbench.commands.compare", "compare_main"),
    "recommend": ("petbench.commands.recommend", "recommend_main"),
    "power": ("petbench.commands.power", "power_main"),
    "reproduce": ("petbench.commands.reproduce", "reproduce_main"),
    "submit": ("petbench.commands.submit", "submit_main"),
    "predict": ("petbench.commands.predict", "predict_main"),
    "data": ("petbench.commands.data", "data_main"),
    "merge": ("petbench.commands.export", "merge_main"),
    "export": ("petbench.commands.export", "export_main"),
    "bench": ("petbench.commands.bench", "bench_main"),
    "conformance": ("petbench.commands.conformance", "conformance_main"),
    "new": ("petbench.commands.new", "new_main"),
    "wandb": ("petbench.commands.wandb", "wandb_main"),
    "sync": ("petbench.commands.sync", "sync_main"),
    "doctor": ("petbench.commands.doctor", "doctor_main"),
}


if __name__ == "__main__":
    main()
