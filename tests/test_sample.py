"""Test the embedded sample data: that it is what it claims to be, and that single words can't solve it."""

import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef
from sklearn.pipeline import make_pipeline

from finetune.sample import (
    ACCEPTABLE,
    SAMPLE_FOLDER,
    UNACCEPTABLE,
    SampleSentence,
    _frame_pairs,
    build_sample,
    write_sample,
)
from finetune.sample_phenomena import PHENOMENA

Sample = dict[str, list[SampleSentence]]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Return the generated sample, built once."""
    return build_sample()


def _everything(sample: Sample) -> list[SampleSentence]:
    return sample["train"] + sample["test"]


def _words(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence.lower())


def _skeleton(template: str) -> str:
    """Return a frame with its slots blanked, so that only fixed words and brackets are left."""
    return re.sub(r"\{[^}]*\}", "_", template)


def _word_edits(first: list[str], second: list[str]) -> int:
    """Count the words to insert, delete or replace to turn one sentence into the other (Levenshtein distance)."""
    row = list(range(len(second) + 1))
    for i, word in enumerate(first, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(second, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]


def test_committed_files_equal_what_the_generator_writes(tmp_path: Path) -> None:
    write_sample(tmp_path)
    for name in ("train.tsv", "test.tsv"):
        assert (SAMPLE_FOLDER / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_files_have_a_header_five_columns_and_unix_line_ends() -> None:
    for name in ("train.tsv", "test.tsv"):
        content = (SAMPLE_FOLDER / name).read_bytes()
        assert b"\r" not in content
        assert b'"' not in content
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
        assert lines[0] == "sentence\tlabel\tphenomenon\tpair\tframe"
        assert {line.count("\t") for line in lines} == {4}


def test_sample_holds_a_few_thousand_sentences_over_a_dozen_phenomena(sample: Sample) -> None:
    assert 2400 <= len(sample["train"]) <= 3000
    assert 600 <= len(sample["test"]) <= 800
    assert len({sentence.phenomenon for sentence in sample["train"]}) >= 12


def test_every_phenomenon_has_both_labels_in_both_splits(sample: Sample) -> None:
    for split in ("train", "test"):
        found = {(sentence.phenomenon, sentence.label) for sentence in sample[split]}
        assert found == {(phenomenon, label) for phenomenon in PHENOMENA for label in (ACCEPTABLE, UNACCEPTABLE)}


def test_every_phenomenon_has_at_least_six_frames_for_train_and_two_for_test() -> None:
    for phenomenon, frames in PHENOMENA.items():
        assert len(frames["train"]) >= 6, phenomenon
        assert len(frames["test"]) >= 2, phenomenon


def test_no_sentence_frame_stands_in_both_train_and_test(sample: Sample) -> None:
    frames = {split: {sentence.frame for sentence in sample[split]} for split in ("train", "test")}
    assert frames["train"].isdisjoint(frames["test"])


def test_no_two_frames_have_the_same_fixed_words() -> None:
    skeletons = [_skeleton(frame) for frames in PHENOMENA.values() for split in frames.values() for frame in split]
    assert not [skeleton for skeleton, count in Counter(skeletons).items() if count > 1]


def test_no_sentence_occurs_twice_within_or_across_the_splits(sample: Sample) -> None:
    counts = Counter(sentence.sentence for sentence in _everything(sample))
    assert not [sentence for sentence, count in counts.items() if count > 1]


def test_each_pair_is_one_acceptable_and_one_unacceptable_sentence_of_one_split(sample: Sample) -> None:
    for split in ("train", "test"):
        labels = defaultdict(list)
        for sentence in sample[split]:
            labels[sentence.pair].append(sentence.label)
        assert all(sorted(pair) == [ACCEPTABLE, UNACCEPTABLE] for pair in labels.values())
    train, test = ({sentence.pair for sentence in sample[split]} for split in ("train", "test"))
    assert train.isdisjoint(test)


def test_labels_are_balanced_in_every_frame(sample: Sample) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in _everything(sample):
        counts[sentence.frame][sentence.label] += 1
    assert all(count[ACCEPTABLE] == count[UNACCEPTABLE] for count in counts.values())


def test_each_minimal_pair_differs_in_few_words(sample: Sample) -> None:
    pairs: dict[str, list[list[str]]] = defaultdict(list)
    for sentence in _everything(sample):
        pairs[sentence.pair].append(sentence.sentence.lower().rstrip(".?").split())
    edits = {pair: _word_edits(*sentences) for pair, sentences in pairs.items()}
    assert not {pair: count for pair, count in edits.items() if not 1 <= count <= 6}
    assert sum(count <= 2 for count in edits.values()) > 0.8 * len(edits)


def test_both_labels_of_a_frame_hold_exactly_the_same_words(sample: Sample) -> None:
    words: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for sentence in _everything(sample):
        words[sentence.frame, sentence.label].update(_words(sentence.sentence))
    unbalanced = {frame for frame, _ in words if words[frame, ACCEPTABLE] != words[frame, UNACCEPTABLE]}
    assert not unbalanced


def test_sentences_start_with_a_capital_and_end_with_punctuation(sample: Sample) -> None:
    for sentence in _everything(sample):
        assert re.fullmatch(r"[A-Z][A-Za-z',]*( [A-Za-z',]+)+[.?]", sentence.sentence), sentence


def test_no_sentence_puts_a_before_a_vowel(sample: Sample) -> None:
    assert not [sentence for sentence in _everything(sample) if re.search(r"\b[Aa] [aeiou]", sentence.sentence)]


def test_no_slot_is_left_unfilled(sample: Sample) -> None:
    assert not [sentence for sentence in _everything(sample) if re.search(r"[{}<>|\[\]]", sentence.sentence)]


def test_bag_of_words_baseline_stays_at_or_below_mcc_0_2(sample: Sample) -> None:
    baseline = make_pipeline(
        CountVectorizer(lowercase=True, token_pattern=r"(?u)\b\w+\b"), LogisticRegression(max_iter=1000)
    )
    baseline.fit([row.sentence for row in sample["train"]], [row.label for row in sample["train"]])
    predicted = baseline.predict([row.sentence for row in sample["test"]])
    assert matthews_corrcoef([row.label for row in sample["test"]], predicted) <= 0.2


def test_a_frame_that_runs_out_of_sentences_fails_loudly() -> None:
    with pytest.raises(ValueError, match="doesn't give 5 different minimal pairs"):
        _frame_pairs("Where [can we|we can] swim?", 5, random.Random(0))
