"""Masking: which tokens are asked for, what stands in their place, and that a row's masks hang on nothing but the row."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.batching import Slot
from finetune.checkpoint import Checkpoint
from finetune.errors import SettingError
from finetune.features import EncodedRow
from finetune.masking import NOT_PREDICTED, Masking, build_masking, mask_tokens
from finetune.start import load_tokenizer

MASK, SPECIAL = 4, np.array([0, 2, 3, 4])
VOCABULARY = np.setdiff1d(np.arange(100), SPECIAL)


def row_of(tokens: int, seed: int = 0) -> EncodedRow:
    """Return a row between two special tokens."""
    ids = np.random.default_rng(seed).choice(VOCABULARY, tokens)
    return EncodedRow(np.concatenate(([2], ids, [3])).astype(np.int32), None, 0)


@given(st.integers(0, 60), st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_what_is_predicted_is_what_stood_there_and_all_else_is_seen_as_it_is(
    tokens: int, seed: int, share: float
) -> None:
    row = row_of(tokens, seed)
    seen, targets = Masking(MASK, SPECIAL, VOCABULARY, share).mask_row(row, Slot(1, seed=seed))
    chosen = targets != NOT_PREDICTED
    np.testing.assert_array_equal(targets[chosen], row.input_ids[chosen])
    np.testing.assert_array_equal(seen[~chosen], row.input_ids[~chosen])
    assert not chosen[[0, -1]].any(), "a special token is asked for"
    assert np.isin(seen[chosen], np.append(VOCABULARY, MASK)).all(), "a token is replaced by a special one"


def test_of_the_tokens_a_share_is_chosen_and_of_these_eight_tenths_masked_one_replaced_one_kept() -> None:
    tokens = 400_000
    ids = np.random.default_rng(0).choice(VOCABULARY, tokens)
    seen, targets = mask_tokens(
        ids, np.zeros(tokens, dtype=bool), np.random.default_rng(1), 0.15, None, MASK, VOCABULARY
    )
    chosen = targets != NOT_PREDICTED
    assert chosen.mean() == pytest.approx(0.15, abs=0.003)
    assert (seen[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.01)
    # One in 96 replacements draws the token that stood there.
    assert (seen[chosen] == ids[chosen]).mean() == pytest.approx(0.1 + 0.1 / 96, abs=0.01)
    assert set(seen[chosen]) == {*VOCABULARY, MASK}


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_word_is_asked_for_as_a_whole_or_not_at_all(tokens: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    starts = generator.random(tokens) < 0.5
    starts[0] = True
    ids = generator.choice(VOCABULARY, tokens)
    _, targets = mask_tokens(ids, np.zeros(tokens, dtype=bool), generator, 0.4, starts, MASK, VOCABULARY)
    for word in np.split(targets != NOT_PREDICTED, np.flatnonzero(starts)[1:]):
        assert word.all() or not word.any()


def test_whole_words_are_chosen_at_the_same_rate() -> None:
    starts = np.arange(300_000) % 3 == 0
    ids = np.full(len(starts), 50)
    none = np.zeros(len(starts), dtype=bool)
    _, targets = mask_tokens(ids, none, np.random.default_rng(0), 0.15, starts, MASK, VOCABULARY)
    assert (targets != NOT_PREDICTED).mean() == pytest.approx(0.15, abs=0.006)


def test_masks_follow_from_seed_epoch_and_row_alone() -> None:
    masking, row = Masking(MASK, SPECIAL, VOCABULARY, 0.5), row_of(80)

    def targets_of(slot: Slot) -> list[int]:
        return masking.mask_row(row, slot)[1].tolist()

    slots = [Slot(number, False, epoch, seed) for number in (1, 2) for epoch in (0, 1) for seed in (1, 2)]
    assert [targets_of(slot) for slot in slots] == [targets_of(slot) for slot in slots]
    assert len({tuple(targets_of(slot)) for slot in slots}) == len(slots)


def test_nothing_is_asked_of_a_filler() -> None:
    masking, row = Masking(MASK, SPECIAL, VOCABULARY, 0.9), row_of(20)
    seen, targets = masking.mask_row(row, Slot(0, is_filler=True))
    assert (targets == NOT_PREDICTED).all()
    np.testing.assert_array_equal(seen, row.input_ids)


def test_a_mask_written_in_a_text_is_not_asked_for(tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(Checkpoint(tiny_bert, "tiny", "0" * 64))
    row = EncodedRow(np.array(tokenizer("[MASK] " * 50)["input_ids"], dtype=np.int32), None, 0)
    _, targets = build_masking(tokenizer, 0.9, whole_words=False).mask_row(row, Slot(0))
    assert (targets == NOT_PREDICTED).all()


def test_a_tokenizer_without_a_mask_is_refused(tiny_gpt2: Path) -> None:
    tokenizer = load_tokenizer(Checkpoint(tiny_gpt2, "tiny", "0" * 64))
    with pytest.raises(SettingError) as caught:
        build_masking(tokenizer, 0.15, whole_words=False)
    assert str(caught.value) == "model: the tokenizer has no mask token, which masked language modelling needs"
