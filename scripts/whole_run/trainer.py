"""The script that somebody without petbench writes: transformers' Trainer, PEFT's LoRA, batches of like lengths.

    python scripts/whole_run/trainer.py --rows FOLDER --model FOLDER --out FOLDER [--lr 2e-3] [--epochs 2] …

FOLDER of rows: train.jsonl, selection.jsonl and report.jsonl, each line {"sentence": …, "label": 0 or 1}. The
checkpoint with the best accuracy on the selection rows is kept, as petbench does; it prints its scores as JSON.
"""

import argparse
import json

import numpy as np
import torch
from datasets import Dataset, load_dataset
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def main() -> None:
    """Train, choose the best checkpoint, score it on the report rows, save the adapter."""
    parser = argparse.ArgumentParser()
    for name in ("rows", "model", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--warmup-steps", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    tokenizer = AutoTokenizer.from_pretrained(chosen.model)
    rows = tokenised(chosen.rows, tokenizer)
    trainer = Trainer(
        model=with_lora(chosen.model),
        args=arguments(chosen),
        train_dataset=rows["train"],
        eval_dataset=rows["selection"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )
    trainer.train()
    scores = {
        "selection": trainer.state.best_metric,
        "report": trainer.evaluate(rows["report"])["eval_accuracy"],
    }
    trainer.save_model()
    print(json.dumps(scores))


def arguments(chosen: argparse.Namespace) -> TrainingArguments:
    """The Trainer's settings."""
    return TrainingArguments(
        output_dir=chosen.out,
        learning_rate=chosen.lr,
        num_train_epochs=chosen.epochs,
        per_device_train_batch_size=chosen.batch,
        per_device_eval_batch_size=64,
        lr_scheduler_type="linear",
        warmup_steps=chosen.warmup_steps,
        weight_decay=0.0,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        bf16=chosen.precision == "bf16",
        use_cpu=True,
        seed=0,
        report_to=[],
        logging_steps=10,
        disable_tqdm=True,
    )


def tokenised(folder: str, tokenizer: AutoTokenizer) -> dict[str, Dataset]:
    """The rows with token ids."""
    files = {name: f"{folder}/{name}.jsonl" for name in ("train", "selection", "report")}
    return load_dataset("json", data_files=files).map(
        lambda rows: tokenizer(rows["sentence"], truncation=True, max_length=128), batched=True
    )


def with_lora(folder: str) -> torch.nn.Module:
    """The model with LoRA on queries and values; the classifier trains too."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, lora_dropout=0.0, target_modules=["query", "value"]
    )
    return get_peft_model(model, config)


def accuracy(predictions: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """The share of right answers."""
    logits, labels = predictions
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


if __name__ == "__main__":
    main()
