"""The job of `finetune run` as most would write it: a plain transformers.Trainer on CSV files, scored and written.

    python -m benchmarks.plain_trainer CHECKPOINT TRAIN.csv TEST.csv OUT [--pad-to 128] [--steps 3]

Batches are of like length, padded to their longest row; with --pad-to they are random and all padded to one length, as run_glue has
them. Writes the model, the predictions and scores.json with the most memory held, in megabytes. Imports nothing of finetune.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from datasets import load_dataset
from sklearn.metrics import accuracy_score, matthews_corrcoef
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainingArguments,
    set_seed,
)


def score(prediction: EvalPrediction) -> dict[str, float]:
    """Return what CoLA is scored by, and accuracy."""
    predicted = np.argmax(prediction.predictions, axis=1)
    labels = prediction.label_ids
    return {
        "matthews_correlation": float(matthews_corrcoef(labels, predicted)),
        "accuracy": float(accuracy_score(labels, predicted)),
    }


def peak_memory() -> float:
    """Return the most memory this process has held; ru_maxrss would begin with that of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Train, predict and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "train", "test", "out"):
        parser.add_argument(name)
    parser.add_argument("--pad-to", type=int)
    parser.add_argument("--steps", type=int, default=-1)
    chosen = parser.parse_args()
    set_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(chosen.checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(chosen.checkpoint, num_labels=2)
    files = {"train": chosen.train, "test": chosen.test}
    rows = load_dataset("csv", data_files=files, cache_dir=f"{chosen.out}/cache")
    encoded = rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True)
    padding = {"padding": "max_length", "max_length": chosen.pad_to} if chosen.pad_to else {}
    arguments = TrainingArguments(
        chosen.out,
        num_train_epochs=1,
        max_steps=chosen.steps,
        learning_rate=2e-5,
        warmup_steps=0.1,
        weight_decay=0.01,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=8 if chosen.pad_to else 64,
        train_sampling_strategy="random" if chosen.pad_to else "group_by_length",
        report_to="none",
        disable_tqdm=True,
        seed=1,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=encoded["train"],
        data_collator=DataCollatorWithPadding(tokenizer, **padding),
        processing_class=tokenizer,
        compute_metrics=score,
    )
    trainer.train()
    found = trainer.predict(encoded["test"])
    trainer.save_model()
    out = Path(chosen.out)
    predicted = np.argmax(found.predictions, axis=1)
    (out / "predictions.csv").write_text("\n".join(map(str, predicted.tolist())) + "\n", encoding="utf-8")
    (out / "scores.json").write_text(json.dumps({**found.metrics, "peak_megabytes": peak_memory()}), encoding="utf-8")


if __name__ == "__main__":
    main()
