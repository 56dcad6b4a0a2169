"""Prompt tuning: learned vectors before the input's embeddings.

    X' = [P; E(x)]        P (n, d) learned, E(x) (tokens, d) the frozen embeddings

n·d parameters (T5-base with 100 vectors: 76,800). Init `random`: uniform in (-0.5, 0.5); `token`: rows 0 to n-1
of the embedding table, as the Compacter authors do; `random_token`: rows drawn at random. Step 0 is not the
backbone; it does not merge.

In an encoder-decoder the vectors go before the encoder's input. In an encoder with a head they come before all
tokens, so a head that reads the first position reads the output of the first vector, as under PEFT. A decoder-only
model's head, and a head that averages, sees the outputs of the real tokens alone: it finds them by position.

Lester, Al-Rfou and Constant, The power of scale for parameter-efficient prompt tuning, EMNLP 2021,
arXiv 2104.08691.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from petbench.adapters.adapter import Attachment, Handle, StackAdapter
from petbench.adapters.hooks import install_hooks
from petbench.adapters.method import Installed, Method
from petbench.adapters.peft_form import PeftForm, Ranks
from petbench.adapters.registry import register
from petbench.config.sections import AdapterSpec, PositiveInt
from petbench.errors import UserError
from petbench.models.sites import HeadReads, Layout, Site


class PromptTuningSpec(AdapterSpec):
    """How many vectors, and how they are initialised."""

    prompt_length: PositiveInt = 20
    init: Literal["random", "token", "random_token"] = "random"


class PromptAdapter(StackAdapter):
    """[P; E(x)]: (batch, tokens, d) -> (batch, n + tokens, d)."""

    vectors = frozenset({"P"})

    def __init__(self, length: int, d: int, head_reads: HeadReads) -> None:
        super().__init__()
        self.head_reads = head_reads
        self.P = nn.Parameter(torch.empty(length, d))
        nn.init.uniform_(self.P, -0.5, 0.5)

    def forward(self, embedded: Tensor) -> Tensor:
        prompt = self.P.to(embedded.dtype).expand(embedded.shape[0], -1, -1)
        return torch.cat([prompt, embedded], dim=1)

    def hang(self, model: Any, attachment: Attachment, is_on: Callable[[], bool]) -> list[Handle]:
        length = self.P.shape[0]
        embed = model.get_submodule(attachment.site.module)
        body = stack_module(model, attachment.site)
        bind = keyword_binder(body)

        def put(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            if not is_on():
                return None
            given = bind(arguments, keywords)
            ids, embeds = given.pop("input_ids", None), given.get("inputs_embeds")
            given["inputs_embeds"] = self(embed(ids) if embeds is None else embeds)
            given["attention_mask"] = longer(given.get("attention_mask"), length, 1)
            given["token_type_ids"] = longer(given.get("token_type_ids"), length, 0)
            return (), {name: value for name, value in given.items() if value is not None}

        handles: list[Handle] = [body.register_forward_pre_hook(put, with_kwargs=True)]
        if model.config.is_encoder_decoder:
            handles.append(_hang_memory(model.get_decoder(), length, is_on))
        elif self.head_reads != "first":  # the head finds tokens by their position in the input
            handles.append(body.register_forward_hook(_without_prompt(length, is_on)))
        return handles


@register
class PromptTuning(Method[PromptTuningSpec]):
    """Learned input vectors."""

    name = "prompt_tuning"
    Spec = PromptTuningSpec

    def attachments(self, spec: PromptTuningSpec, layout: Layout) -> Iterable[Attachment]:
        site = embedding_site(layout, "encoder")
        yield Attachment(site, PromptAdapter(spec.prompt_length, site.d_out, layout.head_reads))

    def count(self, spec: PromptTuningSpec, layout: Layout) -> int:
        return spec.prompt_length * embedding_site(layout, "encoder").d_out

    def identity_at_init(self, spec: PromptTuningSpec) -> bool:
        return False

    def learned_positions(self, spec: PromptTuningSpec) -> int:
        return spec.prompt_length

    def draws(self, spec: PromptTuningSpec) -> bool:
        return spec.init != "token"

    def sizes(self, spec: PromptTuningSpec, layout: Layout) -> Iterable[PromptTuningSpec]:
        """1 to 200 vectors."""
        for length in range(1, 201):
            yield spec.model_copy(update={"prompt_length": length})

    def peft_form(
        self, spec: PromptTuningSpec, layout: Layout, installed: Installed, ranks: Ranks
    ) -> PeftForm:
        if layout.head_modules and layout.head_reads != "first":
            raise UserError(
                f"prompt_tuning on {layout.family} with a head cannot be exported: under PEFT the head no longer knows "
                "which tokens are real, so the logits would differ."
            )
        (attachment,) = installed.attachments
        adapter = attachment.adapter
        assert isinstance(adapter, PromptAdapter)
        length, width = adapter.P.shape
        # PEFT asks for numbers of heads and layers even here, and does not find them in every family's config.
        arguments = {
            "num_virtual_tokens": length,
            "token_dim": width,
            "num_attention_heads": layout.sites("query")[0].heads,
            "num_layers": next(iter(layout.layers.values())),
            "num_transformer_submodules": 1,
        }
        values = {"prompt_encoder.default.embedding.weight": adapter.P.detach()}
        return PeftForm("PROMPT_TUNING", arguments, values, f"prompt tuning of {length} vectors")

    def install(self, model: nn.Module, spec: PromptTuningSpec, layout: Layout) -> Installed:
        """Install the vectors. Raises UserError when they leave no position to tokens or outnumber rows to copy."""
        room = getattr(model.config, "max_position_embeddings", None)
        if room is not None and spec.prompt_length >= room:
            raise UserError(
                f"adapter.prompt_length {spec.prompt_length} leaves no room for tokens: this model has {room} "
                f"positions. Legal: 1 to {room - 1}."
            )
        installed = install_hooks(model, list(self.attachments(spec, layout)))
        (attachment,) = installed.attachments
        table = model.get_submodule(attachment.site.module).weight
        adapter = attachment.adapter
        if spec.init != "random" and isinstance(table, Tensor) and isinstance(adapter, PromptAdapter):
            rows = _start_rows(spec, table.shape[0])
            if not table.is_meta:  # a plan is made on the meta device, where there are no rows to copy
                with torch.no_grad():
                    adapter.P.copy_(table[rows.to(table.device)])
        return installed


def _start_rows(spec: PromptTuningSpec, rows: int) -> Tensor:
    """Which rows of the embedding table the vectors start from."""
    if spec.init == "random_token":
        return torch.randint(0, rows, (spec.prompt_length,), device="cpu")
    if spec.prompt_length > rows:
        raise UserError(
            f"adapter.prompt_length {spec.prompt_length} with adapter.init=token: the embedding table has {rows} "
            f"rows. Legal: 1 to {rows}, or adapter.init=random."
        )
    return torch.arange(spec.prompt_length)


def embedding_site(layout: Layout, preferred: Literal["encoder", "decoder"]) -> Site:
    """The embedding of that stack, or of the only stack there is."""
    stack = preferred if preferred in layout.layers else next(iter(layout.layers))
    return layout.sites("embedding", stack=stack)[0]


def stack_module(model: Any, site: Site) -> Any:
    """The module whose forward takes `input_ids` or `inputs_embeds` of the site's stack."""
    if model.config.is_encoder_decoder:
        return model.get_submodule(site.module.rpartition(".")[0])
    return model.base_model


