"""W&B runs: one for each petbench run, online if possible, otherwise offline and uploaded later by `petbench sync`.

A failure of W&B never ends a run: it costs a bounded number of seconds and a line on standard error.
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

INIT_SECONDS = 5.0  # W&B's time limit for starting a run; it takes up to about 10 s more
SELECTION = "selection/score"  # the headline metric on the selection rows, under one name for all tasks
MOST_PREDICTIONS = 10_000  # rows of the table of predictions
FINISH_SECONDS = 15.0  # for sending the rest at the end of a run

_said: set[str] = set()  # topics of printed lines: 100 runs in one process say only once why they are offline
_unreachable = False  # whether the server did not answer: this process then does not wait for it again


class WandbTracker:
    """A Tracker that logs to one W&B run. The step is a metric called `step`, so lines may come in any order."""

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
        for earlier in offline_folders(folder):  # all that they hold is logged again
            write_json(earlier / MARKER, {"state": "superseded"})
        arguments = {
            "project": spec.project,
            "entity": spec.entity,
            "id": os.environ.get("WANDB_RUN_ID", run_id) if in_a_sweep() else run_id,
            "name": name,
            "group": spec.group or group,
            "job_type": job_type,
            # W&B refuses tags of more than 64 characters, and its filters do not work with repeated ones.
            "tags": [tag[:64] for tag in dict.fromkeys([*spec.tags, *tags]) if tag],
            "config": flat_keys(config),
            "dir": str(folder),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.run, self.mode = _init(wanted_mode(spec), arguments)
            self.run.define_metric("*", step_metric="step")
            self.run.define_metric(SELECTION, step_metric="step", summary="max")
        except Exception as error:  # whatever fails in W&B is a warning
            self._give_up(error)

    def log(
        self, step: int, values: Mapping[str, float], epoch: float | None = None, seconds: float = 0.0
    ) -> None:
        """Log one history row with the same numbers as in `metrics.jsonl`."""
        row: dict[str, Any] = {"step": int(step), **{key: float(value) for key, value in values.items()}}
        row["seconds"] = round(seconds, 3)
        if epoch is not None:
            row["epoch"] = float(epoch)
        self._try(lambda: self.run.log(row))

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Log a `wandb.Table`; a column may mix numbers, text and empty cells."""
        data = [[_cell(value) for value in row] for row in rows]

        def send() -> None:
            import wandb  # wandb takes seconds

            table = wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)
            self.run.log({name: table})

        self._try(send)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Log fields by which W&B sorts and compares runs; None is left out, since W&B would show it as text."""
        known = {key: _cell(value) for key, value in values.items() if value is not None}
        self._try(lambda: self.run.summary.update(known))

    def image(self, name: str, path: Path) -> None:
        """Log a picture file as a `wandb.Image`."""

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
        """Log the table `predictions` (row ids, labels and answers, no texts) and, for classes, a confusion matrix."""
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
        """Log the folder as an artifact of type `adapter`, if `logger.artifact=true`."""
        if not self._artifacts:
            return

        def send() -> None:
            import wandb  # wandb takes seconds

            artifact = wandb.Artifact(name=name.replace("/", "-"), type="adapter", metadata=dict(facts or {}))
            artifact.add_dir(str(folder))
            self.run.log_artifact(artifact, aliases=["latest", *aliases])

        self._try(send)

    def finish(self, status: str) -> None:
        """Log the run's status and send the rest; what cannot be sent in time is left to `petbench sync`."""
        self.summary({"status": status})
        if self.run is None or self._dead:
            return
        try:
            self.run.finish(exit_code=0 if status in ("done", "paused") else 1)
        except TimeoutError:
            folder = self._folder()
            if folder is not None:
                write_json(folder / MARKER, {"state": "incomplete"})
            _say(
                "upload",
                f"W&B needed over {FINISH_SECONDS:.0f} s to upload the rest. Upload it later: petbench sync",
            )
        except Exception as error:  # as above
            self._give_up(error)

    def reference(self) -> dict[str, Any]:
        """`path` (entity/project/run id, as far as known), `url` when online, `mode`, `folder` (in the run's own)."""
        if self.run is None:
            return {"mode": self.mode}
        parts = [self.run.entity, self.run.project, self.run.id]
        folder = self._folder()
        found = {"path": "/".join(part for part in parts if part), "mode": self.mode}
        if self.mode == "online" and self.run.url:
            found["url"] = self.run.url
        return {**found, "folder": f"wandb/{folder.name}"} if folder is not None else found

    def _folder(self) -> Path | None:
        """`<run folder>/wandb/offline-run-…`, the parent of the `files` folder that W&B names."""
        return Path(self.run.dir).parent if self.run is not None else None

    def _try(self, call: Callable[[], Any]) -> None:
        """Call W&B. If that fails, print one warning and do not call W&B again; the run goes on."""
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
    """Whether an agent of a W&B sweep started this process: the W&B run then has the id that the sweep chose."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def flat_keys(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"optim": {"lr": 1}}` -> `{"optim/lr": 1}`; tuples become lists.

    The separator is a slash, because W&B reads a dot in a key as nesting and then cannot filter or group by the key.
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
    """The spec's mode; for `auto`, that of the environment variable WANDB_MODE if it is set."""
    mode = os.environ.get("WANDB_MODE", "auto") if spec.mode == "auto" else spec.mode
    return "offline" if mode == "dryrun" else mode  # the older name of offline


def _init(wanted: str, arguments: Mapping[str, Any]) -> tuple[Any, Literal["online", "offline"]]:
    """Start a W&B run, online if that is wanted (or `auto`) and possible, otherwise offline; with the mode used."""
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
                wandb.teardown()  # otherwise its service would keep the run's id in use
    run = wandb.init(mode="offline", settings=_settings(online=False), **arguments)
    results = Path(arguments["dir"]).parent.parent
    _say(
        "offline",
        f"W&B: {reason}. Upload later: petbench sync {results}, or: wandb sync {Path(run.dir).parent}",
    )
    return run, "offline"


def _settings(online: bool) -> Any:
    """W&B's settings, with time limits; settings that the installed version does not know are left out."""
    import wandb  # wandb takes seconds

    wanted: dict[str, Any] = {
        "init_timeout": INIT_SECONDS,
        "finish_timeout": FINISH_SECONDS,
        "finish_timeout_raises": True,
        "reinit": "create_new",  # several runs may be open in one process
        "console": "off",
        "silent": True,
        "symlink": False,
    }
    if online:
        wanted["base_url"] = base_url()  # the server that was found to answer
    else:  # offline, the system monitor is of no use, and it may ask the network what machine this is
        wanted |= {"x_disable_stats": True, "x_disable_meta": True}
    return wandb.Settings(
        **{key: value for key, value in wanted.items() if key in wandb.Settings.model_fields}
    )


def _cell(value: Any) -> Any:
    """The value as W&B can store it: a number, text, a truth value or None."""
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
