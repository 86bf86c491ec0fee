"""What language models save: the vocabulary head on masked tokens alone, packed blocks, and rows encoded without offsets.

    python -m benchmarks.language [--rounds 5]

Measures ratios of process CPU time in one run, interleaved round by round, one thread, 32-bit floats. Sentences are those of
$FINETUNE_DATA/cola where that is set, else made up. Prints a table and writes it beside `results/`.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for library in ("OMP", "RAYON"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional
from transformers import AutoModelForMaskedLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase

from benchmarks.result_file import write_results
from benchmarks.sides import open_packaged
from finetune.batching import Collator, Slot
from finetune.features import encode_features
from finetune.masking import NOT_PREDICTED, build_masking
from finetune.objectives.causal_lm import CausalLM
from finetune.objectives.masked_lm import MaskedLM
from finetune.packing import Packer
from finetune.pooling import prepare_packing
from finetune.sample import build_sample

BATCH, TOKENS = 32, 128
ENCODED_SENTENCES = 43_000


@dataclass(frozen=True)
class Row:
    """One line of the table: the median ratio of the rounds, the least and the most, and what is promised."""

    row: str
    ratio: float
    low: float
    high: float
    floor: float | None


def load_sentences() -> list[str]:
    """Return CoLA's train sentences in a fixed random order, or made-up ones."""
    root = os.environ.get("FINETUNE_DATA")
    if root:
        lines = (Path(root) / "cola" / "in_domain_train.tsv").read_text(encoding="utf-8").splitlines()
        sentences = [line.split("\t")[3] for line in lines]
    else:
        sentences = [row.sentence for row in build_sample()["train"]]
    return [sentences[number] for number in np.random.default_rng(0).permutation(len(sentences))]


