"""Recipes: every cell composes, validates and plans; settings are the specification's; what the user gives wins."""

import pytest

from petbench.adapters.registry import spec_of
from petbench.compose.expand import Composed, expand, recompose
from petbench.compose.recipe import Table, table_of
from petbench.config.spec import RunSpec, parse
from petbench.config.tree import options
from petbench.errors import UserError
from petbench.report.published.numbers import COSTS, recipes, target
from petbench.training.plan import plan
from petbench.training.prepare import run_id_of, start_id

# The table of the KronA paper's settings: learning rate, shape of A or scale, biases.
KRONA = {
    "cola": (1e-3, (32, 24)),
    "rte": (2e-3, (32, 24)),
    "mrpc": (1e-3, (32, 24)),
    "sst2": (1e-3, (24, 32)),
    "stsb": (1e-3, (2, 384)),
    "mnli": (1e-3, (2, 384)),
    "qnli": (1e-3, (3, 256)),
    "qqp": (1e-3, (24, 32)),
}
KRONA_B = {
    "cola": (1e-3, 16, 2),
    "rte": (5e-3, 16, 1),
    "mrpc": (5e-3, 16, 1),
    "sst2": (1e-3, 4, 1),
    "stsb": (1e-3, 16, 1),
    "mnli": (1e-3, 4, 2),
    "qnli": (1e-3, 4, 1),
    "qqp": (1e-3, 4, 1),
}
KRONA_B_RES = {
    "cola": (1e-3, 16, 2),
    "rte": (5e-3, 16, 2),
    "mrpc": (5e-3, 16, 2),
    "sst2": (1e-3, 16, 1),
    "stsb": (9e-4, 16, 1),
    "mnli": (1e-3, 16, 1),
    "qnli": (1e-3, 4, 2),
    "qqp": (1e-3, 16, 1),
}
PA_LR = {"cola": 3e-3, "rte": 5e-3, "mrpc": 5e-3}


def table(recipe: str) -> Table:
    found = table_of(recompose([[f"recipe={recipe}"]])[0].values)
    assert found is not None
    return found


def members(recipe: str, *more: str) -> list[Composed]:
    """All cells of a recipe on its first seed, unless `more` names some."""
    found = table(recipe)
    axes = {"model": found.model, "adapter": found.adapter, "task": found.task, "seed": found.seed[:1]}
    given = {override.partition("=")[0] for override in more}
    product = [f"{k}={','.join(map(str, v))}" for k, v in axes.items() if v and k not in given]
    return expand([f"recipe={recipe}", *product, *more])


def specs(recipe: str, *more: str) -> dict[tuple[str, str], RunSpec]:
    """By adapter and task."""
    parsed = [parse(member.values, spec_of) for member in members(recipe, *more)]
    return {(spec.adapter.label, spec.task.name): spec for spec in parsed}


def test_the_recipes_are_those_that_stand_beside_published_tables() -> None:
    assert set(options("recipe")) == set(recipes())


@pytest.mark.parametrize("recipe", recipes())
def test_every_cell_validates_and_plans_without_weights_and_rows(recipe: str) -> None:
    found = table(recipe)
    parsed = [parse(member.values, spec_of) for member in members(recipe)]
    assert len(parsed) == len(found.adapter) * len(found.task) * max(1, len(found.model))
    assert {spec.recipe for spec in parsed} == {recipe}
    if target(recipe).table != COSTS:
        assert {spec.model.label for spec in parsed} == set(target(recipe).models)
    # Cells that differ in the task alone have one size: the adapters of each are planned once.
    different = {(spec.model.label, repr(spec.adapter)): spec for spec in parsed}
    assert all(plan(spec).params.trainable > 0 for spec in different.values())


def test_lora_has_the_papers_size_on_both_models() -> None:
    counts = {
        spec.model.label: plan(spec).params.adapter
        for spec in (parse(m.values, spec_of) for m in members("lora_table2", "task=sst2"))
    }
    assert counts == {"roberta_base": 294_912, "roberta_large": 786_432}


