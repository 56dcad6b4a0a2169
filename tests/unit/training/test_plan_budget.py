"""The plan before a run: a size for a budget, nearest from below, and what cannot be said at once."""

import re

import pytest
import torch

from petbench.adapters.registry import method_named, spec_of
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.errors import UserError
from petbench.models.load import skeleton
from petbench.training import plan as module
from petbench.training.plan import Plan, plan


def spec(*overrides: str) -> RunSpec:
    (member,) = expand(["model=bert_base", "task=rte", *overrides])
    return parse(member.values, spec_of)


def counts(planned: Plan) -> list[int]:
    """Tuned parameters of every size that the budget could have chosen: the norms beside the adapter, too."""
    method = method_named(planned.spec.adapter.method)
    _, layout = skeleton(planned.spec.model, planned.form, 2, False)
    norms = sum(2 * 768 for s in layout.all_sites if s.role.endswith("_norm"))
    beside = norms if planned.spec.adapter.train_norms else 0
    return [method.count(size, layout) + beside for size in method.sizes(planned.spec.adapter, layout)]


@pytest.mark.parametrize(
    "adapter", ["krona", "lora", "compacter", "pfeiffer", "prefix_tuning", "phm_adapter"]
)
@pytest.mark.parametrize("wanted", [100_000, 300_000])
def test_a_budget_is_met_from_below_by_the_nearest_size(adapter: str, wanted: int) -> None:
    planned = plan(spec(f"adapter={adapter}", f"budget.params={wanted}"))
    possible = counts(planned)
    assert planned.params.tuned == max(count for count in possible if count <= wanted)
    assert len(set(possible)) > 2


def test_the_chosen_size_and_the_miss_are_said() -> None:
    planned = plan(spec("adapter=lora", "budget.params=300000"))
    rank_counts = 12 * 2 * (768 + 768)  # a rank costs this on query and value of 12 layers
    assert planned.spec.adapter.model_dump()["rank"] == 300_000 // rank_counts == 8
    (note,) = planned.notes
    assert "budget 300,000: lora " in note
    assert "tunes 294,912 parameters" in note
    assert note.endswith(f"{300_000 - 294_912:,} under")


def test_alpha_over_rank_is_kept() -> None:
    adapter = plan(spec("adapter=lora", "budget.params=600000")).spec.adapter.model_dump()
    assert adapter["rank"] == 16
    assert adapter["alpha"] / adapter["rank"] == 2.0


@pytest.mark.parametrize("norms", [False, True])
def test_percent_is_of_the_backbone_and_of_all_that_is_tuned(norms: bool) -> None:
    planned = plan(spec("adapter=lora", f"adapter.train_norms={norms}", "budget.percent=0.27"))
    wanted = int(0.27 / 100 * planned.params.backbone)
    assert planned.params.norm == (24 * 2 * 768 if norms else 0)
    assert planned.params.tuned <= wanted < planned.params.tuned + 36_864
    assert 0.23 < planned.params.tuned_percent <= 0.27
    assert re.search(rf"budget {wanted:,}: ", planned.notes[0])


def test_a_run_with_a_budget_is_the_run_with_its_size() -> None:
    """The budget is a way to ask: the same size asked for by hand is the same run."""
    by_budget = plan(spec("adapter=lora", "budget.params=300000")).spec
    by_hand = plan(spec("adapter=lora", "adapter.rank=8", "adapter.alpha=16")).spec
    assert by_budget.run_id({}) == by_hand.run_id({})


def test_too_small_a_budget_names_the_smallest_size() -> None:
    with pytest.raises(
        UserError, match=r"1,000 parameters are too few for lora; its smallest size tunes 36,864\."
    ):
        plan(spec("adapter=lora", "budget.params=1000"))


@pytest.mark.parametrize("adapter", ["full", "head_only", "bitfit"])
def test_a_method_without_a_size_refuses_a_budget(adapter: str) -> None:
    with pytest.raises(UserError, match=f"{adapter} has no size to choose"):
        plan(spec(f"adapter={adapter}", "budget.params=1000"))


def test_members_that_differ_in_seed_alone_share_a_resolved_plan() -> None:
    first = plan(spec("adapter=krona", "seed=0"))
    resolved = module._resolve.cache_info().misses
    second = plan(spec("adapter=krona", "seed=1", "optim.lr=1", "trainer.epochs=9"))
    assert module._resolve.cache_info().misses == resolved
    assert second.params == first.params
    assert (second.spec.seed, second.spec.optim.lr) == (1, 1.0)  # each keeps its own
    plan(spec("adapter=krona", "adapter.train_norms=false"))
    assert module._resolve.cache_info().misses == resolved + 1


def test_a_plan_draws_no_random_number_and_holds_no_weights() -> None:
    before = torch.get_rng_state()
    plan(spec("adapter=krona", "adapter.scale=1.5"))
    assert torch.equal(torch.get_rng_state(), before)
    model, _ = skeleton(spec("adapter=krona").model, "head", 2, False)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["adapter=krona", "adapter.factor_shape=[32,25]"],
            r"adapter\.factor_shape \[32, 25\] does not fit encoder layer 0 query, which is 768 by 768: "
            r"25 does not divide 768\. Legal second sizes: 1, 2, 3, 4, 6, 8, 12, 16, 24, 32,",
        ),
        (["adapter=lora", "adapter.rank=769"], r"adapter\.rank 769 .*query, which is 768 by 768: legal ranks are 1 to"),
        (["adapter=lora", "adapter.layers=last:13"], r"adapter\.layers: got 'last:13'.* N from 1 to 12"),
        (["adapter=lora", "adapter.layers=[12]"], r"adapter\.layers: got \[12\]\. Legal: numbers from 0 to 11"),
        (["adapter=lora", "adapter.targets=[query,query]"], r"adapter\.targets: got \['query', 'query'\]"),
        (["adapter=lora", "adapter.targets=[]"], r"adapter\.targets: got \[\]\. Name each role once"),
        (["adapter=head_only", "model=t5_small"], "no task head"),
    ],
)  # fmt: skip
def test_impossible_runs_are_refused_with_the_way_out(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(spec(*overrides))
