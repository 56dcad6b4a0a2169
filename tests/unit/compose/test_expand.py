"""Members are composed as Hydra itself would compose each of them, however they were put together."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from petbench.compose import many
from petbench.compose.expand import expand, recompose, without_sweeps
from petbench.compose.sweep_loader import SweepLoader
from petbench.config.tree import conf_dir
from petbench.errors import UserError

COMMANDS = {
    "groups and values": "adapter=krona,peft/lora task=rte,mrpc seed=range(2) data=toy model=tiny_bert",
    "a value that an interpolation reads": "adapter=lora adapter.tuning.lr=1e-3,2e-3",
    "a value over an interpolation": "adapter=lora,krona optim.lr=1e-3,${adapter.tuning.lr},${trainer.epochs}",
    "lists and shapes": "adapter=krona adapter.factor_shape=[4,8],auto,[8,4] adapter.layers=all,last:2",
    "null, booleans, text": "budget.params=null,1000 trainer.bucket=true,false model.label=a,'b c',5",
    "a group of values": "optim={lr:1e-3,beta1:0.8},{lr:2e-3} optim.beta1=0.7,0.6",
    "an order that matters": "trainer.epochs=1,2 trainer.epochs=3",
    "keys that are not there": "trainer.epcohs=1,2 adapter.nothing.here=3",
    "additions and deletions": "+extra.key=1,2 ~adapter.scale adapter=krona seed=0,1",
    "recipes and presets": "sweep=learning_rate adapter=krona seed=0,1",
    "a product of groups": "model=tiny_bert,tiny_t5 adapter=krona,peft/lora,hadamard task=rte,stsb protocol=glue_dev",
    "a product under a recipe": "recipe=krona_table1 adapter=krona,lora task=rte,stsb model=t5_base,t5_small",
    "one member": "adapter=krona",
}


def hydras_own(overrides: tuple[str, ...]) -> Any:
    """One plain composition."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_members_equal_hydras_own_composition(name: str) -> None:
    command = COMMANDS[name].replace("'b c'", "'b\x00c'").split()
    members = expand([word.replace("\x00", " ") for word in command])
    for member in members:
        assert member.values == hydras_own(member.overrides), member.overrides


def test_a_product_costs_the_sum_of_its_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[list[str]] = []
    plain = many.compose
    many._shipped.cache_clear()

    def counted(*arguments: Any, **keywords: Any) -> Any:
        composed.append(keywords["overrides"])
        return plain(*arguments, **keywords)

    monkeypatch.setattr(many, "compose", counted)
    members = expand(["adapter=krona,lora,hadamard,bitfit", "task=rte,stsb,cola", "seed=0,1"])
    assert len(members) == 24
    assert (
        len(composed) == 1 + 1 + 3 + 2
    )  # the line itself, the first cell, the other adapters, the other tasks
    assert len(expand(["adapter=krona,lora", "task=cola", "optim.lr=1"])) == 2
    assert len(composed) == 1 + 1 + 3 + 2 + 2  # only the new line, and lora on cola


