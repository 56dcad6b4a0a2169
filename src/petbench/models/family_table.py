"""The table of model families: for each role, where it is in a layer of each architecture.

Data only: a family is one entry here. Paths are relative: `layers` to the body, `path` to one layer (or to the body
for places outside the layers). families.py turns them into exact module names and checks every one.
"""

from dataclasses import replace

from petbench.models.family import Family, Place, Tower, attention_places, post_norm_ffn
from petbench.models.sites import Attention, Stack


def _bert_like(q: str, k: str, v: str, o: str, norm: str, *, more_keys: bool = True) -> Family:
    """BERT and its kin, with BERT's special tokens; they differ in the names in attention and in the head."""
    ffn = post_norm_ffn("intermediate.dense", "output.dense", "output", "output.LayerNorm")
    embedding = Place("embedding", "embeddings.word_embeddings")
    places = attention_places(q, k, v, o, norm) + ffn
    tower = Tower("encoder", "encoder.layer", "num_hidden_layers", places, (embedding,))
    positions = "embeddings.position_embeddings" if more_keys else ""
    return Family(
        (tower,),
        "bert",
        missing=_POST_NORM,
        segments=True,
        more_keys=more_keys,
        positions=positions,
        free_key_bias=True,
        new=("pooler",),
    )


def _llama_like() -> Family:
    places = (
        *attention_places(
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "input_layernorm",
            key_value_heads="num_key_value_heads",
        ),
        Place("ffn_input", "mlp.gate_proj", part="gate"),
        Place("ffn_input", "mlp.up_proj"),
        Place("ffn_output", "mlp.down_proj"),
        Place("ffn_block", "mlp"),
        Place("ffn_norm", "post_attention_layernorm"),
    )
    outside = (Place("embedding", "embed_tokens"), Place("final_norm", "norm"))
    tower = Tower("decoder", "layers", "num_hidden_layers", places, outside)
    return Family((tower,), "decoder", head_reads="last", positions="rotary_emb")


def _t5_attention(layer: str, name: str, attention: Attention) -> tuple[Place, ...]:
    at = f"{layer}.{name}"
    paths = (f"{at}.q", f"{at}.k", f"{at}.v", f"{at}.o", f"{layer}.layer_norm")
    return attention_places(*paths, attention=attention)


def _t5_ffn(layer: str) -> tuple[Place, ...]:
    at = f"{layer}.DenseReluDense"
    return (
        Place("ffn_input", f"{at}.wi", gated=False),
        Place("ffn_input", f"{at}.wi_0", part="gate", gated=True),
        Place("ffn_input", f"{at}.wi_1", gated=True),
        Place("ffn_output", f"{at}.wo"),
        Place("ffn_block", at),
        Place("ffn_norm", f"{layer}.layer_norm"),
    )


def _t5_outside(stack: Stack) -> tuple[Place, ...]:
    # T5 never calls `shared`: each stack has its own embedding module, with tied weights.
    return (Place("embedding", f"{stack}.embed_tokens"), Place("final_norm", f"{stack}.final_layer_norm"))


_POST_NORM = {"final_norm": "it is post-norm, so the last layer's ffn_norm is its last norm."}
_NO_BLOCK = {"ffn_block": "its FFN is not a module of its own; use ffn_input or ffn_output."}

_BERT = _bert_like(
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
)
_DEBERTA = replace(
    _bert_like(
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
        "attention.output.dense",
        "attention.output.LayerNorm",
        more_keys=False,
    ),
    free_key_bias=False,  # its scores have a term of keys and positions
)
_MPNET = replace(
    _bert_like(
        "attention.attn.q",
        "attention.attn.k",
        "attention.attn.v",
        "attention.attn.o",
        "attention.LayerNorm",
        more_keys=False,
    ),
    tokens="roberta",
    segments=False,
)
_ROBERTA = replace(_BERT, tokens="roberta", segments=False)

_DISTILBERT = Family(
    (
        Tower(
            "encoder",
            "transformer.layer",
            "num_hidden_layers",
            (
                *attention_places(
                    "attention.q_lin",
                    "attention.k_lin",
                    "attention.v_lin",
                    "attention.out_lin",
                    "sa_layer_norm",
                ),
                Place("ffn_input", "ffn.lin1"),
                Place("ffn_output", "ffn.lin2"),
                Place("ffn_block", "ffn"),  # the residual is added after it
                Place("ffn_norm", "output_layer_norm"),
            ),
            (Place("embedding", "embeddings.word_embeddings"),),
        ),
    ),
    "bert",
    missing=_POST_NORM,
    positions="embeddings.position_embeddings",
    free_key_bias=True,
)

