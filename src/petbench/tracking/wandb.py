"""W&B runs: one per petbench run, online when that works, else offline and uploaded later by `sync`.

W&B is a guest: it may cost a run a bounded number of seconds and a line on stderr, never the run.
"""

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from petbench.config.sections import LoggerSpec
from petbench.console import shown
from petbench.files import write_json
from petbench.tracking.sync import MARKER, base_url, has_key, offline_folders, reachable

INIT_SECONDS = 5.0  # of W&B's own waiting; it adds about 10 of its own
SELECTION = "selection/score"  # the headline metric on the selection rows, under one name for all tasks
MOST_PREDICTIONS = 10_000  # rows of the table of predictions
FINISH_SECONDS = 15.0  # to send the rest at the end of a run

_said: set[str] = set()  # a sweep of 100 runs in one process says why it is offline once
_unreachable = False  # a server that did not answer is not waited for again in this process


class WandbTracker:
    """A Tracker on one W&B run. Steps are the metric `step`, so lines may come in any order."""

    def __init__(
        self,
        spec: LoggerSpec,
        folder: Path,
        run_id: str,
        config: Mapping[str, Any],
        *,
        tags: Sequence[str] = (),
        group: str | None = None,
        job_type: str = "train",
        name: str | None = None,
    ) -> None:
        self._artifacts = spec.artifact
        self._dead = False
        self.run: Any = None
        self.mode: str = "failed"
        for earlier in offline_folders(folder):  # this run tells all of it again
            write_json(earlier / MARKER, {"state": "superseded"})
        arguments = {
            "project": spec.project,
            "entity": spec.entity,
            "id": os.environ.get("WANDB_RUN_ID", run_id) if in_a_sweep() else run_id,
            "name": name,
            "group": spec.group or group,
            "job_type": job_type,
            # W&B refuses tags longer than 64 characters and repeated ones confuse its filters.
            "tags": [tag[:64] for tag in dict.fromkeys([*spec.tags, *tags]) if tag],
            "config": flat_keys(config),
            "dir": str(folder),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.run, self.mode = _init(wanted_mode(spec), arguments)
            self.run.define_metric("*", step_metric="step")
            self.run.define_metric(SELECTION, step_metric="step", summary="max")
        except Exception as error:  # a guest's failure, of whatever kind, is a warning
            self._give_up(error)

    def log(
        self, step: int, values: Mapping[str, float], epoch: float | None = None, seconds: float = 0.0
    ) -> None:
        """One history row, the same numbers as in `metrics.jsonl`."""
        row: dict[str, Any] = {"step": int(step), **{key: float(value) for key, value in values.items()}}
        row["seconds"] = round(seconds, 3)
        if epoch is not None:
            row["epoch"] = float(epoch)
        self._try(lambda: self.run.log(row))

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A `wandb.Table`; a column may mix numbers, text and empty cells."""
        data = [[_cell(value) for value in row] for row in rows]

        def send() -> None:
            import wandb  # wandb takes seconds

            table = wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)
            self.run.log({name: table})

        self._try(send)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Fields to sort and compare runs by; None is left out, since W&B would show it as text."""
        known = {key: _cell(value) for key, value in values.items() if value is not None}
        self._try(lambda: self.run.summary.update(known))

    def image(self, name: str, path: Path) -> None:
        """A `wandb.Image` of a picture file."""

        def send() -> None:
            import wandb  # wandb takes seconds

            self.run.log({name: wandb.Image(str(path))})

        self._try(send)

    def answers(
        self,
        names: Sequence[str],
        ids: Sequence[int],
        labels: Sequence[float],
        answers: Sequence[int | float | None],
    ) -> None:
        """W&B's own confusion matrix, where there are classes, and the table `predictions`, of ids and no texts."""
        said = [(None if answer is None else names[int(answer)]) if names else answer for answer in answers]
        right = [names[int(label)] if names else label for label in labels]
        lines = list(zip(ids, right, said, strict=True))[:MOST_PREDICTIONS] if right else []
        if lines:
            self.table("predictions", ["idx", "label", "answer"], lines)
        if not (names and right):
            return

        def send() -> None:
            import wandb  # wandb takes seconds

            codes = [len(names) if answer is None else int(answer) for answer in answers]
            classes = [*names, *(["no label"] if None in answers else [])]
            plot = wandb.plot.confusion_matrix(
                y_true=[int(label) for label in labels],
                preds=codes,
                class_names=classes,
                title="answers by label",
            )
            self.run.log({"confusion": plot})

        self._try(send)

    def artifact(
        self, name: str, folder: Path, facts: Mapping[str, Any] | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """The folder as an artifact of type `adapter`, when `logger.artifact=true`."""
        if not self._artifacts:
            return

        def send() -> None:
            import wandb  # wandb takes seconds

            artifact = wandb.Artifact(name=name.replace("/", "-"), type="adapter", metadata=dict(facts or {}))
            artifact.add_dir(str(folder))
            self.run.log_artifact(artifact, aliases=["latest", *aliases])

        self._try(send)

    def finish(self, status: str) -> None:
        """Mark the run's status and send the rest; what cannot be sent in time stays for `sync`."""
        self.summary({"status": status})
        if self.run is None or self._dead:
            return
        try:
            self.run.finish(exit_code=0 if status in ("done", "paused") else 1)
        except TimeoutError:
            folder = self._folder()
            if folder is not None:
                write_json(folder / MARKER, {"state": "incomplete"})
            _say("upload", f"W&B took over {FINISH_SECONDS:.0f} s to take the rest. Later: petbench sync")
        except Exception as error:  # as above
            self._give_up(error)

    def reference(self) -> dict[str, Any]:
        """`path` (entity/project/run id, as far as known), `url` when online, `mode`, `folder` (its name)."""
        if self.run is None:
            return {"mode": self.mode}
        parts = [self.run.entity, self.run.project, self.run.id]
        folder = self._folder()
        found = {"path": "/".join(part for part in parts if part), "mode": self.mode}
        if self.mode == "online" and self.run.url:
            found["url"] = self.run.url
        return {**found, "folder": f"wandb/{folder.name}"} if folder is not None else found

    def _folder(self) -> Path | None:
        """`<run folder>/wandb/offline-run-…`: W&B gives the `files` folder inside it."""
        return Path(self.run.dir).parent if self.run is not None else None

    def _try(self, call: Callable[[], Any]) -> None:
        """A failed call is one warning; after it W&B is left alone and the run goes on."""
        if self.run is None or self._dead:
            return
        try:
            call()
        except Exception as error:  # as above
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._dead = True
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        _say(f"error: {reason}", f"W&B logging stopped: {reason}. The run goes on; its record is complete.")


def in_a_sweep() -> bool:
    """Whether an agent of a W&B sweep started this process: the run then has the id that the sweep gave it."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def flat_keys(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"optim": {"lr": 1}}` -> `{"optim/lr": 1}`; tuples become lists.

    The separator is a slash because W&B reads a dot in a key as a level of nesting and then finds
    nothing to filter or group by.
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flat_keys(value, f"{path}/"))
        else:
            flat[path] = list(value) if isinstance(value, tuple) else value
    return flat


def wanted_mode(spec: LoggerSpec) -> str:
    """The spec's mode; under `auto`, W&B's own WANDB_MODE decides where it is set."""
    mode = os.environ.get("WANDB_MODE", "auto") if spec.mode == "auto" else spec.mode
    return "offline" if mode == "dryrun" else mode  # its older name


def _init(wanted: str, arguments: Mapping[str, Any]) -> tuple[Any, Literal["online", "offline"]]:
    """A started run and its mode: online where it is asked for (or `auto` and possible), else offline."""
    global _unreachable
    import wandb  # wandb takes seconds

    reason = "offline, as asked"
    if wanted != "offline":
        if not has_key():
            reason = "no API key, so offline"
        elif _unreachable or not reachable(base_url()):
            _unreachable = True
            reason = f"{base_url()} does not answer, so offline"
        else:
            try:
                return wandb.init(mode="online", settings=_settings(online=True), **arguments), "online"
            except (wandb.errors.UsageError, wandb.errors.CommError) as error:
                _unreachable = True
                reason = f"{str(error).splitlines()[0]} So offline"
                wandb.teardown()  # its service would go on holding the run's id
    run = wandb.init(mode="offline", settings=_settings(online=False), **arguments)
    results = Path(arguments["dir"]).parent.parent
    _say(
        "offline",
        f"W&B: {reason}. Upload later: petbench sync {results}, or: wandb sync {Path(run.dir).parent}",
    )
    return run, "offline"


def _settings(online: bool) -> Any:
    """W&B's settings, bounded in time; those that this version does not know are left out."""
    import wandb  # wandb takes seconds

    wanted: dict[str, Any] = {
        "init_timeout": INIT_SECONDS,
        "finish_timeout": FINISH_SECONDS,
        "finish_timeout_raises": True,
        "reinit": "create_new",  # lanes keep several runs open in one process
        "console": "off",
        "silent": True,
        "symlink": False,
    }
    if online:
        wanted["base_url"] = base_url()  # the server that was found to answer
    else:  # nothing to measure for a file, and the monitor may ask the network for the machine
        wanted |= {"x_disable_stats": True, "x_disable_meta": True}
    return wandb.Settings(
        **{key: value for key, value in wanted.items() if key in wandb.Settings.model_fields}
    )


def _cell(value: Any) -> Any:
    """A value that W&B stores as it is: numbers, text, truth values, None."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else str(number)


def _say(topic: str, line: str) -> None:
    if topic not in _said:
        _said.add(topic)
        with suppress(OSError):
            print(shown(line), file=sys.stderr)