@pytest.mark.parametrize("task", sorted(KRONA))
def test_krona_table1_has_the_papers_settings(task: str) -> None:
    found = specs("krona_table1", f"task={task}")
    krona, b, res = (found[name, task] for name in ("krona", "krona_b", "krona_b_res"))
    assert (krona.optim.lr, krona.adapter.factor_shape) == KRONA[task]  # type: ignore[attr-defined]
    assert krona.adapter.scale == 1  # type: ignore[attr-defined]
    assert (b.optim.lr, b.adapter.scale, b.adapter.biases) == KRONA_B[task]  # type: ignore[attr-defined]
    assert (res.optim.lr, res.adapter.scale, res.adapter.biases) == KRONA_B_RES[task]  # type: ignore[attr-defined]
    assert {spec.adapter.modules_per_ffn for spec in (b, res)} == {2}  # type: ignore[attr-defined]
    rates = {
        name: found[name, task].optim.lr
        for name in ("full", "bitfit", "adapter_lowrank", "compacter", "lora")
    }
    assert rates == {"full": 3e-4, "bitfit": 3e-4, "adapter_lowrank": 3e-3, "compacter": 3e-3, "lora": 1e-3}
    assert found["parallel_adapter", task].optim.lr == PA_LR.get(task, 1e-3)
    for spec in found.values():
        trainer = spec.trainer
        assert (trainer.batch_size, trainer.epochs, trainer.select) == (100, 20, "best")
        assert (spec.optim.warmup_steps, spec.task.max_length, spec.protocol.name) == (500, 128, "compacter")


def test_krona_table1_counts_are_the_papers() -> None:
    counts = {
        label: plan(spec).params.trainable for (label, _), spec in specs("krona_table1", "task=rte").items()
    }
    assert counts["krona"] == counts["lora"] == counts["krona_b"] == 158_208
    assert counts["krona_b_res"] == 158_256 + 48 * 24 * 24  # on rte a second bias, between the products
    assert (counts["parallel_adapter"], counts["adapter_lowrank"], counts["compacter"]) == (
        139_824,
        161_664,
        161_728,
    )


def test_compacter_trains_small_tasks_for_20_epochs_and_large_ones_for_3() -> None:
    found = specs("compacter_table1", "adapter=compacter_pp")
    assert {task: spec.trainer.epochs for (_, task), spec in found.items()} == {
        **dict.fromkeys(("cola", "mrpc", "stsb", "rte"), 20),
        **dict.fromkeys(("sst2", "qqp", "mnli", "qnli"), 3),
    }
    prompts = specs("compacter_table1", "adapter=prompt_tuning,prompt_tuning_token", "task=rte")
    assert [spec.optim.lr for spec in prompts.values()] == [3e-2, 3e-1]


def test_loras_rte_has_a_batch_of_256_and_80_epochs() -> None:
    rte = specs("lora_table2", "model=roberta_base", "task=rte")["lora", "rte"]
    assert (rte.trainer.batch_size, rte.trainer.epochs, rte.task.max_length) == (256, 80, 512)


# The last version of the released scripts, on 8 devices: rate, batch a device, epochs, length.
LORA_LARGE = {
    "mnli": (3e-4, 32, 10, 128),
    "sst2": (4e-4, 64, 10, 512),
    "cola": (3e-4, 32, 20, 128),
    "qqp": (3e-4, 32, 20, 512),
    "qnli": (2e-4, 32, 10, 512),
    "mrpc": (3e-4, 32, 20, 512),
    "rte": (4e-4, 64, 20, 512),
    "stsb": (3e-4, 32, 10, 128),
}


def test_loras_large_rows_are_of_one_date() -> None:
    found = {
        task: (spec.optim.lr, spec.trainer.batch_size // 8, spec.trainer.epochs, spec.task.max_length)
        for (_, task), spec in specs("lora_table2", "model=roberta_large", "init_from=null").items()
    }
    assert found == LORA_LARGE


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        ("compacter_table1", {"full", "bitfit", "prompt_tuning", "prompt_tuning_token"}),
        ("krona_table1", {"full", "bitfit"}),
    ],
)
def test_text_forms_are_those_of_the_compacter_code(recipe: str, named: set[str]) -> None:
    """The task's name in front where no adapter trains; STS-B on a grid of 0.1."""
    found = specs(recipe)
    assert {name for (name, _), spec in found.items() if spec.task.wording == "compacter_named"} == named
    assert all(
        (spec.task.wording == "compacter_named") == (name in named) for (name, _), spec in found.items()
    )
    assert {spec.task.wording for spec in found.values()} == {"compacter", "compacter_named"}
    assert {task: spec.task.stsb_step for (_, task), spec in found.items()} == {
        task: 0.1 if task == "stsb" else 0.2 for task in table(recipe).task
    }
    assert {(spec.protocol.name, spec.eval.decode) for spec in found.values()} == {("compacter", "generate")}


