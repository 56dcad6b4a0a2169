"""Equal tuning budgets: which trials, which choice, what it cost."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import pytest

from petbench.compose.expand import Composed, choice, expand
from petbench.config.tree import options
from petbench.errors import UserError
from petbench.record import Cost, Headline, Metrics, Point, Record
from petbench.sweep.members import as_planned
from petbench.sweep.trials import (
    Trial,
    TunedCell,
    as_overrides,
    better,
    choose,
    cost_of,
    final_note,
    is_tuned,
    pruner,
    searched_settings,
    tuned_cells,
)

SPACE = {"optim.lr": [1e-3, 1e-2], "adapter.rank": [4, 8, 16]}


def anything_goes(values: dict[str, Any]) -> str:
    return repr(values)


def cell(
    space: dict[str, list[Any]], overrides: tuple[str, ...] = ("adapter=lora",), **own: Any
) -> TunedCell:
    values = {
        "adapter": {"method": "lora", "rank": 8, "tuning": {"search": space}},
        "optim": {"lr": 1e-3},
        "task": {"name": "rte"},
        "budget_runs": 4,
        "final_seeds": 3,
        "trial_seed": 1000,
    }
    return TunedCell("lora rte", overrides, values | own, (0, 1, 2))


def record(score: float, report: float = 0.0, status: Any = "done", seconds: float = 10.0) -> Record:
    return Record(
        run_id="x", status=status, task="rte", model="m", adapter="lora", seed=0, config={}, protocol="petbench",
        metrics=Metrics(selection={"accuracy": score}, report={"validation": {"accuracy": report}}),
        headline=Headline(name="accuracy", value=report, split="validation", n=10),
        cost=Cost(train_seconds=seconds, eval_seconds=1.0),
    )  # fmt: skip


def test_trials_are_distinct_settings_of_the_space_in_a_fixed_order() -> None:
    trials = cell(SPACE).trials(anything_goes)
    assert len(trials) == len({trial.setting for trial in trials}) == 4
    assert all(dict(trial.setting)["optim.lr"] in SPACE["optim.lr"] for trial in trials)
    assert all(dict(trial.setting)["adapter.rank"] in SPACE["adapter.rank"] for trial in trials)
    assert trials == cell(SPACE).trials(anything_goes)
    assert all(trial.overrides[-2:] == ("++seed=1000", "++tuning={role:trial}") for trial in trials)


def test_a_larger_budget_goes_on_where_a_smaller_one_ends() -> None:
    small, large = (cell(SPACE, budget_runs=n).trials(anything_goes) for n in (2, 6))
    assert large[:2] == small


@pytest.mark.parametrize(("budget", "seeds"), [(6, [1000] * 6), (8, [1000] * 6 + [1001] * 2), (13, None)])
def test_every_method_gets_the_same_number_however_small_its_space(
    budget: int, seeds: list[int] | None
) -> None:
    trials = cell(SPACE, budget_runs=budget).trials(anything_goes)
    assert len(trials) == budget
    assert len(set(trials)) == budget  # a setting comes again on another seed only
    found = [int(trial.overrides[-2].removeprefix("++seed=")) for trial in trials]
    assert found == (seeds or [1000] * 6 + [1001] * 6 + [1002])


def test_settings_without_a_place_cost_no_trial() -> None:
    def small_ranks(values: dict[str, Any]) -> str:
        if values["adapter"]["rank"] > 4:
            raise UserError("nowhere")
        return repr(values)

    trials = cell(SPACE).trials(small_ranks)
    assert [dict(trial.setting)["adapter.rank"] for trial in trials] == [4] * 4
    with pytest.raises(UserError, match="nowhere"):
        cell({"adapter.rank": [8, 16]}).trials(small_ranks)


def test_settings_that_make_one_run_are_one_trial() -> None:
    """As under a budget, which sets the rank: two learning rates are left, and the other trials take another seed."""
    trials = cell(SPACE).trials(lambda values: repr(values["optim"]))
    assert [dict(trial.setting)["optim.lr"] for trial in trials[:2]] in ([1e-3, 1e-2], [1e-2, 1e-3])
    assert [trial.setting for trial in trials[2:]] == [trial.setting for trial in trials[:2]]
    assert [trial.overrides[-2] for trial in trials] == ["++seed=1000"] * 2 + ["++seed=1001"] * 2


def test_a_budget_leaves_no_size_to_search() -> None:
    (tuned,) = tuned_cells(members("adapter=pfeiffer", "task=rte", "budget.params=3000"))
    trials = tuned.trials(as_planned)
    assert sorted(dict(trial.setting)["optim.lr"] for trial in trials if "1000" in trial.overrides[-2]) == [
        3e-4, 1e-3, 3e-3,
    ]  # fmt: skip
    assert len(set(trials)) == len(trials) == 8


def test_the_plan_sees_the_setting_and_none_of_the_sweeps_own_keys() -> None:
    seen: list[dict[str, Any]] = []

    def look(values: dict[str, Any]) -> str:
        seen.append(values)
        return repr(values)

    cell(SPACE, budget_runs=6).trials(look)
    assert {(v["optim"]["lr"], v["adapter"]["rank"]) for v in seen} == {
        (a, b) for a in (1e-3, 1e-2) for b in (4, 8, 16)
    }
    assert not {"budget_runs", "final_seeds", "trial_seed"} & seen[0].keys()


def test_what_the_user_fixes_is_not_searched() -> None:
    trials = cell(SPACE, ("adapter=lora", "++optim.lr=5e-4"), budget_runs=3).trials(anything_goes)
    assert [dict(trial.setting).keys() for trial in trials] == [{"adapter.rank"}] * 3
    fixed = ("adapter=lora", "++optim.lr=5e-4", "++adapter.rank=4")
    with pytest.raises(
        UserError, match="nothing to tune for lora: its search space is fixed by the command line"
    ):
        cell(SPACE, fixed).trials(anything_goes)
    with pytest.raises(UserError, match=r"its YAML has no tuning\.search"):
        cell({}).trials(anything_goes)


def test_trial_seeds_keep_away_from_final_ones() -> None:
    with pytest.raises(UserError, match="trial_seed=1: trials would use seeds of the final runs"):
        cell(SPACE, trial_seed=1).trials(anything_goes)


@pytest.mark.parametrize(("key", "value"), [("budget_runs", 0), ("budget_runs", "8x"), ("trial_seed", True)])
def test_counts_are_whole_numbers(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"{key}: got {value!r}. Legal: a whole number from"):
        cell(SPACE, **{key: value}).trials(anything_goes)


def trials_over(*rates: float) -> list[Trial]:
    return [Trial((("optim.lr", rate),), ("x",)) for rate in rates]


def test_the_selection_rows_choose_and_the_report_rows_do_not() -> None:
    chosen = choose(trials_over(1e-3, 1e-2), [record(0.8, report=0.1), record(0.7, report=0.9)])
    assert chosen is not None
    assert (chosen.setting, chosen.score, chosen.runs) == ((("optim.lr", 1e-3),), 0.8, 2)
    assert cost_of(chosen.records) == (0, 22.0)


def test_a_setting_tried_twice_counts_with_its_mean() -> None:
    chosen = choose(trials_over(1e-3, 1e-2, 1e-3), [record(0.9), record(0.75), record(0.5)])
    assert chosen is not None
    assert (dict(chosen.setting)["optim.lr"], chosen.score, chosen.runs) == (1e-2, 0.75, 3)


def test_the_first_among_equals_wins_and_failed_trials_cost_their_runs_and_seconds() -> None:
    chosen = choose(trials_over(3.0, 1.0, 2.0), [record(0.9, status="failed"), record(0.5), record(0.5)])
    assert chosen is not None
    assert (dict(chosen.setting)["optim.lr"], chosen.runs) == (1.0, 3)
    assert cost_of(chosen.records) == (0, 33.0)
    assert choose(trials_over(1.0), [None]) is None
    assert choose(trials_over(1.0), [record(0.9, status="diverged")]) is None


def test_finals_run_the_choice_on_their_seeds_with_the_cost() -> None:
    tuned = cell(SPACE)
    chosen = choose(trials_over(1e-2), [record(0.75)])
    assert chosen is not None
    assert tuned.finals(chosen) == [
        (
            "adapter=lora",
            "++optim.lr=0.01",
            f"++seed={seed}",
            "++tuning={role:final,runs:1,steps:0,seconds:11.000,searched:[]}",
        )
        for seed in (0, 1, 2)
    ]


def test_what_was_searched_is_where_the_trials_differ() -> None:
    """What follows from a searched setting is searched, too; the seed is not, nor what only a failed trial had."""
    tried = [(4, 8.0, 1e-3, 1000), (8, 16.0, 1e-3, 1000), (8, 16.0, 1e-3, 1001)]
    configs = [
        {"adapter": {"method": "lora", "rank": r, "alpha": a}, "optim": {"lr": lr}, "seed": s}
        for r, a, lr, s in tried
    ]
    failed = record(0.9, status="failed").model_copy(update={"config": configs[0] | {"optim": {"lr": 1e-2}}})
    done = [record(0.5).model_copy(update={"config": config}) for config in configs]
    assert searched_settings([*done, failed]) == ["adapter.alpha", "adapter.rank"]
    assert final_note(4, [*done, failed]).endswith("searched:[adapter.alpha,adapter.rank]}")
    assert searched_settings([failed]) == searched_settings([]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (1e-3, "0.001"), ([1, [2, 3]], "[1,[2,3]]"), ("auto", "auto")],
)
def test_values_are_written_in_hydras_grammar(value: Any, text: str) -> None:
    assert as_overrides((("adapter.x", value),)) == [f"++adapter.x={text}"]


def members(*overrides: str) -> list[Composed]:
    return expand(["sweep=tuned", "data=toy", "model=tiny_bert", *overrides])


def test_members_of_one_method_and_task_are_one_cell() -> None:
    found = tuned_cells(members("adapter=krona,lora", "task=rte,mrpc", "final_seeds=2"))
    assert [(cell.name, cell.seeds) for cell in found] == [
        (f"{adapter} {task}", (0, 1)) for adapter in ("krona", "lora") for task in ("rte", "mrpc")
    ]
    assert all(not any(o.startswith(("sweep", "++final")) for o in cell.overrides) for cell in found)


def test_cells_of_one_method_are_named_by_their_settings() -> None:
    found = tuned_cells(members("adapter=krona", "task=rte", "adapter.layers=last:1,all", "seed=0,1"))
    assert [cell.name for cell in found] == [
        "krona rte adapter.layers=last:1",
        "krona rte adapter.layers=all",
    ]
    models = tuned_cells(
        expand(["sweep=tuned", "data=toy", "adapter=krona", "task=rte", "model=tiny_bert,minilm"])
    )
    assert [cell.name for cell in models] == ["krona rte model=tiny_bert", "krona rte model=minilm"]


@pytest.mark.parametrize(
    ("given", "seeds"), [(["seed=5"], (5, 6, 7)), (["seed=7,3"], (3, 7)), (["final_seeds=1"], (0,))]
)
def test_final_seeds(given: list[str], seeds: tuple[int, ...]) -> None:
    (found,) = tuned_cells(members("adapter=krona", *given))
    assert found.seeds == seeds


def test_only_the_tuned_sweep_is_tuned() -> None:
    assert is_tuned(members("adapter=krona"))
    assert not is_tuned(expand(["sweep=seeds", "adapter=krona"]))


@pytest.mark.parametrize("name", options("adapter"))
def test_every_methods_yaml_names_a_space(name: str) -> None:
    values = choice("adapter", name)
    space = values["tuning"]["search"]
    assert values["tuning"]["lr"] in space["optim.lr"], "the default rate is one of those tried"
    assert len(cell(space, budget_runs=8).trials(anything_goes)) == 8
    for key in space:
        group, field, *_ = key.split(".")
        assert group == "optim" or field in values, f"{key} sets nothing that the YAML has"


def looked_at(
    *scores: float, status: Any = "paused", every: int = 10, losses: Sequence[float] = ()
) -> Record:
    """A trial with these evaluations, and these losses on the selection rows where they are given."""
    curve = tuple(
        Point(step=every * n, epoch=n, seconds=n, loss=0.5, score=score, selection_loss=on_selection)
        for n, (score, on_selection) in enumerate(zip_longest(scores, losses), start=1)
    )
    return record(0.5, status=status).model_copy(update={"curve": curve})


def test_the_better_third_goes_on_by_its_score_at_a_third_of_the_steps() -> None:
    """Also where a trial has gone on since: all are compared at one evaluation, the first from step 20 of 60 on."""
    trials = trials_over(*map(float, range(7)))
    found = [
        looked_at(0.9, 0.6),
        looked_at(0.1, 0.8),
        looked_at(0.1, 0.7, 0.99, 0.99, 0.99, 0.99, status="done"),
        looked_at(0.1, 0.8),
        looked_at(0.1, 0.95, status="diverged"),
        looked_at(0.1, 0.5),
        None,
    ]
    assert [dict(t.setting)["optim.lr"] for t in better(trials, found, 60)] == [1.0, 3.0]
    assert better(trials[:2], found[:2], 60) == [trials[1]], "one goes on at least"
    same = [looked_at(0.1, 0.6), looked_at(0.1, 0.6), looked_at(0.1, 0.5), looked_at(0.1, 0.6), None]
    assert better(trials[:5], same, 60) == [trials[0], trials[1], trials[3]], "equal scores rank nothing"
    assert better(trials[:3], [None, None, None], 60) == [trials[0]], "no score is no equal"
    assert cost_of(each for each in found if each is not None) == (20 * 5 + 60, 66.0)


def test_where_all_have_a_loss_on_the_selection_rows_it_ranks_them() -> None:
    """The majority answer's score may be above that of a trial which has begun to learn, and all may share it."""
    trials = trials_over(*map(float, range(4)))
    found = [
        looked_at(0.75, 0.75, losses=(0.63, 0.625)),
        looked_at(0.75, 0.72, losses=(0.63, 0.599), status="done"),
        looked_at(0.75, 0.75, losses=(0.50, 0.630)),
        looked_at(0.75, 0.73, losses=(0.63, 0.500), status="failed"),
    ]
    assert better(trials, found, 60) == [trials[1]]
    found[1] = looked_at(0.75, 0.72)  # recorded before losses were, so all are compared by their scores
    assert better(trials, found, 60) == [trials[0], trials[2]]


def test_a_pausing_trial_differs_in_its_note_alone() -> None:
    (trial, *_) = cell(SPACE).trials(anything_goes)
    assert trial.pausing[:-1] == trial.overrides[:-1]
    assert trial.pausing[-1].startswith("++tuning={role:trial,pause:0.333")


@pytest.mark.parametrize("value", [True, "median", 3])
def test_another_pruner_is_a_mistake(value: Any) -> None:
    with pytest.raises(UserError, match=r"pruner: got .* Legal: halving"):
        pruner({"pruner": value})
