"""A saved PEFT adapter loaded by `adapter=peft/…`: its type, options and shapes must be those of the run."""

from typing import Any

from torch import Tensor

from petbench.adapters.method import Installed
from petbench.adapters.peft.config import PeftSpec
from petbench.adapters.peft_in import Foreign
from petbench.errors import UserError

# Options that say where a config was used, that training alone reads, or that the tensors show by name and shape.
_NOT_THE_FORM = {
    *("task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("modules_to_save", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("lora_dropout", "rank_dropout", "module_dropout", "runtime_config", "megatron_core", "total_step"),
    *("tinit", "tfinal", "deltaT", "feedforward_modules", "fan_in_fan_out"),
}  # fmt: skip


def values_by_name(foreign: Foreign, spec: PeftSpec, installed: Installed) -> dict[str, Tensor]:
    """The saved tensors under the names that PEFT has in memory. Raises UserError where type, options or sizes
    differ: the same numbers would then compute another function."""
    if foreign.kind != spec.kind:
        raise UserError(
            f"{foreign.folder} holds PEFT's {foreign.kind}, this run's adapter is {spec.kind}. "
            f"Set adapter.peft_type={foreign.kind}."
        )
    own: dict[str, Any] = installed.model.peft_config["default"].to_dict()  # type: ignore[union-attr, index]
    for key in own.keys() & foreign.config.keys() - _NOT_THE_FORM:
        there, here = foreign.config[key], own[key]
        if not key.startswith("init_") and str(there).upper() != str(getattr(here, "value", here)).upper():
            raise UserError(
                f"{foreign.folder}: {key} is {str(there)[:60]} in the saved adapter, {str(here)[:60]} in this run. "
                f"Set it in adapter.arguments, as 'adapter.arguments={{{key}: {str(there)[:60]}}}'."
            )
    names = {
        name: name.removeprefix("base_model.model.").replace(".default", "")
        for name in installed.adapter_names
    }
    if absent := sorted(name for name, saved in names.items() if saved not in foreign.tensors):
        raise UserError(
            f"{foreign.folder} holds nothing for {absent[0]}. Set adapter.targets to the adapter's."
        )
    return {name: foreign.tensors[saved] for name, saved in names.items()}