def keyword_binder(module: nn.Module) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """A function that gives every argument of the module's forward its name."""
    names = list(inspect.signature(module.forward).parameters)

    def bind(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        return {**dict(zip(names, arguments, strict=False)), **keywords}

    return bind


def longer(mask: Tensor | None, length: int, value: int) -> Tensor | None:
    """(batch, tokens) -> (batch, length + tokens), the new part filled with `value`."""
    if mask is None:
        return None
    return torch.cat([mask.new_full((mask.shape[0], length), value), mask], dim=1)


def _hang_memory(decoder: nn.Module, length: int, is_on: Callable[[], bool]) -> Handle:
    """Lengthen the decoder's mask over the encoder's output, which the vectors lengthen, also in generation."""
    bind = keyword_binder(decoder)

    def put(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        given = bind(arguments, keywords)
        mask, states = given.get("encoder_attention_mask"), given.get("encoder_hidden_states")
        if not is_on() or mask is None or states is None or mask.shape[1] == states.shape[1]:
            return None
        given["encoder_attention_mask"] = longer(mask, length, 1)
        return (), given

    return decoder.register_forward_pre_hook(put, with_kwargs=True)


def _without_prompt(length: int, is_on: Callable[[], bool]) -> Callable[..., Any]:
    def trim(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        if not is_on():
            return None
        if isinstance(output, tuple):
            return (output[0][:, length:], *output[1:])
        output.last_hidden_state = output.last_hidden_state[:, length:]
        return output

    return trim
