"""Adapters that stock PEFT saved, in a process without petbench, give the same logits under the native method."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from petbench.adapters.peft_in import read_foreign
from petbench.adapters.registry import method_named
from petbench.cli import run_command
from petbench.errors import UserError
from petbench.tuned.attach import Tuned, attach
from petbench.tuned.start import start_from, values_of
from tiny_models import backbone, batch, logits

# case -> (model, PEFT's type, its arguments)
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lora": ("tiny_bert", "LORA", {"r": 4, "lora_alpha": 12, "target_modules": ["query", "value"]}),
    "lora_patterns": (
        "tiny_bert",
        "LORA",
        {
            "r": 2,
            "lora_alpha": 4,
            "use_rslora": True,
            "target_modules": ["key", "output.dense"],
            "rank_pattern": {"layer.0.attention.self.key": 3},
            "alpha_pattern": {"attention.self.key": 9},
        },
    ),
    "lora_layers": ("tiny_bert", "LORA", {"r": 2, "target_modules": ["query"], "layers_to_transform": [1]}),
    "lora_gpt2": ("tiny_gpt2", "LORA", {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "lora_t5": ("tiny_t5", "LORA", {"r": 2, "target_modules": ["q", "v"]}),
    "ia3": (
        "tiny_bert",
        "IA3",
        {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"]},
    ),
    "ia3_gpt2": (
        "tiny_gpt2",
        "IA3",
        {
            "target_modules": ["c_attn", "mlp.c_proj"],
            "feedforward_modules": ["mlp.c_proj"],
            "fan_in_fan_out": True,
        },
    ),
    "lokr": ("tiny_bert", "LOKR", {"r": 64, "alpha": 32, "target_modules": ["query", "intermediate.dense"]}),
    "lokr_low": (
        "tiny_bert",
        "LOKR",
        {"r": 2, "alpha": 4, "decompose_both": True, "target_modules": ["query"]},
    ),
    "ln_tuning": (
        "tiny_bert",
        "LN_TUNING",
        {"target_modules": ["attention.output.LayerNorm", *(f"layer.{n}.output.LayerNorm" for n in (0, 1))]},
    ),
}
NATIVE = {"LORA": "lora", "IA3": "ia3", "LOKR": "krona", "LN_TUNING": "ln_tuning"}
STRANGER = """
import json, sys, torch
from pathlib import Path
from peft import get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification
for folder in sorted(p for p in Path(sys.argv[1]).iterdir() if p.is_dir()):
    case = json.loads((folder / "case.json").read_text())
    kind = AutoModelForSeq2SeqLM if case["text"] else AutoModelForSequenceClassification
    config = {k.value: c for k, c in PEFT_TYPE_TO_CONFIG_MAPPING.items()}[case["kind"]]
    task = "SEQ_2_SEQ_LM" if case["text"] else "SEQ_CLS"
    model = get_peft_model(kind.from_pretrained(folder / "base"), config(task_type=task, **case["arguments"]))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
        save_file({"logits": model.eval()(**load_file(folder / "batch.st")).logits}, folder / "theirs.st")
    model.save_pretrained(folder / "adapter")
