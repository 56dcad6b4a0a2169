"""A W&B workspace and a W&B report that compare methods, with the panels that docs/wandb.md describes."""

import importlib.util
from typing import Any

from petbench.errors import RunError, UserError

EXTRA = "wandb_workspaces"
NAME = "petbench: methods compared"
INTRO = (
    "Finished runs of petbench, grouped by method. Scores are of report rows, curves of selection rows. The panels "
    "show spreads, but no tests: for verdicts use `petbench report` and `petbench compare` on the same records."
)


def require_extra() -> None:
    """Raise UserError when the package that creates workspaces is not installed."""
    if importlib.util.find_spec(EXTRA) is None:
        raise UserError("wandb-workspaces is not installed. Run: pip install 'petbench[workspace]'")


def workspace(entity: str, project: str) -> Any:
    """The workspace of a project, as a value: `save` sends it."""
    import wandb_workspaces.workspaces as ws  # an extra, and it takes seconds
    from wandb_workspaces import expr

    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name=name, panels=panels, is_open=place < 2)
            for place, (name, panels) in enumerate(_panels().items())
        ],
        runset_settings=ws.RunsetSettings(
            filters=[expr.Summary("status") == "done"],
            groupby=[expr.Config("method"), expr.Config("task")],
            order=[expr.Ordering(expr.Summary("score"), ascending=False)],
        ),
    )


def report(entity: str, project: str) -> Any:
    """The same panels as a report that can be shared, under headings: `save` sends it."""
    import wandb_workspaces.reports.v2 as wr  # an extra, and it takes seconds

    runs = wr.Runset(
        entity=entity, project=project, filters="SummaryMetric('status') = 'done'", groupby=["config.method"]
    )
    blocks: list[Any] = [wr.P(INTRO)]
    for name, panels in _panels().items():
        blocks += [wr.H2(name), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(entity=entity, project=project, title=NAME, description=INTRO, blocks=blocks)


def save(view: Any) -> str:
    """Send a workspace or a report to W&B; returns its address. Raises RunError with W&B's reason when that fails."""
    try:
        return str((view.save() or view).url)
    except Exception as error:  # of whatever kind: the server, the key or the network
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise RunError(
            f"W&B refused the {type(view).__name__.lower()}: {reason}. `petbench doctor` says what can be reached."
        ) from error


def _panels() -> dict[str, list[Any]]:
    """Heading -> panels. docs/wandb.md lists the names: summary fields, short config fields, logged metrics."""
    import wandb_workspaces.reports.v2 as wr  # an extra, and it takes seconds

    spread = {"groupby": wr.Config("method"), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    lines = {"groupby": wr.Config("method"), "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    score, size = wr.SummaryMetric("score"), wr.SummaryMetric("tuned_params")
    step, memory = wr.SummaryMetric("step_seconds"), wr.SummaryMetric("peak_memory_bytes")
    columns = [wr.Config("lr"), wr.Config("seed"), size, wr.SummaryMetric("selection_score")]
    return {
        "Score for the size and the time": [
            wr.ScatterPlot(title="score for the size", x=size, y=score, log_x=True),
            wr.ScatterPlot(title="score for the time of a step", x=step, y=score),
            wr.BarPlot(title="score, mean and spread over seeds", metrics=[score], **spread),
        ],
        "Learning": [
            wr.LinePlot(title="selection score", x="step", y=["selection/score"], **lines),
            wr.LinePlot(title="selection score over seconds", x="seconds", y=["selection/score"], **lines),
            wr.LinePlot(title="training loss", x="step", y=["loss"], smoothing_factor=0.6, **lines),
        ],
        "Cost": [
            wr.BarPlot(title="peak memory", metrics=[memory], groupby=wr.Config("method"), groupby_aggfunc="max"),
            wr.BarPlot(title="time of a step", metrics=[step], **spread),
        ],
        "Tuning": [
            wr.ParallelCoordinatesPlot(
                title="what was tried", columns=[wr.ParallelCoordinatesPlotColumn(metric) for metric in columns]
            ),
            wr.ParameterImportancePlot(with_respect_to="selection_score"),
        ],
        "Answers": [wr.MediaBrowser(media_keys=["learning_curve", "confusion_matrix"])],
    }  # fmt: skip