def compare(
    name: str, floor: float | None, baseline: Callable[[], object], ours: Callable[[], object], rounds: int
) -> Row:
    """Return baseline / ours in CPU time as the median of interleaved rounds, after one that isn't counted."""
    ratios = [cpu_seconds(baseline) / cpu_seconds(ours) for _ in range(rounds + 1)][1:]
    return Row(name, round(statistics.median(ratios), 2), round(min(ratios), 2), round(max(ratios), 2), floor)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of this process that some work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def full_head_losses(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    """Return the summed loss of a batch as it is usually had: the vocabulary head at every position, padding included."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "targets"}
    logits = model(**inputs, **({} if "attention_mask" in inputs else {"use_cache": False})).logits
    return functional.cross_entropy(
        logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=NOT_PREDICTED, reduction="sum"
    )


def in_batches(objective: MaskedLM | CausalLM, features: Any, size: int, batches: int) -> list[dict[str, Any]]:
    """Return some batches of features as a trainer would pass them on."""
    made = []
    for begin in range(0, batches * size, size):
        batch = objective.collate([(features[number], Slot(number)) for number in range(begin, begin + size)])
        made.append({name: tensor for name, tensor in batch.items() if not name.endswith("_count")})
    return made


def step(model: nn.Module, losses: Callable[[dict[str, Any]], torch.Tensor], batches: list[dict[str, Any]]) -> None:
    """Go forward and backward through some batches."""
    for batch in batches:
        model.zero_grad()
        losses(dict(batch)).backward()


def masked_row(tokenizer: PreTrainedTokenizerBase, folder: Path, sentences: list[str], rounds: int) -> Row:
    """Return the head on masked positions against the full head: 32 full rows of 128 tokens."""
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).train()
    objective = MaskedLM(
        tokenizer, TOKENS, Collator(tokenizer.pad_token_id), build_masking(tokenizer, 0.15, whole_words=False)
    )
    text = " ".join(sentences * 4)
    features = objective.encode(Dataset.from_dict({"text": [text]}), "train")
    batches = in_batches(objective, features, BATCH, 1)
    assert batches[0]["input_ids"].shape == (BATCH, TOKENS)
    return compare(
        f"masked: head on masked positions against the full head, {BATCH} x {TOKENS} tokens",
        1.8,
        lambda: step(model, lambda batch: full_head_losses(model, batch), batches),
        lambda: step(model, lambda batch: objective.sum_losses(model, batch)[0].sum(), batches),
        rounds,
    )


def packed_rows(tokenizer: PreTrainedTokenizerBase, sentences: list[str], rounds: int) -> list[Row]:
    """Return packed causal training of sentences against dynamic padding, with the full head and with our own."""
    torch.manual_seed(0)
    # The packaged tokenizer is BERT's: its two special tokens stand for the ends of a text.
    tokenizer.bos_token, tokenizer.eos_token = tokenizer.cls_token, tokenizer.sep_token
    shape: dict[str, Any] = {"n_layer": 6, "n_head": 6, "n_embd": 384, "n_positions": 512}
    ends: dict[str, Any] = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape, **ends)).train()
    prepare_packing(model)
    padded, packed = CausalLM(tokenizer, 512, Collator(tokenizer.pad_token_id)), CausalLM(tokenizer, 512, Packer())
    features = padded.encode(Dataset.from_dict({"text": sentences[: BATCH * 4]}), "train")
    in_rows, end_to_end = in_batches(padded, features, BATCH, 4), in_batches(packed, features, BATCH, 4)

    def ours() -> None:
        step(model, lambda batch: packed.sum_losses(model, batch)[0].sum(), end_to_end)

    return [
        compare(
            f"causal: packed against dynamic padding and the full head, batch {BATCH}",
            1.7,
            lambda: step(model, lambda batch: full_head_losses(model, batch), in_rows),
            ours,
            rounds,
        ),
        compare(
            f"causal: packed against dynamic padding, both with the head on predicted positions, batch {BATCH}",
            None,
            lambda: step(model, lambda batch: padded.sum_losses(model, batch)[0].sum(), in_rows),
            ours,
            rounds,
        ),
    ]


def encoding_row(tokenizer: PreTrainedTokenizerBase, sentences: list[str], rounds: int) -> Row:
    """Return encode_features against one `map` of datasets with the fast tokenizer, and nothing cached."""
    texts = (sentences * (ENCODED_SENTENCES // len(sentences) + 1))[:ENCODED_SENTENCES]
    rows = Dataset.from_dict({"text": texts})

    def by_map() -> Dataset:
        return rows.map(
            lambda batch: tokenizer(batch["text"], truncation=True, max_length=TOKENS),
            batched=True,
            load_from_cache_file=False,
        )

    encoded, mapped = encode_features(rows, tokenizer, TOKENS), by_map()
    assert all(encoded[number].input_ids.tolist() == mapped[number]["input_ids"] for number in range(0, len(rows), 97))
    return compare(
        f"encode {ENCODED_SENTENCES:,} sentences against one map with the fast tokenizer",
        1.0,
        by_map,
        lambda: encode_features(rows, tokenizer, TOKENS),
        rounds,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    checkpoint, tokenizer = open_packaged()
    sentences = load_sentences()
    rows = [
        encoding_row(tokenizer, sentences, chosen.rounds),
        masked_row(tokenizer, checkpoint.folder, sentences, chosen.rounds),
        *packed_rows(tokenizer, sentences, chosen.rounds),
    ]
    show(rows, len(sentences), chosen.rounds)


def show(rows: list[Row], sentences: int, rounds: int) -> None:
    """Print the table and write it, with what it was measured on."""
    table = Table(
        "measured", "ratio", "low", "high", "floor", title=f"process CPU time, one thread, fp32, {rounds} rounds"
    )
    for row in rows:
        floor = "" if row.floor is None else f"{row.floor:g}{'' if row.ratio >= row.floor else ' MISSED'}"
        table.add_row(row.row, f"{row.ratio:.2f}", f"{row.low:.2f}", f"{row.high:.2f}", floor)
    Console().print(table)
    write_results(rows, rounds, "language", sentences=sentences)


if __name__ == "__main__":
    main()
