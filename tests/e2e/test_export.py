"""Exported adapters and merged checkpoints give equal logits in a process that never imports petbench."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import __version__ as peft_version
from safetensors.torch import load_file, save_file

from petbench.adapters.hooks import plain_copy
from petbench.errors import UserError
from petbench.export.write import export_peft, merge_to_folder
from petbench.tuned.attach import Tuned
from tiny_models import backbone, batch, disturb, logits, takes_past_key_values, tuned

# case -> (model, method, fields)
PEFT_CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lora_bert": ("tiny_bert", "lora", {"rank": 4, "train_norms": True}),
    "lora_t5": ("tiny_t5", "lora", {"rank": 2}),
    "lora_gpt2": ("tiny_gpt2", "lora", {"rank": 2}),  # a fused projection: query and value in one module
    "ia3_bert": ("tiny_bert", "ia3", {}),
    "ia3_t5": ("tiny_t5", "ia3", {}),
    "ia3_gpt2": ("tiny_gpt2", "ia3", {}),
    "ln_tuning_bert": ("tiny_bert", "ln_tuning", {}),
    "ln_tuning_t5": ("tiny_t5", "ln_tuning", {}),
    "prompt_bert": ("tiny_bert", "prompt_tuning", {}),
    "prompt_roberta": ("tiny_roberta", "prompt_tuning", {}),
    "prompt_t5": ("tiny_t5", "prompt_tuning", {}),
    "prompt_distilbert": ("tiny_distilbert", "prompt_tuning", {"prompt_length": 5}),
    "krona_lokr": ("tiny_bert", "krona", {"factor_shape": (4, 4), "scale": 2.0}),
    "krona_lora": ("tiny_bert", "krona", {"factor_shape": (2, 16)}),
    "krona_gpt2": ("tiny_gpt2", "krona", {"factor_shape": (16, 2)}),
    "krona_t5": ("tiny_t5", "krona", {"factor_shape": (4, 4)}),
    "peft_lora": ("tiny_bert", "peft", {"peft_type": "LORA", "targets": ["query"], "arguments": {"r": 2}}),
    "lora_distilbert": ("tiny_distilbert", "lora", {}),
    "lora_deberta": ("tiny_deberta", "lora", {}),
}
MERGE_CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "merge_krona": ("tiny_bert", "krona", {}),
    "merge_krona_t5": ("tiny_t5", "krona", {}),
    "merge_kernel_mix": ("tiny_bert", "kernel_mix", {}),
    "merge_hadamard": ("tiny_roberta", "hadamard", {}),
    "merge_lora_gpt2": ("tiny_gpt2", "lora", {}),
    "merge_peft": ("tiny_bert", "peft", {"peft_type": "LOHA", "targets": ["key"], "arguments": {"r": 2}}),
}
STRANGER = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification
from peft import PeftModel
root = Path(sys.argv[1])
for folder in sorted(p for p in root.iterdir() if p.is_dir()):
    case = json.loads((folder / "case.json").read_text())
    kind = AutoModelForSeq2SeqLM if case["text"] else AutoModelForSequenceClassification
    model = kind.from_pretrained(folder / ("out" if case["merged"] else "base"))
    if not case["merged"]:
        model = PeftModel.from_pretrained(model, folder / "out")
    with torch.no_grad():
        save_file({"logits": model.eval()(**load_file(folder / "batch.st")).logits}, folder / "theirs.st")
assert not [name for name in sys.modules if name.startswith("petbench")]
"""


