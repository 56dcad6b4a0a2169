"""Layouts: exact module names, sizes and counts of every family, on tiny random models."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertModel,
    PreTrainedModel,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

from petbench.errors import UserError
from petbench.models.families import layout_of
from petbench.models.family_table import FAMILIES
from petbench.models.sites import ROLES, Site

SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
T5 = {
    "vocab_size": 100,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 64,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES,
    "xlm-roberta": SIZES,
    "electra": SIZES | {"embedding_size": 16},
    "deberta-v2": SIZES | {"relative_attention": True, "share_att_key": True, "pos_att_type": ["p2c", "c2p"]},
    "mpnet": SIZES,
    "albert": SIZES | {"embedding_size": 16},
    "distilbert": {"vocab_size": 100, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
    "modernbert": SIZES | {"cls_token_id": 1, "sep_token_id": 2},
    "gpt2": {"vocab_size": 100, "n_embd": 32, "n_layer": 3, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2}
    | {"pad_token_id": 0},
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": GROUPED | {"head_dim": 16},
    "t5": T5,
    "bart": {
        "vocab_size": 100, "d_model": 32, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 48, "encoder_attention_heads": 4, "decoder_attention_heads": 2, "pad_token_id": 0,
        "max_position_embeddings": 64, "num_labels": 2,
    },
}  # fmt: skip
HEADS = {
    "bert": ("classifier",),
    "roberta": ("classifier",),
    "xlm-roberta": ("classifier",),
    "electra": ("classifier",),
    "deberta-v2": ("pooler", "classifier"),
    "mpnet": ("classifier",),
    "albert": ("classifier",),
    "distilbert": ("pre_classifier", "classifier"),
    "modernbert": ("head", "classifier"),
    "gpt2": ("score",),
    "llama": ("score",),
    "qwen2": ("score",),
    "qwen3": ("score",),
    "t5": ("classification_head",),
    "bart": ("classification_head",),
}
# The names in layer 1 of the body: query, key, value, attention_output, ffn_input(s), ffn_output,
# ffn_block, attention_norm, ffn_norm.
BERT_NAMES = (
    "attention.self.query attention.self.key attention.self.value attention.output.dense intermediate.dense"
    " output.dense output attention.output.LayerNorm output.LayerNorm"
)
LLAMA_NAMES = (
    "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj mlp.up_proj"
    " mlp.down_proj mlp input_layernorm post_attention_layernorm"
)
NAMES = {
    "bert": ("encoder.layer.1", BERT_NAMES),
    "roberta": ("encoder.layer.1", BERT_NAMES),
    "xlm-roberta": ("encoder.layer.1", BERT_NAMES),
    "electra": ("encoder.layer.1", BERT_NAMES),
    "deberta-v2": (
        "encoder.layer.1",
        BERT_NAMES.replace("query", "query_proj").replace("key", "key_proj").replace("value", "value_proj"),
    ),
    "mpnet": (
        "encoder.layer.1",
        "attention.attn.q attention.attn.k attention.attn.v attention.attn.o intermediate.dense output.dense"
        " output attention.LayerNorm output.LayerNorm",
    ),
    "distilbert": (
        "transformer.layer.1",
        "attention.q_lin attention.k_lin attention.v_lin attention.out_lin ffn.lin1 ffn.lin2 ffn"
        " sa_layer_norm output_layer_norm",
    ),
    "modernbert": (
        "layers.1",
        "attn.Wqkv attn.Wqkv attn.Wqkv attn.Wo mlp.Wi mlp.Wi mlp.Wo mlp attn_norm mlp_norm",
    ),
    "gpt2": (
        "h.1",
        "attn.c_attn attn.c_attn attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj mlp ln_1 ln_2",
    ),
    "llama": ("layers.1", LLAMA_NAMES),
    "qwen2": ("layers.1", LLAMA_NAMES),
    "qwen3": ("layers.1", LLAMA_NAMES),
    "bart": (
        "encoder.layers.1",
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj fc1 fc2 self_attn_layer_norm"
        " final_layer_norm",
    ),
}
# Facts that are read off the modules or the table: has query, attention_output, norm a bias; what the head reads;
# BERT's or the others' special tokens; does it answer in text.
FACTS = {
    "bert": (True, True, True, "first", "bert", False),
    "roberta": (True, True, True, "first", "roberta", False),
    "xlm-roberta": (True, True, True, "first", "roberta", False),
    "electra": (True, True, True, "first", "bert", False),
    "deberta-v2": (True, True, True, "first", "bert", False),
    "mpnet": (True, True, True, "first", "roberta", False),
    "distilbert": (True, True, True, "first", "bert", False),
    "albert": (True, True, True, "first", "bert", False),
    "modernbert": (False, False, False, "first", "bert", False),
    "gpt2": (True, True, True, "last", "decoder", False),
    "llama": (False, False, False, "last", "decoder", False),
    "qwen2": (True, False, False, "last", "decoder", False),
    "qwen3": (False, False, False, "last", "decoder", False),
    "t5": (False, False, False, "last", "t5", True),
    "bart": (True, True, True, "last", "roberta", False),
}
ORDER = [role for role in ROLES if role not in ("final_norm", "embedding", "head")]


def config(family: str, **changes: Any) -> Any:
    return AutoConfig.for_model(family, **(CONFIGS[family] | changes))


def classifier(family: str, **changes: Any) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(config(family, **changes))


def test_every_family_is_tested() -> None:
    assert set(CONFIGS) == set(FAMILIES) == set(HEADS)


@pytest.mark.parametrize("family", sorted(NAMES))
def test_names_in_a_layer(family: str) -> None:
    with torch.device("meta"):
        body = AutoModel.from_config(config(family))
    headed = classifier(family)
    layer, names = NAMES[family]
    wanted = [f"{layer}.{name}" for name in names.split()]
    for model, prefix in ((body, ""), (headed, f"{headed.base_model_prefix}.")):
        first = layer.partition(".")[0]  # the encoder's, where there is a decoder too
        sites = [site for site in layout_of(model).all_sites if site.layer == 1]
        sites = [site for site in sites if site.stack == first or first not in ("encoder", "decoder")]
        found = [site.module for role in ORDER for site in sites if site.role == role]
        assert found == [prefix + name for name in wanted]


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_counts_per_role(family: str) -> None:
    layout = layout_of(classifier(family))
    layers = sum(layout.layers.values())
    crossed = layout.layers["decoder"] if layout.encoder_decoder else 0
    gates = 2 if family in ("llama", "qwen2", "qwen3", "modernbert") else 1
    wanted = dict.fromkeys(("query", "key", "value", "attention_output", "attention_norm"), layers + crossed)
    wanted |= {"ffn_input": gates * layers, "ffn_output": layers, "ffn_block": layers, "ffn_norm": layers}
    final_norms = {"t5": 2, "modernbert": 1, "bart": 0}
    wanted |= {"final_norm": final_norms.get(family, int("decoder" in layout.layers))}
    wanted |= {"embedding": 2 if layout.encoder_decoder else 1, "head": 1}
    if family == "modernbert":
        wanted["attention_norm"] -= 1  # an Identity in layer 0
    if family in ("albert", "bart"):
        wanted["ffn_block"] = 0
    found = {role: sum(site.role == role for site in layout.all_sites) for role in ROLES}
    assert found == wanted
    assert {role for role, number in found.items() if number == 0} == set(layout.missing)


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_facts_of_a_family(family: str) -> None:
    layout, entry = layout_of(classifier(family)), FAMILIES[family]
    biases = [layout.sites(role)[0].bias for role in ("query", "attention_output", "ffn_norm")]
    assert (*biases, layout.head_reads, entry.tokens, entry.text) == FACTS[family]
    assert entry.segments == (family in ("bert", "electra", "deberta-v2", "albert"))


def test_a_head_that_averages_is_said_by_the_config() -> None:
    assert layout_of(classifier("modernbert", classifier_pooling="mean")).head_reads == "mean"


def test_bart_has_heads_and_layers_of_its_own_in_each_stack() -> None:
    layout = layout_of(classifier("bart"))
    assert layout.layers == {"encoder": 3, "decoder": 2}
    assert {(s.stack, s.attention, s.heads) for s in layout.sites("query")} == {
        ("encoder", "self", 4), ("decoder", "self", 2), ("decoder", "cross", 2),
    }  # fmt: skip
    assert names(layout.sites("value", attention="cross")) == [
        f"model.decoder.layers.{i}.encoder_attn.v_proj" for i in (0, 1)
    ]
    assert [s.d_out for s in layout.sites("ffn_input")] == [64, 64, 64, 48, 48]
    with pytest.raises(UserError, match="a bart model has no ffn_block: its FFN is not a module of its own"):
        layout.sites("ffn_block")


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_no_two_sites_share_a_key_or_a_place(family: str) -> None:
    sites = layout_of(classifier(family)).all_sites
    assert len({site.key for site in sites}) == len(sites)
    places = [(site.module, site.columns) for site in sites]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_sizes_are_those_of_the_weights(family: str) -> None:
    model = classifier(family)
    for site in layout_of(model).all_sites:
        if site.role == "ffn_block":
            assert (site.d_in, site.d_out) == (32, 32)
            continue
        weight = model.get_submodule(site.module).weight
        width = site.d_out if site.columns is None else None
        if weight.dim() == 1:
            assert site.d_in == site.d_out == len(weight) == 32
        elif site.role == "embedding" or site.transposed:
            assert site.d_in == weight.shape[0]
            assert width in (None, weight.shape[1])
        else:
            assert site.d_in == weight.shape[1]
            assert width in (None, weight.shape[0])
        if site.columns is not None:
            assert site.columns[1] - site.columns[0] == site.d_out
        if site.heads:
            split = site.d_in if site.role == "attention_output" else site.d_out
            assert split % site.heads == 0


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_head_modules_hold_everything_outside_the_body(family: str) -> None:
    model = classifier(family)
    layout = layout_of(model)
    assert layout.head_modules == HEADS[family]
    outside = {name for name, _ in model.named_parameters() if not name.startswith(model.base_model_prefix)}
    assert outside == {
        name for name, _ in model.named_parameters() if name.partition(".")[0] in layout.head_modules
    }
    assert layout.sites("head")[0].d_out == 2


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_order_of_calls_and_the_residual_argument(family: str) -> None:
    """What adapters rely on: q, k, v are computed in that order, an FFN block's place means what it says."""
    model = AutoModelForSequenceClassification.from_config(config(family)).eval()
    layout = layout_of(model)
    seen: list[tuple[str, tuple[Any, ...], Any]] = []
    for name in dict.fromkeys(site.module for site in layout.all_sites if site.layer == 0):
        model.get_submodule(name).register_forward_hook(
            lambda _module, args, output, name=name: seen.append((name, args, output))
        )
    model(input_ids=torch.tensor([[1, 5, 6, 2]]), attention_mask=torch.ones(1, 4, dtype=torch.long))
    calls = [name for name, _, _ in seen]
    first = {name: seen[calls.index(name)] for name in calls}
    one = {site.role: site for site in reversed(layout.all_sites) if site.layer == 0}
    positions = [calls.index(one[role].module) for role in ("query", "key", "value", "attention_output")]
    assert positions == sorted(positions)
    if "ffn_block" in one:
        block = one["ffn_block"]
        entered = first[one["ffn_input"].module][1][0]
        residual = first[block.module][1][block.residual_argument or 0]
        assert torch.equal(entered, residual)
        assert first[block.module][2].shape == entered.shape
    assert first[one["query"].module][1][0].shape == (1, 4, 32)