assert not [name for name in sys.modules if name.startswith("petbench")]
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for every case: PEFT's adapter, and its logits."""
    root = tmp_path_factory.mktemp("strangers")
    for name, (model, kind, arguments) in CASES.items():
        folder = root / name
        made = backbone(model)
        made.model.save_pretrained(folder / "base")
        save_file(batch(model), folder / "batch.st")
        case = {"text": made.layout.encoder_decoder, "kind": kind, "arguments": arguments}
        (folder / "case.json").write_text(json.dumps(case))
    done = subprocess.run([sys.executable, "-c", STRANGER, str(root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def bare(model: str, method: str, **fields: Any) -> Tuned:
    made = backbone(model)
    spec = method_named(method).Spec.model_validate({"method": method, **fields})
    return attach(made.model, method_named(method), spec, made.layout)


def same(tuned: Tuned, folder: Path, model: str) -> None:
    theirs = load_file(folder / "theirs.st")["logits"]
    scale = max(1.0, float(theirs.abs().max()))
    torch.testing.assert_close(logits(tuned.model, batch(model)) / scale, theirs / scale, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_native_method_gives_the_same_logits(name: str, saved: Path) -> None:
    model, kind, _ = CASES[name]
    folder = saved / name / "adapter"
    made = backbone(model)
    method = method_named(NATIVE[kind])
    spec = method.spec_of_peft(read_foreign(folder), made.layout)
    tuned = attach(made.model, method, spec, made.layout)
    assert start_from(tuned, folder, "") == []  # nothing is left as it was
    same(tuned, saved / name, model)


def test_spec_says_what_the_adapter_is(saved: Path) -> None:
    def spec(name: str) -> Any:
        model, kind, _ = CASES[name]
        return method_named(NATIVE[kind]).spec_of_peft(
            read_foreign(saved / name / "adapter"), backbone(model).layout
        )

    lora = spec("lora_patterns")
    assert (lora.targets, lora.rank) == (("key", "attention_output", "ffn_output"), 3)
    assert lora.alpha == pytest.approx(3 * 9 / 2**0.5)  # the largest scaling: key of layer 1, rank 2, rslora
    assert spec("lora_layers").layers == (1,) and spec("lora_gpt2").targets == ("query", "key", "value")
    assert (spec("ia3").targets, spec("ia3").feedforward) == (
        ("key", "value"),
        ("attention_output", "ffn_output"),
    )
    lokr = spec("lokr")
    assert lokr.scale == 0.5 and lokr.factor_shape["ffn_input.0"] == (4, 8) and not lokr.train_norms


@pytest.mark.parametrize("name", ["lora_patterns", "lokr_low", "ia3"])
def test_pefts_own_form_takes_it_too(name: str, saved: Path) -> None:
    model, kind, given = CASES[name]
    adapter = saved / name / "adapter"
    roles = {
        "lora_patterns": ["key", "attention_output", "ffn_output"], "lokr_low": ["query"],
        "ia3": ["key", "value", "attention_output", "ffn_output"],
    }[name]  # fmt: skip
    arguments = {
        key: value for key, value in given.items() if key not in ("target_modules", "feedforward_modules")
    }
    more = {"feedforward": ["attention_output", "ffn_output"]} if name == "ia3" else {}
    tuned = bare(model, "peft", peft_type=kind, targets=roles, arguments=arguments, **more)
    start_from(tuned, adapter, "")
    same(tuned, saved / name, model)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("lora", {"rank": 2, "targets": ["query", "value"]}, r"has rank 4\. Set adapter\.rank=4 or more"),
        (
            "lora",
            {"rank": 8, "targets": ["query"]},
            r"also adapts \S*value\. Name its role in adapter\.targets",
        ),
        ("lora", {"rank": 8, "targets": ["query", "value", "key"]}, r"holds nothing for encoder layer 0 key"),
        (
            "lokr",
            {"method": "krona", "targets": ["query", "ffn_input"], "factor_shape": [8, 8]},
            r"Set adapter\.factor_shape=\[",
        ),
        ("ln_tuning", {"norms": ["ffn_norm"]}, r"trains in this adapter alone\. Set adapter\.norms"),
        ("ia3", {"targets": ["value"]}, r"Name its role in adapter\.targets or adapter\.feedforward"),
        (
            "ia3",
            {"method": "lora"},
            r"holds PEFT's IA3, this run's method is lora\. Use adapter=ia3 or adapter=peft/custom",
        ),
    ],
)
def test_what_does_not_agree_is_said(name: str, fields: dict[str, Any], message: str, saved: Path) -> None:
    model, kind, _ = CASES[name]
    own = dict(fields)
    tuned = bare(model, own.pop("method", NATIVE[kind]), **own)
    before = tuned.state()
    with pytest.raises(UserError, match=message):
        start_from(tuned, saved / name / "adapter", "")
    assert all(torch.equal(tensor, before[key]) for key, tensor in tuned.state().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora is 'True', which the native method lacks.*adapter=peft/custom"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"some_new_option": {"x": 1}}, "some_new_option is"),
        ({"init_lora_weights": "pissa"}, "changed the backbone's own weights"),
        ({"lora_alpha": float("nan")}, "lora_alpha of .* is nan. Legal: a number above 0"),
        ({"lora_alpha": "1e9"}, "lora_alpha of .* is '1e9'"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "holds the expression"),
        ({"alpha_pattern": [1]}, "alpha_pattern is not a JSON object"),
        ({"peft_type": "VERA"}, "no native method computes PEFT's VERA"),
        ({"padding": "x" * (1 << 20)}, "larger than 1,048,576 bytes"),
    ],
)
def test_a_strangers_config_is_not_trusted(
    change: dict[str, Any], message: str, saved: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved / "lora" / "adapter", tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message):
        values_of(read_foreign(folder), bare("tiny_bert", "lora", rank=4))


def test_pickles_and_extra_tensors_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved / "lora" / "adapter", tmp_path / "adapter")
    tensors = load_file(folder / "adapter_model.safetensors")
    more = {"base_model.model.bert.pooler.dense.weight": torch.zeros(32, 32)}
    save_file(tensors | more, folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match=r"bert\.pooler\.dense\.weight is saved with it but does not train"):
        values_of(read_foreign(folder), bare("tiny_bert", "lora", rank=4))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UserError, match="a pickle, which may run code"):
        read_foreign(folder)


