"""A tiny BERT and a tiny T5 without weights, with their layouts, for tests of methods."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from petbench.config.spec import ModelSpec
from petbench.models.load import skeleton
from petbench.models.sites import Layout

CONF = Path(__file__).parents[3] / "conf"


def layout_named(name: str) -> Layout:
    """The layout of a model of conf/model, on the meta device."""
    spec = ModelSpec.model_validate(OmegaConf.to_container(OmegaConf.load(CONF / "model" / f"{name}.yaml")))
    return skeleton(spec, "text" if "t5" in name else "head", 2, False)[1]


@pytest.fixture(scope="session")
def tiny_bert() -> Layout:
    return layout_named("tiny_bert")


@pytest.fixture(scope="session")
def tiny_t5() -> Layout:
    return layout_named("tiny_t5")
