"""Gradient checkpointing is refused when a run is planned, where the method or the backbone cannot do it."""

import pytest

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.errors import UserError
from petbench.training.plan import plan


def spec(*overrides: str) -> RunSpec:
    (member,) = expand(["task=rte", *overrides])
    return parse(member.values, spec_of)


def test_peft_prefixes_are_refused_with_the_way_on() -> None:
    words = ("model=tiny_t5", "adapter=peft/prefix")
    plan(spec(*words))  # sound without
    with pytest.raises(UserError) as caught:
        plan(spec(*words, "trainer.gradient_checkpointing=true"))
    assert str(caught.value) == (
        "trainer.gradient_checkpointing: got true, but checkpointed layers drop the cache that holds the keys and "
        "values of adapter=peft/prefix (use adapter=prefix_tuning, which needs no cache). "
        "Legal here: false."
    )


@pytest.mark.parametrize("adapter", ["prefix_tuning", "mam", "peft/p_tuning"])
def test_other_prompts_are_not(adapter: str) -> None:
    assert plan(spec("model=tiny_t5", f"adapter={adapter}", "trainer.gradient_checkpointing=true")).sites >= 0


@pytest.mark.parametrize("model", ["tiny_albert", "tiny_mpnet"])
def test_backbones_without_it_are_named(model: str) -> None:
    with pytest.raises(
        UserError, match=f"transformers offers none for {model[5:]} models. Legal here: false"
    ):
        plan(spec(f"model={model}", "adapter=krona", "trainer.gradient_checkpointing=true"))
