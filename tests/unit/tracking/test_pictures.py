"""Pictures of a run: the counts of the confusion matrix, and trouble that ends no run."""

from pathlib import Path
from typing import Any

import pytest

from petbench.record import Best, Headline, Record
from petbench.tracking import pictures as run_plots
from petbench.tracking.pictures import confusion, send_pictures


class Told:
    """A tracker with a W&B run, as far as pictures go."""

    def __init__(self, mode: str | None) -> None:
        self.mode = mode
        self.images: list[tuple[str, Path]] = []

    def reference(self) -> dict[str, Any]:
        return {"mode": self.mode} if self.mode else {}

    def image(self, name: str, path: Path) -> None:
        self.images.append((name, path))


def record() -> Record:
    """One with two evaluations."""
    curve = tuple(
        {"step": 10.0 * n, "epoch": 0.5 * n, "seconds": 1.0, "loss": 1.0 / n, "score": 0.5} for n in (1, 2)
    )
    return Record(
        run_id="abc", status="done", task="rte", model="m", adapter="krona", seed=0, config={}, protocol="p",
        headline=Headline(name="accuracy", value=0.5, split="validation", n=4),
        best=Best(step=10, epoch=0.5), curve=curve,
    )  # fmt: skip


def test_confusion_counts_labels_against_answers() -> None:
    assert confusion([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], 2) == [[1, 1], [1, 2]]
    assert confusion([0, 2], [None, 2], 3) == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("labels", "names"), [(("no", "yes"), ["learning_curve", "confusion_matrix"]), ((), ["learning_curve"])]
)
def test_a_regression_has_no_matrix(tmp_path: Path, labels: tuple[str, ...], names: list[str]) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    told = Told("offline")
    send_pictures(told, record(), tmp_path, labels, [0, 1, 1], [0, 1, None])  # type: ignore[arg-type]
    assert [name for name, _ in told.images] == names
    assert all(path.read_bytes()[:4] == b"\x89PNG" for _, path in told.images)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(
        f"{name}.png" for name in names
    )


def test_without_wandb_nothing_is_drawn(tmp_path: Path) -> None:
    for mode in (None, "failed"):
        send_pictures(Told(mode), record(), tmp_path, (), (), [])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_as_files_without_wandb_where_they_are_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    send_pictures(Told(None), record(), tmp_path, ("no", "yes"), [0, 1, 1], [0, 1, 0], always=True)  # type: ignore[arg-type]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "learning_curve.png",
        "confusion_matrix.png",
    }


def test_a_failing_picture_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    (tmp_path / "plots").write_text("in the way")
    told = Told("offline")
    send_pictures(told, record(), tmp_path, (), (), [])  # type: ignore[arg-type]
    assert told.images == []
    assert "warning: no pictures of run abc: UserError: cannot write" in capsys.readouterr().err


def test_without_matplotlib_it_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_plots, "available", lambda: False)
    run_plots._say_missing.cache_clear()
    for _ in range(2):
        send_pictures(Told("offline"), record(), tmp_path, (), (), [])  # type: ignore[arg-type]
    assert capsys.readouterr().err.count("pip install 'petbench[plot]'") == 1