def test_albert_has_one_site_per_shared_layer() -> None:
    layout = layout_of(classifier("albert"))
    assert layout.layers == {"encoder": 1}
    assert [site.module for site in layout.sites("query")] == [
        "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query"
    ]
    with pytest.raises(UserError, match=r"2 groups of shared layers, 1 expected"):
        layout_of(classifier("albert", num_hidden_groups=2))


def test_fused_projections_are_slices() -> None:
    gpt2 = layout_of(classifier("gpt2"))
    assert [gpt2.sites(role)[2].columns for role in ("query", "key", "value")] == [
        (0, 32),
        (32, 64),
        (64, 96),
    ]
    assert all(site.transposed for role in ("query", "ffn_input", "ffn_output") for site in gpt2.sites(role))
    modern = layout_of(classifier("modernbert"))
    assert [(s.part, s.columns) for s in modern.sites("ffn_input", layers=[0])] == [
        ("gate", (0, 64)),
        ("", (64, 128)),
    ]
    assert [site.layer for site in modern.sites("attention_norm")] == [1, 2]


def test_grouped_queries_have_narrower_keys_and_values() -> None:
    layout = layout_of(classifier("qwen3"))
    shapes = [
        (s.d_in, s.d_out, s.heads)
        for role in ("query", "key", "value")
        for s in layout.sites(role, layers=[0])
    ]
    assert shapes == [(32, 64, 4), (32, 32, 2), (32, 32, 2)]
    assert layout.sites("attention_output")[0].d_in == 64  # heads * head_dim, not the hidden size