def test_prompts_from_tokens_start_from_the_first_rows() -> None:
    spec = specs("compacter_table1", "adapter=prompt_tuning_token", "task=rte")["prompt_tuning_token", "rte"]
    assert (spec.adapter.init, spec.adapter.prompt_length) == ("token", 100)  # type: ignore[attr-defined]


def test_recipes_of_transformers_trainers_have_its_schedule() -> None:
    """Of the Hadamard paper no settings were at hand."""
    schedules = {
        name: {parse(member.values, spec_of).optim.schedule for member in members(name)}
        for name in options("recipe")
    }
    assert schedules.pop("hadamard_bert_base") == {"linear"}
    assert len(schedules) == 6 and all(found == {"linear_hf"} for found in schedules.values())


def test_train_takes_the_settings_of_its_cell() -> None:
    (member,) = expand(["recipe=krona_table1", "adapter=krona", "task=stsb"])
    spec = parse(member.values, spec_of)
    assert spec.adapter.factor_shape == (2, 384)  # type: ignore[attr-defined]
    assert spec.model.label == "t5_base"


def test_what_the_user_gives_wins() -> None:
    given = [
        "optim.lr=0.5",
        "adapter.factor_shape=[24,32]",
        "trainer.epochs=1",
        "protocol=petbench",
        "model=t5_large",
    ]
    (member,) = expand(["recipe=krona_table1", "adapter=krona", "task=stsb", *given])
    spec = parse(member.values, spec_of)
    assert (spec.optim.lr, spec.trainer.epochs, spec.protocol.name) == (0.5, 1, "petbench")
    assert spec.adapter.factor_shape == (24, 32)  # type: ignore[attr-defined]
    assert spec.model.label == "t5_large"
    assert spec.trainer.batch_size == 100  # the rest is the recipe's


def test_settings_of_one_cell_do_not_reach_another() -> None:
    found = expand(["recipe=krona_table1", "adapter=krona,lora", "task=rte,stsb"])
    shapes = [member.values["adapter"].get("factor_shape") for member in found]
    assert shapes == [[32, 24], [2, 384], None, None]
    assert [member.values["optim"]["lr"] for member in found] == [2e-3, 1e-3, 1e-3, 1e-3]


def test_a_method_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(UserError, match="recipe krona_table1 has no adapter 'hadamard'") as error:
        expand(["recipe=krona_table1", "adapter=hadamard", "task=rte"])
    assert "krona_b_res" in str(error.value)


def test_a_table_that_nobody_read_is_an_error() -> None:
    """A door that composes without the cells' settings must not train with the wrong ones in silence."""
    (member,) = recompose([["recipe=krona_table1"]])
    with pytest.raises(UserError, match="table"):
        parse(member.values, spec_of)


def test_two_recipes_at_once_are_refused() -> None:
    with pytest.raises(UserError, match="one recipe at a time"):
        expand(["recipe=krona_table1,compacter_table1", "adapter=full", "task=rte"])


def test_a_start_is_the_run_id_of_its_cell() -> None:
    toy = [
        "recipe=lora_table2",
        "model=tiny_roberta",
        "data=toy",
        "trainer.max_steps=3",
        "trainer.batch_size=8",
    ]
    mnli, rte, again = expand([*toy, "task=mnli"], None, start_id) + expand(
        [*toy, "task=rte", "seed=0,4"], None, start_id
    )
    expected = run_id_of(parse(mnli.values, spec_of))
    assert mnli.values["init_from"] is None
    assert rte.values["init_from"] == again.values["init_from"] == expected


def test_a_start_can_be_left_out() -> None:
    (member,) = expand(["recipe=lora_table2", "task=rte", "adapter=lora", "init_from=null", "data=toy"])
    assert member.values["init_from"] is None
