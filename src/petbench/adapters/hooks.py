"""Hooks: attach adapters to exactly named modules, remove them, merge them into the weights and undo that."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from petbench.adapters.adapter import Adapter, Affine, Attachment, Handle, StackAdapter
from petbench.adapters.attention import restore_attention
from petbench.adapters.together import Together, readers_of
from petbench.errors import UserError
from petbench.models.sites import Site

OWNER = "petbench"  # the ModuleDict on the model that owns every adapter parameter


class Wire:
    """Carries the output of one site to the adapter that reads it (`Attachment.reads`), within one forward call."""

    def __init__(self) -> None:
        self.value: Tensor | None = None

    def put(self, module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        self.value = output

    def take(self) -> Tensor:
        value, self.value = self.value, None  # not kept: it would hold the activation until the next call
        if value is None:
            raise RuntimeError("the site that the adapter reads has not run in this forward call")
        return value


class HookedAdapters:
    """Adapters that act through hooks; `method.Installed` describes the methods."""

    def __init__(self, model: nn.Module, attachments: Sequence[Attachment]) -> None:
        self.model = model
        self.attachments = list(attachments)
        self._saved: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._on = True
        keys = [attachment.key for attachment in attachments]
        if len(set(keys)) != len(keys):
            raise ValueError(f"two attachments share a key: {sorted(k for k in keys if keys.count(k) > 1)}")
        owner = nn.ModuleDict({a.key: a.adapter for a in attachments})
        owner._tied_weights_keys = _second_names(owner)  # type: ignore[assignment]
        model.add_module(OWNER, owner)
        self.adapter_names = frozenset(
            name for name, _ in model.named_parameters() if name.startswith(f"{OWNER}.")
        )
        self.vector_names = frozenset(
            f"{OWNER}.{a.key}.{name}" for a in attachments for name in a.adapter.vectors
        )
        self._handles: list[Handle] = []
        for attachment in attachments:
            self._handles += self._hang(attachment)
        self._handles += Together(readers_of(attachments)).hang(model)

    def _hang(self, attachment: Attachment) -> Sequence[Handle]:
        module: Any = self.model.get_submodule(attachment.site.module)
        adapter, columns = attachment.adapter, attachment.site.columns
        if isinstance(adapter, StackAdapter):
            return adapter.hang(self.model, attachment, lambda: self._on)
        if attachment.at == "input":
            return [module.register_forward_pre_hook(self._input_hook(adapter, 0))]
        if attachment.at == "parallel" and attachment.site.residual_argument is not None:
            return [
                module.register_forward_pre_hook(self._input_hook(adapter, attachment.site.residual_argument))
            ]
        if attachment.reads is None:
            return [module.register_forward_hook(self._output_hook(adapter, columns))]
        return self._hang_reader(adapter, attachment, attachment.reads)

    def _hang_reader(self, adapter: Adapter, attachment: Attachment, reads: Site) -> Sequence[Handle]:
        module: Any = self.model.get_submodule(attachment.site.module)
        columns = attachment.site.columns
        if reads.module == attachment.site.module:  # a fused projection holds both
            start, stop = reads.columns or (0, reads.d_out)

            def source_of(output: Tensor) -> Tensor:
                return output[..., start:stop]

            return [module.register_forward_hook(self._output_hook(adapter, columns, source_of))]
        wire = Wire()
        put = self.model.get_submodule(reads.module).register_forward_hook(wire.put)
        hook = self._output_hook(adapter, columns, lambda _: wire.take())
        return [put, module.register_forward_hook(hook)]

    def _output_hook(
        self,
        adapter: Adapter,
        columns: tuple[int, int] | None,
        source_of: Callable[[Tensor], Tensor] | None = None,
    ) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if not self._on:
                return None
            source = arguments[0] if source_of is None else source_of(output)
            if columns is None:
                # Float32 parameters turn a bf16 output into float32, and the model's own code needs equal dtypes.
                return adapter(source, output).to(output.dtype)
            start, stop = columns
            changed = adapter(source, output[..., start:stop])
            return torch.cat([output[..., :start], changed.to(output.dtype), output[..., stop:]], dim=-1)

        return hook

    def _input_hook(self, adapter: Adapter, position: int) -> Callable[..., tuple[Any, ...] | None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not self._on:
                return None
            x = arguments[position]
            return (*arguments[:position], adapter(x, x), *arguments[position + 1 :])

        return hook

    @property
    def on(self) -> bool:
        """Whether the adapters act."""
        return self._on

    def enable(self, on: bool) -> None:
        self._on = on

    def remove(self) -> None:
        """Take the hooks and the adapters off: the model is the plain backbone again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        delattr(self.model, OWNER)

    def plain(self, folded: bool = False) -> nn.Module:
        """A copy of the model without adapters and hooks; the model itself is left as it is."""
        if not folded:
            return plain_copy(self.model)
        self.merge()
        try:
            return plain_copy(self.model)
        finally:
            self.unmerge()

    def start(self, total_steps: int) -> None:
        """Nothing to do."""

    def after_step(self, step: int) -> None:
        """Nothing to do."""

    def memory(self) -> dict[str, Tensor]:
        """Nothing: these adapters keep no state besides their parameters."""
        return {}

    def remember(self, memory: dict[str, Tensor]) -> None:
        """Nothing to do."""

    @torch.no_grad()
    def merge(self) -> None:
        if self._saved:
            return
        for attachment in self.attachments:
            if attachment.at == "parallel" or isinstance(attachment.adapter, StackAdapter):
                where = "parallel to" if attachment.at == "parallel" else "before"
                raise UserError(
                    f"{type(attachment.adapter).__name__} acts {where} {attachment.site.role} and cannot be merged: "
                    "no plain layer computes the same."
                )
        # Save every layer before any is changed: merging an adapter that reads another site needs both as they were.
        for attachment in self.attachments:
            module: Any = self.model.get_submodule(attachment.site.module)
            name = attachment.site.module
            if name not in self._saved:
                bias = getattr(module, "bias", None)
                self._saved[name] = (
                    module.weight.detach().clone(),
                    None if bias is None else bias.detach().clone(),
                )
        try:
            for attachment in self.attachments:
                self._fold(attachment)
        except UserError:
            self.unmerge()
            raise
        self.enable(False)

    def _fold(self, attachment: Attachment) -> None:
        site, adapter = attachment.site, attachment.adapter
        assert isinstance(adapter, Adapter)  # `merge` refuses the others
        read = None
        if attachment.reads is not None:
            weight, bias = self._saved.get(attachment.reads.module) or _plain(self.model, attachment.reads)
            read = _part(weight, bias, attachment.reads)
        module: Any = self.model.get_submodule(site.module)
        bias = getattr(module, "bias", None)
        merged = adapter.merged(_part(module.weight, bias, site), read)
        if merged.bias is not None and bias is None and bool(merged.bias.any()):
            raise UserError(
                f"cannot merge into {site}: the method needs a bias there and this architecture's layer has none."
            )
        start, stop = site.columns or (0, site.d_out)
        weight = merged.weight.to(module.weight.dtype)
        if site.transposed:
            module.weight[:, start:stop] = weight.t()
        elif site.columns is None:
            module.weight.copy_(weight)
        else:
            module.weight[start:stop] = weight
        if merged.bias is not None and bias is not None:
            bias[start:stop] = merged.bias.to(bias.dtype)

    @torch.no_grad()
    def unmerge(self) -> None:
        for name, (weight, bias) in self._saved.items():
            module: Any = self.model.get_submodule(name)
            module.weight.copy_(weight)
            if bias is not None:
                module.bias.copy_(bias)
        self._saved.clear()
        self.enable(True)