@pytest.mark.parametrize(
    "text",
    [
        "# @package _global_\nadapter: {method: lora, tuning: {lr: 0.5}}\ntrainer: {batch_size: 7}\n",
        "defaults:\n  - /trainer@tuning.more: ${task}_own\n  - _self_\nmethod: lora\ntuning: {lr: 0.5}\n",
    ],
    ids=["whole config", "files by task"],
)
def test_a_choice_that_reaches_into_other_groups_is_composed_whole(tmp_path: Path, text: str) -> None:
    for name, content in (
        ("adapter/far.yaml", text),
        ("trainer/rte_own.yaml", "batch_size: 1"),
        ("trainer/stsb_own.yaml", "batch_size: 2"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    members = expand(["adapter=krona,lora,far", "task=rte,stsb"], str(tmp_path))
    for member in members:
        overrides = (*member.overrides, f"hydra.searchpath=[file://{tmp_path}]")
        assert member.values == hydras_own(overrides), member.overrides


def test_members_are_the_product_in_hydras_order() -> None:
    members = expand(["adapter=krona,lora", "seed=range(3)", "task=rte"])
    assert [(m.values["adapter"]["method"], m.values["seed"]) for m in members] == [
        (adapter, seed) for adapter in ("krona", "lora") for seed in range(3)
    ]


def test_members_share_nothing() -> None:
    """Changing the values of one member leaves the others as they were."""
    one, two = expand(["adapter=krona", "seed=0,1"])
    one.values["adapter"]["targets"].append("ffn_input")
    one.values["optim"]["lr"] = 7
    assert two.values["adapter"]["targets"] == ["query", "value"]
    assert two.values["optim"]["lr"] == 0.005


def test_a_ready_sweeps_values_give_way_to_the_users() -> None:
    assert [m.values["seed"] for m in expand(["sweep=seeds"])] == [0, 1, 2, 3, 4]
    assert [m.values["seed"] for m in expand(["sweep=seeds", "seed=7,8"])] == [7, 8]
    assert [m.values["seed"] for m in expand(["sweep=seeds", "seed=7"])] == [7]


def test_recompose_gives_the_same_members() -> None:
    members = expand(["adapter=krona,lora", "seed=0,1", "optim.lr=1e-3"])
    assert recompose([member.overrides for member in members]) == members


def test_without_sweeps_leaves_single_values() -> None:
    argv = ["adapter=krona,lora", "optim.lr=interval(1e-4,1e-2)", "seed=range(3)", "task=rte", "a=glob(*)"]
    assert without_sweeps(argv) == ["task=rte"]


def test_unknown_choices_and_bad_syntax_are_the_users_mistakes() -> None:
    with pytest.raises(UserError, match=r"adapter: .kronna. is unknown\. Did you mean .krona."):
        expand(["adapter=krona,kronna"])
    with pytest.raises(UserError, match="cannot read"):
        expand(["adapter=krona", "seed=[1,2"])


@pytest.mark.parametrize(("more", "rates"), [([], [0.1, 0.2]), (["lrs='0.3,0.4,0.5'"], [0.3, 0.4, 0.5])])
def test_a_sweep_of_ones_own_may_read_any_value_of_the_line(
    more: list[str], rates: list[float], tmp_path: Path
) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text(
        "# @package _global_\nlrs: '0.1,0.2'\nhydra: {sweeper: {params: {optim.lr: '${lrs}'}}}\n"
    )
    members = expand(["sweep=mine", "adapter=krona", "task=rte", *more], str(tmp_path))
    assert [member.values["optim"]["lr"] for member in members] == rates


@pytest.mark.parametrize("name", COMMANDS)
def test_the_loader_of_a_sweep_gives_what_hydras_own_gives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Hydra's own part: a launcher's folders and a run's W&B group are read from it."""
    command = COMMANDS[name].replace("'b c'", "'b\x00c'").split()
    members = expand([word.replace("\x00", " ") for word in command])
    plain = ConfigLoaderImpl._load_configuration_impl
    composed: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        composed.append(1)
        return plain(*arguments, **options)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
        engine = GlobalHydra.instance().hydra
        assert engine is not None
        master = engine.compose_config("config", [], RunMode.MULTIRUN, with_log_configuration=False)
        loader = SweepLoader(engine.config_loader.get_search_path())
        composed.clear()
        ours = [loader.load_sweep_config(master, list(member.overrides)) for member in members]
        mine = len(composed)
        for member, our in zip(members, ours, strict=True):
            own = engine.config_loader.load_sweep_config(master, list(member.overrides))
            assert OmegaConf.to_container(our) == OmegaConf.to_container(own), member.overrides
            assert OmegaConf.is_struct(our) == OmegaConf.is_struct(own)
    if name == "groups and values":
        assert (mine, len(members)) == (4, 8)  # a composition for each method and task, none for a seed
    assert not pickle.loads(pickle.dumps(loader))._composed  # not sent to a launcher's processes
