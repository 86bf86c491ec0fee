"""The unigram baseline: token frequencies of train, asked for the tokens that the model is asked for."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from finetune.batching import Slot
from finetune.checkpoint import Checkpoint
from finetune.language_baselines import unigram_answers
from finetune.masking import build_masking
from finetune.objectives.causal_lm import CausalLM
from finetune.objectives.masked_lm import MaskedLM
from finetune.packing import Packer
from finetune.start import load_tokenizer
from tests.tiny import build_sentences

TRAIN = Dataset.from_dict({"text": [text for text, _ in build_sentences(40)]})
TEST = Dataset.from_dict({"text": [text * 3 for text, _ in build_sentences(12, seed=1)]})


def test_each_token_of_a_causal_model_costs_what_its_frequency_in_train_says(tiny_gpt2: Path) -> None:
    tokenizer = load_tokenizer(Checkpoint(tiny_gpt2, "tiny", "0" * 64))
    objective = CausalLM(tokenizer, 16, Packer())
    train, test = objective.encode(TRAIN, "train"), objective.encode(TEST, "test")
    answers = unigram_answers(objective, train, test, vocabulary=320)

    def predicted(text: str) -> list[int]:
        return [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]

    counts = Counter(token for text in TRAIN["text"] for token in predicted(text))
    total = counts.total() + 320
    most = max(counts, key=lambda token: counts[token])
    for number, text in enumerate(TEST["text"]):
        asked = predicted(text)
        assert answers.losses[number] == pytest.approx(sum(-math.log((counts[token] + 1) / total) for token in asked))
        assert answers.tokens[number] == len(asked)
        assert answers.right[number] == asked.count(most)
    assert answers.text_bytes.tolist() == [len(text.encode()) for text in TEST["text"]]


def test_of_a_masked_model_exactly_the_masked_tokens_are_asked(tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(Checkpoint(tiny_bert, "tiny", "0" * 64))
    objective = MaskedLM(tokenizer, 16, Packer(), build_masking(tokenizer, 0.3, whole_words=False))
    train, test = objective.encode(TRAIN, "train"), objective.encode(TEST, "test")
    answers = unigram_answers(objective, train, test, vocabulary=len(tokenizer))
    counts = Counter(
        token for text in TRAIN["text"] for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    )
    total = counts.total() + len(tokenizer)
    losses = np.zeros(len(TEST))
    for number in range(len(test)):
        _, targets = objective.masking.mask_row(test[number], Slot(number))
        losses[test.examples[number]] -= sum(math.log((counts[token] + 1) / total) for token in targets if token >= 0)
    np.testing.assert_allclose(answers.losses, losses)
    assert len(answers) == 12
    assert not answers.text_bytes.any()