def t5(**changes: Any) -> PreTrainedModel:
    with torch.device("meta"):
        return T5ForConditionalGeneration(config("t5", **changes))


def names(sites: list[Site]) -> list[str]:
    return [site.module for site in sites]


def test_t5_text_form() -> None:
    layout = layout_of(t5())
    assert layout.encoder_decoder
    assert layout.layers == {"encoder": 3, "decoder": 2}
    assert layout.head_modules == ()
    assert names(layout.sites("head")) == ["lm_head"]
    assert names(layout.sites("value", attention="cross")) == [
        f"decoder.block.{i}.layer.1.EncDecAttention.v" for i in (0, 1)
    ]
    assert names(layout.sites("query", stack="decoder", layers=[1])) == [
        "decoder.block.1.layer.0.SelfAttention.q",
        "decoder.block.1.layer.1.EncDecAttention.q",
    ]
    assert names(layout.sites("ffn_norm")) == [
        *(f"encoder.block.{i}.layer.1.layer_norm" for i in range(3)),
        *(f"decoder.block.{i}.layer.2.layer_norm" for i in range(2)),
    ]
    assert names(layout.sites("attention_norm", attention="cross"))[0] == "decoder.block.0.layer.1.layer_norm"
    assert names(layout.sites("final_norm")) == ["encoder.final_layer_norm", "decoder.final_layer_norm"]
    assert names(layout.sites("embedding")) == ["encoder.embed_tokens", "decoder.embed_tokens"]
    assert names(layout.sites("ffn_block", stack="decoder"))[0] == "decoder.block.0.layer.2.DenseReluDense"
    query = layout.sites("query")[0]
    assert (query.d_in, query.d_out, query.heads) == (32, 64, 4)  # d_kv is not d_model / heads