# The layers of ALBERT share their weights: each role has one site, and its adapter acts in every layer.
_ALBERT = Family(
    (
        Tower(
            "encoder",
            "encoder.albert_layer_groups.0.albert_layers",
            "inner_group_num",
            (
                *attention_places(
                    "attention.query",
                    "attention.key",
                    "attention.value",
                    "attention.dense",
                    "attention.LayerNorm",
                ),
                Place("ffn_input", "ffn"),
                Place("ffn_output", "ffn_output"),
                Place("ffn_norm", "full_layer_layer_norm"),
            ),
            (Place("embedding", "embeddings.word_embeddings"),),
        ),
    ),
    "bert",
    missing=_POST_NORM | _NO_BLOCK,
    segments=True,
    positions="embeddings.position_embeddings",
    free_key_bias=True,
    new=("pooler",),
)

_MODERNBERT = Family(
    (
        Tower(
            "encoder",
            "layers",
            "num_hidden_layers",
            (
                # The embedding's norm serves the first attention, so layer 0 has an Identity there.
                *attention_places("attn.Wqkv", "attn.Wqkv", "attn.Wqkv", "attn.Wo", "attn_norm", norm_from=1),
                Place("ffn_input", "mlp.Wi", fused=(0, 2), part="gate"),  # the activated half
                Place("ffn_input", "mlp.Wi", fused=(1, 2)),
                Place("ffn_output", "mlp.Wo"),
                Place("ffn_block", "mlp"),
                Place("ffn_norm", "mlp_norm"),
            ),
            (Place("embedding", "embeddings.tok_embeddings"), Place("final_norm", "final_norm")),
        ),
    ),
    "bert",
    positions="rotary_emb",
)

_GPT2 = Family(
    (
        Tower(
            "decoder",
            "h",
            "num_hidden_layers",
            (
                *attention_places("attn.c_attn", "attn.c_attn", "attn.c_attn", "attn.c_proj", "ln_1"),
                Place("ffn_input", "mlp.c_fc"),
                Place("ffn_output", "mlp.c_proj"),
                Place("ffn_block", "mlp"),
                Place("ffn_norm", "ln_2"),
            ),
            (Place("embedding", "wte"), Place("final_norm", "ln_f")),
        ),
    ),
    "decoder",
    head_reads="last",
    positions="wpe",
)

_T5 = Family(
    (
        Tower(
            "encoder",
            "encoder.block",
            "num_layers",
            _t5_attention("layer.0", "SelfAttention", "self") + _t5_ffn("layer.1"),
            _t5_outside("encoder"),
        ),
        Tower(
            "decoder",
            "decoder.block",
            "num_decoder_layers",
            _t5_attention("layer.0", "SelfAttention", "self")
            + _t5_attention("layer.1", "EncDecAttention", "cross")
            + _t5_ffn("layer.2"),
            _t5_outside("decoder"),
            optional=True,
        ),
    ),
    "t5",
    head_reads="last",
    text=True,
    free_key_bias=True,
)


def _bart_tower(stack: Stack, cross: tuple[Place, ...] = ()) -> Tower:
    # Each stack has its own embedding module, with tied weights, and a table of positions that counts by itself.
    own = _bart_attention(stack, "self_attn", "self")
    ffn = (Place("ffn_input", "fc1"), Place("ffn_output", "fc2"), Place("ffn_norm", "final_layer_norm"))
    outside = (Place("embedding", f"{stack}.embed_tokens"),)
    return Tower(stack, f"{stack}.layers", f"{stack}_layers", own + cross + ffn, outside)


def _bart_attention(stack: Stack, at: str, attention: Attention) -> tuple[Place, ...]:
    names = (f"{at}.q_proj", f"{at}.k_proj", f"{at}.v_proj", f"{at}.out_proj", f"{at}_layer_norm")
    return attention_places(*names, attention=attention, heads=f"{stack}_attention_heads")


_BART = Family(
    (
        _bart_tower("encoder"),
        _bart_tower("decoder", _bart_attention("decoder", "encoder_attn", "cross")),
    ),
    "roberta",
    head_reads="last",
    missing=_POST_NORM | _NO_BLOCK,
    free_key_bias=True,
)

FAMILIES: dict[str, Family] = {
    "bert": replace(_BERT, pooled_head=True),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "electra": _BERT,
    "deberta-v2": _DEBERTA,  # DeBERTa-v3 has the same code
    "mpnet": _MPNET,
    "distilbert": _DISTILBERT,
    "albert": _ALBERT,
    "modernbert": _MODERNBERT,
    "gpt2": _GPT2,
    "llama": _llama_like(),
    "qwen2": _llama_like(),
    "qwen3": _llama_like(),
    "t5": _T5,
    "bart": _BART,
}