def _case(model: str, method: str, fields: dict[str, Any]) -> Tuned:
    """A tuned model of which everything trained differs from the backbone."""
    made = tuned(model, method, **fields)
    disturb(made.model, made.trained_names - made.adapter_names, scale=0.1)
    return made


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[torch.Tensor, torch.Tensor, str]]:
    """Of every case: the tuned model's logits, the stranger's, and what the export said."""
    root = tmp_path_factory.mktemp("exported")
    ours, said = {}, {}
    for name, (model, method, fields) in {**PEFT_CASES, **MERGE_CASES}.items():
        made = _case(model, method, fields)
        values = batch(model)
        folder = root / name
        ours[name] = logits(made.model, values)
        folder.mkdir()
        if name in MERGE_CASES:
            said[name] = merge_to_folder(made, None, folder / "out")
        else:
            backbone(model).model.save_pretrained(folder / "base")
            said[name] = export_peft(made, folder / "out")
        torch.testing.assert_close(ours[name], logits(made.model, values), rtol=0, atol=0)
        save_file(values, folder / "batch.st")
        case = {"text": made.layout.encoder_decoder, "merged": name in MERGE_CASES}
        (folder / "case.json").write_text(json.dumps(case))
    done = subprocess.run([sys.executable, "-c", STRANGER, str(root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {n: (ours[n], load_file(root / n / "theirs.st")["logits"], said[n]) for n in ours}


@pytest.mark.parametrize("name", [*PEFT_CASES, *MERGE_CASES])
def test_a_stranger_gets_the_same_logits(name: str, exported: dict[str, Any]) -> None:
    ours, theirs, _ = exported[name]
    scale = max(1.0, float(ours.abs().max()))
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=2e-5)


def test_krona_says_which_form_it_took(exported: dict[str, Any]) -> None:
    assert exported["krona_lokr"][2].startswith("LoKr with decompose_factor")
    assert exported["krona_lora"][2].startswith("exact LoRA: rank(A ⊗ B) is at most 4")


def test_krona_of_high_rank_is_refused_with_the_way_on(tmp_path: Path) -> None:
    made = _case("tiny_bert", "krona", {"factor_shape": (8, 4)})
    with pytest.raises(
        UserError, match=r"rank\(A ⊗ B\) is 16, more than --max-rank 8.*\n.*petbench merge.*--approx"
    ):
        export_peft(made, tmp_path / "refused", max_rank=8)
    said = export_peft(made, tmp_path / "near", max_rank=8, approximate=8)
    assert "relative error of the changes 0." in said
    config = json.loads((tmp_path / "near" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"]) == ("LORA", 8)


def test_the_nearest_lora_is_the_truncated_svd(tmp_path: Path) -> None:
    made = _case("tiny_bert", "krona", {"factor_shape": (8, 4), "scale": -3.0})
    export_peft(made, tmp_path / "near", max_rank=1, approximate=5)
    saved = load_file(tmp_path / "near" / "adapter_model.safetensors")
    first = made.installed.attachments[0]  # type: ignore[attr-defined]
    whole = -3.0 * torch.kron(first.adapter.A, first.adapter.B).t().detach()
    u, s, v = torch.linalg.svd(whole)
    best = u[:, :5] @ torch.diag(s[:5]) @ v[:5]
    name = f"base_model.model.{first.site.module}"
    product = saved[f"{name}.lora_B.weight"] @ saved[f"{name}.lora_A.weight"]
    torch.testing.assert_close(product, best, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "method", "fields", "message"),
    [
        ("tiny_bert", "houlsby", {"bottleneck_dim": 4}, "no method of PEFT computes the same"),
        ("tiny_bert", "hadamard", {}, "petbench merge"),
        ("tiny_bert", "bitfit", {}, "trains weights of the backbone itself"),
        ("tiny_gpt2", "prompt_tuning", {}, "which tokens are real"),
        ("tiny_t5", "prefix_tuning", {}, "PEFT serves the decoder's own attention alone"),
        ("tiny_roberta", "prefix_tuning", {}, "PEFT does not call this family's head"),
    ],
)
def test_refusals_say_why(
    model: str, method: str, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        export_peft(_case(model, method, fields), tmp_path / "out")


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_gpt2", "tiny_llama"])
def test_a_prefix_is_exported_where_the_installed_peft_brings_it_in(model: str, tmp_path: Path) -> None:
    """Equal when it is read again, or refused before a file is written, naming the two libraries."""
    from peft import PeftModel

    made = _case(model, "prefix_tuning", {"mlp_width": 8} if model == "tiny_bert" else {})
    out, values = tmp_path / "out", batch(model)
    plain = backbone(model).model
    if takes_past_key_values(plain):
        export_peft(made, out)
        theirs = PeftModel.from_pretrained(plain, str(out))
        torch.testing.assert_close(logits(theirs, values), logits(made.model, values), rtol=0, atol=2e-5)
        return
    words = (
        rf"keys and values do not reach a {model[5:]} model's attention \(peft {peft_version}, transformers "
    )
    with pytest.raises(UserError, match=words):
        export_peft(made, out)
    assert not out.exists()


def test_a_copy_without_the_prefix_is_the_backbone() -> None:
    """Hooks, parameters and the attention function are gone; the original keeps them."""
    made, values = tuned("tiny_bert", "prefix_tuning"), batch("tiny_bert")
    before = logits(made.model, values)
    plain = plain_copy(made.model)
    assert plain.config._attn_implementation == "sdpa"
    assert torch.equal(logits(plain, values), logits(backbone("tiny_bert").model, values))
    assert torch.equal(logits(made.model, values), before)


def test_a_method_that_cannot_merge_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be merged"):
        merge_to_folder(_case("tiny_bert", "prompt_tuning", {}), None, tmp_path / "out")


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        export_peft(_case("tiny_bert", "lora", {}), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
