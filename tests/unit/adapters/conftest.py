"""A tiny BERT and a tiny T5 without weights, with their layouts, for tests of methods."""

import pytest

from petbench.compose.expand import choice
from petbench.config.sections import ModelSpec
from petbench.models.load import skeleton
from petbench.models.sites import Layout


def layout_named(name: str) -> Layout:
    """The layout of a model of conf/model, on the meta device."""
    spec = ModelSpec.model_validate(choice("model", name))
    return skeleton(spec, "text" if "t5" in name else "head", 2, False)[1]


@pytest.fixture(scope="session")
def tiny_bert() -> Layout:
    return layout_named("tiny_bert")


@pytest.fixture(scope="session")
def tiny_t5() -> Layout:
    return layout_named("tiny_t5")