def test_t5_gated_has_two_ffn_inputs() -> None:
    layout = layout_of(t5(feed_forward_proj="gated-gelu"))
    sites = layout.sites("ffn_input", stack="decoder", layers=[0])
    assert [(site.part, site.module.rpartition(".")[2]) for site in sites] == [("gate", "wi_0"), ("", "wi_1")]
    assert [site.key for site in sites] == ["decoder_0_ffn_input_gate", "decoder_0_ffn_input"]


def test_t5_encoder_alone() -> None:
    with torch.device("meta"):
        layout = layout_of(T5EncoderModel(config("t5")))
    assert layout.layers == {"encoder": 3}
    assert not layout.encoder_decoder
    assert layout.missing == {"head": "it is a plain body."}


def test_language_model_head_is_no_task_head() -> None:
    with torch.device("meta"):
        layout = layout_of(AutoModelForMaskedLM.from_config(config("bert")))
    assert layout.head_modules == ()
    assert names(layout.sites("head")) == ["cls.predictions.decoder"]


def test_a_missing_module_is_an_error_with_the_count() -> None:
    model = BertModel(config("bert"))
    del model.encoder.layer[2].attention.self.query
    with pytest.raises(
        UserError, match=r"query: 3 places expected, 2 found; no encoder\.layer\.2\.attention"
    ):
        layout_of(model)


def test_an_identity_is_no_norm() -> None:
    model = BertModel(config("bert"))
    model.encoder.layer[0].output.LayerNorm = nn.Identity()
    with pytest.raises(UserError, match="ffn_norm: 3 places expected, 2 found"):
        layout_of(model)


def test_a_layer_too_few_is_an_error() -> None:
    model = BertModel(config("bert"))
    model.encoder.layer = model.encoder.layer[:2]
    with pytest.raises(UserError, match=r"3 layers expected in encoder\.layer, 2 found"):
        layout_of(model)


def test_unknown_family_lists_the_legal_ones() -> None:
    with torch.device("meta"):
        model = AutoModel.from_config(
            AutoConfig.for_model("pegasus", d_model=32, encoder_layers=1, decoder_layers=1)
        )
    with pytest.raises(UserError, match=r"'pegasus' is unknown.*Legal: albert, bart, bert, deberta-v2"):
        layout_of(model)


def test_missing_role_says_why() -> None:
    layout = layout_of(classifier("bert"))
    with pytest.raises(UserError, match="a bert model has no final_norm: it is post-norm"):
        layout.sites("final_norm")