def test_predict_labels_with_it(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "petbench.machine.devices._cpu_multiplies_bf16", lambda: False
    )  # as `logits`: float32
    made = backbone("tiny_bert")
    made.tokenizer.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "new.csv").write_text("sentence\nthe river sells\nthe storm was good\n")
    folder = saved / "lora" / "adapter"
    words = ["predict", str(folder), str(tmp_path / "new.csv"), "--format", "jsonl", "--probabilities"]
    more = ["--model", str(saved / "lora" / "base"), "--tokenizer", str(tmp_path / "tokenizer")]
    assert run_command([*words, "--task", "sst2", *more]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tuned = bare("tiny_bert", "lora", rank=4)
    start_from(tuned, folder, "")
    for row, text in zip(rows, ("the river sells", "the storm was good"), strict=True):
        odds = logits(tuned.model, dict(made.tokenizer(text, return_tensors="pt"))).softmax(-1)[0]
        assert list(row["probabilities"].values()) == pytest.approx(odds.tolist(), abs=1e-5)
    for wrong, message in (([*words, *more], "--task NAME"), ([*words, "--task", "sst2"], "--model FOLDER")):
        assert run_command(wrong) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_train_starts_from_it(saved: Path, tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer"
    backbone("tiny_bert").tokenizer.save_pretrained(tokenizer)
    words = [
        "train",
        "task=rte",
        "data=toy",
        "adapter=lora",
        "adapter.rank=4",
        "trainer.max_steps=1",
        "logger=none",
    ]
    model = [f"model.name={saved / 'lora' / 'base'}", f"model.tokenizer={tokenizer}", "optim.lr=1e-12"]
    results = [f"results_dir={tmp_path / 'results'}", f"init_from={saved / 'lora' / 'adapter'}"]
    assert run_command([*words, *model, *results]) == 0
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    after = load_file(folder / "adapter" / "adapter.safetensors")
    theirs = load_file(saved / "lora" / "adapter" / "adapter_model.safetensors")
    key = "base_model.model.bert.encoder.layer.1.attention.self.value"
    torch.testing.assert_close(
        after["petbench.encoder_1_value.A"], theirs[f"{key}.lora_A.weight"], rtol=0, atol=1e-6
    )
    up = theirs[f"{key}.lora_B.weight"] * (12 / 4) / (16 / 4)  # their scaling over ours
    torch.testing.assert_close(after["petbench.encoder_1_value.B"], up, rtol=0, atol=1e-6)
