"""Every method on every other model family: counts, off is the backbone, merging; or refused with a reason."""

from pathlib import Path

import pytest

from petbench.conformance.case import NotApplicable, build_case
from petbench.conformance.checks import counts, disable, merging
from petbench.errors import UserError

CONF = Path(__file__).parents[2] / "conf"
METHODS = sorted(path.stem for path in (CONF / "adapter").glob("*.yaml"))
MODELS = sorted(
    path.stem
    for path in (CONF / "model").glob("tiny_*.yaml")
    if path.stem not in ("tiny_bert", "tiny_t5", "tiny_gpt2")
)

# What cannot be: (method, model) and a piece of the reason that must be given.
NO_MORE_KEYS = "which takes no further keys"
REFUSED = {
    ("adapter_drop", "tiny_albert"): "a stack of this model has 1",
    ("bitfit", "tiny_llama"): "no biases to train",
    ("bitfit", "tiny_qwen3"): "no biases to train",
    ("head_only", "tiny_t5_gated"): "no task head",
    **{
        (method, model): "has no ffn_block"
        for method in ("krona_b", "krona_b_res", "mam", "parallel_adapter")
        for model in ("tiny_albert", "tiny_bart")
    },
    **{
        (method, f"tiny_{family}"): NO_MORE_KEYS
        for method in ("mam", "prefix_tuning")
        for family in ("deberta", "mpnet")
    },
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_family(method: str, model: str) -> None:
    case = build_case(method, model)
    if (method, model) in REFUSED:
        with pytest.raises(UserError, match=REFUSED[method, model]):
            case.tuned()
        return
    for check in (counts, disable, merging):
        try:
            check(case)
        except NotApplicable:
            continue
