"""The layout of a model: the exact module names of every role, each checked."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from torch import nn

from petbench.errors import UserError, unknown
from petbench.models.family import Family, Place, Tower
from petbench.models.family_table import FAMILIES
from petbench.models.sites import ROLES, Layout, Site, Stack

if TYPE_CHECKING:  # transformers takes seconds, and no mistake should wait for it
    from transformers import PreTrainedConfig, PreTrainedModel

Expected = tuple[Place, Stack, int, str]  # place, stack, layer, exact module name


def family_of(model_type: str) -> Family:
    """The facts of an architecture. Raises UserError for one that the table lacks."""
    family = FAMILIES.get(model_type)
    if family is None:
        raise unknown("model.name: the architecture", model_type, FAMILIES)
    return family


def layout_of(model: "PreTrainedModel") -> Layout:
    """All sites of a model by role; for a plain body or a model with a head, also on the meta device.

    Decoder-only models (GPT-2, Llama, Qwen) have the stack `decoder`. In a gated FFN the projection
    that goes through the activation has part `gate`; fused projections give one site per slice.
    A norm is a site when it belongs to a sublayer or ends a stack; norms of embeddings, of relative
    positions (DeBERTa) and of queries and keys (Qwen3) are no sites.
    Raises UserError for an unknown family and when a module that the table names is not there.
    """
    config = model.config
    family = family_of(config.model_type)
    body = _body_prefix(model)
    towers = [tower for tower in family.towers if not tower.optional or _has_stack(model, body, tower)]
    layers: dict[Stack, int] = {tower.stack: int(getattr(config, tower.count)) for tower in towers}
    expected = [item for tower in towers for item in _expected(config, tower, body, layers[tower.stack])]
    found = [_site(model, item) for item in expected]
    _complain(model, expected, found, [(tower, body + tower.layers) for tower in towers])
    sites = [site for site in found if site is not None]
    head_modules = _head_modules(model, body)
    head = _head_site(model, head_modules, "decoder" if "decoder" in layers else "encoder")
    if head is not None:
        sites.append(head)
    return Layout(
        family=config.model_type,
        hidden=config.hidden_size,
        layers=layers,
        all_sites=tuple(sites),
        head_modules=head_modules,
        encoder_decoder=set(layers) == {"encoder", "decoder"},
        missing=_missing(family, sites),
        head_reads="mean" if getattr(config, "classifier_pooling", "") == "mean" else family.head_reads,
        more_keys=family.more_keys,
        positions=body + family.positions if family.positions else "",
        pooled_head=family.pooled_head,
        free_key_bias=family.free_key_bias,
    )


def attention_modules(model: "PreTrainedModel", stack: Stack) -> list[Any]:
    """The self-attention module of every layer of a stack, also where its projections are wrapped."""
    (tower,) = (tower for tower in family_of(model.config.model_type).towers if tower.stack == stack)
    (key,) = (place for place in tower.places if place.role == "key" and place.attention == "self")
    layers: Any = model.get_submodule(_body_prefix(model) + tower.layers)
    return [layer.get_submodule(key.path.rpartition(".")[0]) for layer in layers]


def _body_prefix(model: "PreTrainedModel") -> str:
    """`bert.` where the body sits inside a model with a head, nothing where the model is the body."""
    name = model.base_model_prefix
    return f"{name}." if name and isinstance(getattr(model, name, None), nn.Module) else ""


def _find(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _has_stack(model: nn.Module, body: str, tower: Tower) -> bool:
    return _find(model, body + tower.layers.partition(".")[0]) is not None


def _expected(config: "PreTrainedConfig", tower: Tower, body: str, count: int) -> list[Expected]:
    """Every place of one stack, embeddings first, then layer by layer, the final norm last."""
    gated = bool(getattr(config, "is_gated_act", False))
    outside = [(place, tower.stack, -1, body + place.path) for place in tower.outside]
    inside = [
        (place, tower.stack, layer, f"{body}{tower.layers}.{layer}.{place.path}")
        for layer in range(count)
        for place in tower.places
        if place.gated in (None, gated) and layer >= place.first_layer
    ]
    before = [item for item in outside if item[0].role == "embedding"]
    return before + inside + [item for item in outside if item not in before]


def _site(model: "PreTrainedModel", item: Expected) -> Site | None:
    """The site at an expected place, or None when there is no fitting module."""
    place, stack, layer, name = item
    module = _find(model, name)
    sizes = _sizes(module, place, model.config.hidden_size)
    if sizes is None:
        return None
    d_in, d_out, transposed = sizes
    columns = None
    if place.fused is not None:
        index, parts = place.fused
        if d_out % parts:
            return None
        d_out //= parts
        columns = (index * d_out, (index + 1) * d_out)
    return Site(
        role=place.role,
        stack=stack,
        layer=layer,
        module=name,
        d_in=d_in,
        d_out=d_out,
        attention=place.attention,
        columns=columns,
        heads=int(getattr(model.config, place.heads)) if place.heads else 0,
        transposed=transposed,
        residual_argument=place.residual_argument,
        bias=getattr(module, "bias", None) is not None,
        part=place.part,
    )


def _sizes(module: nn.Module | None, place: Place, hidden: int) -> tuple[int, int, bool] | None:
    """(d_in, d_out, transposed) of a module, or None when it cannot hold the role."""
    if module is None:
        return None
    if place.role == "ffn_block":
        return hidden, hidden, False
    weight = getattr(module, "weight", None)
    if weight is None:  # such as an Identity where a norm is expected
        return None
    if place.role.endswith("_norm"):
        return weight.shape[-1], weight.shape[-1], False
    if isinstance(module, nn.Embedding):
        return module.num_embeddings, module.embedding_dim, False
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features, False
    if type(module).__name__ == "Conv1D":  # GPT-2's linear layer; its weight is (in, out)
        return weight.shape[0], weight.shape[1], True
    return None


def _complain(
    model: "PreTrainedModel",
    expected: list[Expected],
    found: list[Site | None],
    towers: list[tuple[Tower, str]],
) -> None:
    """Raise UserError unless every expected place was found and no layer was left over."""
    problems = []
    for tower, name in towers:
        count = int(getattr(model.config, tower.count))
        there = _find(model, name)
        has = len(there) if isinstance(there, nn.ModuleList) else 0
        if has != count:
            problems.append(f"{count} layers expected in {name}, {has} found")
    lost = [item for item, site in zip(expected, found, strict=True) if site is None]
    wanted = Counter(place.role for place, *_ in expected)
    for role, number in Counter(place.role for place, *_ in lost).items():
        first = next(name for place, _, _, name in lost if place.role == role)
        problems.append(f"{role}: {wanted[role]} places expected, {wanted[role] - number} found; no {first}")
    if getattr(model.config, "num_hidden_groups", 1) != 1:  # ALBERT; the released ones all have one
        problems.append(f"{model.config.num_hidden_groups} groups of shared layers, 1 expected")
    if problems:
        raise UserError(
            f"model.name: this {model.config.model_type} model ({type(model).__name__}) is not built as "
            f"expected: {'; '.join(problems)}.\nUse a stock transformers model of the family."
        )


def _head_modules(model: "PreTrainedModel", body: str) -> tuple[str, ...]:
    """The modules of the task head: all beside the body, none in a model with a pretrained language-model head."""
    if not body or model.get_output_embeddings() is not None:
        return ()
    return tuple(
        name
        for name, child in model.named_children()
        if f"{name}." != body and next(child.parameters(), None) is not None
    )


def _head_site(model: "PreTrainedModel", head_modules: tuple[str, ...], stack: Stack) -> Site | None:
    """The last linear layer: the task head's, or the language-model head."""
    output = model.get_output_embeddings()
    linears = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (module is output or name.split(".")[0] in head_modules)
    ]
    if not linears:
        return None
    name, module = linears[-1]
    sizes = (module.in_features, module.out_features)
    return Site("head", stack, -1, name, *sizes, bias=module.bias is not None)


def _missing(family: Family, sites: list[Site]) -> dict[str, str]:
    """role -> why this model has no such place."""
    missing = dict(family.missing)
    there = {site.role for site in sites}
    for role in ROLES:
        if role not in there:
            missing.setdefault(role, "it is a plain body." if role == "head" else "it has no such module.")
    return missing