def _second_names(owner: nn.Module) -> dict[str, str]:
    """Second name -> first name of every shared parameter, as `save_pretrained` expects its list of tied tensors."""
    first: dict[int, str] = {}
    every = [(name, id(p)) for name, p in owner.named_parameters(remove_duplicate=False)]
    return {name: known for name, number in every if (known := first.setdefault(number, name)) != name}


def _plain(model: nn.Module, site: Site) -> tuple[Tensor, Tensor | None]:
    module: Any = model.get_submodule(site.module)
    return module.weight, getattr(module, "bias", None)


def _part(weight: Tensor, bias: Tensor | None, site: Site) -> Affine:
    """The rows of a layer that belong to a site, in (d_out, d_in) form."""
    if weight.dim() == 1:  # a norm: an adapter can be merged into its bias alone
        return Affine(weight, bias)
    plain = weight.t() if site.transposed else weight
    if site.columns is None:
        return Affine(plain, bias)
    start, stop = site.columns
    return Affine(plain[start:stop], None if bias is None else bias[start:stop])


def plain_copy(model: nn.Module) -> nn.Module:
    """A copy of the model without petbench's adapters and hooks."""
    plain = copy.deepcopy(model)
    restore_attention(plain)
    if hasattr(plain, OWNER):
        delattr(plain, OWNER)
    for module in plain.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            ours = [
                n for n, hook in hooks.items() if str(getattr(hook, "__module__", "")).startswith("petbench.")
            ]
            for number in ours:
                del hooks[number]
    return plain


def install_hooks(model: nn.Module, attachments: Sequence[Attachment]) -> HookedAdapters:
    """Attach the adapters to the model."""
    return HookedAdapters(model, attachments)
