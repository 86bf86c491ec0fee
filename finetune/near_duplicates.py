"""Test rows whose text is nearly that of a train row: a word added, a name changed, other punctuation, a typo.

Owns how likeness of texts is measured, and how that is kept to seconds and little memory on data of any size. Rows whose text
is the same are `data_checks`. Imports no torch.

Texts are alike where they share pieces of four characters, taken across spaces, so that the order of words counts. The
limit of 0.80 was chosen by reading pairs of CoLA, SST-2 and SMS Spam: above it a reader sees one text edited, below it,
one pattern with other words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.data_checks import normalise
from finetune.findings import NearDuplicate, NearDuplicates
from finetune.mistakes import join_texts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SEPARATOR = " ⸱ "
PIECE_LENGTH = 4
SMALLEST_SIMILARITY = 0.80
EXAMPLES_SHOWN = 10
SEED = 0
# What is worked on at most; a core does some three hundred million multiplications a second.
TRAIN_ROWS = 100_000
TEST_ROWS = 25_000
MULTIPLICATIONS = 1_500_000_000
# Characters cut into pieces, of train and test together: the longest of these lengths that keeps to them is taken, and the
# shortest does for as many rows as are drawn.
CHARACTERS = 10_000_000
TEXT_LENGTHS = (2000, 1000, 400, 200, 80)
# Products of this size stay in the processor's cache, which makes them three times as fast, and take 20 MB.
TRAIN_ROWS_A_BLOCK = 20_000
TEST_ROWS_A_BLOCK = 250


@dataclass(frozen=True)
class _Nearest:
    """The train row most like each test row that was looked at, all (rows looked at,), in the order of test rows.

    Attributes:
        tests: positions of those test rows.
        trains: positions of the train rows.
        similarities: how like they are, from 0 to 1.
    """

    tests: NDArray[np.int64]
    trains: NDArray[np.int64]
    similarities: NDArray[np.float64]


def find_near_duplicates(
    train_texts: Sequence[tuple[str, ...]],
    train_rows: Sequence[str],
    train_labels: Sequence[str],
    test_texts: Sequence[tuple[str, ...]],
    test_rows: Sequence[str],
    test_labels: Sequence[str],
    is_right: NDArray[np.bool_] | None,
) -> NearDuplicates | None:
    """Return the test rows whose text is nearly, but not exactly, that of a train row.

    Labels are in words, "" where rows have none; `is_right` is (test rows,), None where answers are not right or wrong. A test row
    whose text stands in train is none, whatever else it is like. Where there are too many rows to look at all of them, they are drawn
    with a fixed seed.

    None where there is no train row, or no test row but those whose text stands in train.
    """
    is_copy = _find_copies(train_texts, test_texts)
    if not len(train_texts) or is_copy.all():
        return None
    trains = np.sort(_draw(len(train_texts), TRAIN_ROWS))
    tests = _draw(len(test_texts), TEST_ROWS)
    drawn_trains, drawn_tests = _pick(train_texts, trains), _pick(test_texts, tests)
    lengths = np.array([len(SEPARATOR.join(texts)) for texts in drawn_trains + drawn_tests])
    length = next((most for most in TEXT_LENGTHS if np.minimum(lengths, most).sum() <= CHARACTERS), TEXT_LENGTHS[-1])
    nearest = _find_nearest(drawn_trains, trains, drawn_tests, tests, length)
    near = np.flatnonzero((nearest.similarities >= SMALLEST_SIMILARITY) & ~is_copy[nearest.tests])
    shown = near if is_right is None else near[is_right[nearest.tests[near]]]
    most_alike = shown[np.argsort(-nearest.similarities[shown], kind="stable")]
    examples = []
    for place in most_alike[:EXAMPLES_SHOWN]:
        test, train = nearest.tests[place], nearest.trains[place]
        examples.append(
            NearDuplicate(
                row=test_rows[test],
                text=join_texts(test_texts[test]),
                expected=test_labels[test],
                train_row=train_rows[train],
                train_text=join_texts(train_texts[train]),
                train_label=train_labels[train],
                similarity=float(nearest.similarities[place]),
            )
        )
    return NearDuplicates(
        measure=_describe(length if lengths.max() > length else None, len(trains), len(train_texts)),
        looked_at=len(nearest.tests),
        count=len(near),
        correct=None if is_right is None else len(shown),
        rows=[test_rows[number] for number in nearest.tests[near]],
        examples=examples,
    )


def _describe(length: int | None, compared: int, train_rows: int) -> str:
    parts = [
        f"pieces of {PIECE_LENGTH} characters that two texts share (cosine of the two sets, letter case and white space "
        f"aside): at least {SMALLEST_SIMILARITY:.2f}, with the most alike train row",
        "rows whose text stands in train are left out",
    ]
    if length is not None:
        parts.append(f"of texts longer than {length:,} characters the first and last {length // 2:,}")
    if compared < train_rows:
        parts.append(f"{compared:,} of {train_rows:,} train rows, drawn with seed {SEED}")
    return "; ".join(parts)


def _find_copies(train_texts: Sequence[tuple[str, ...]], test_texts: Sequence[tuple[str, ...]]) -> NDArray[np.bool_]:
    """Return for each test row whether its text, or pair of texts, stands in train, as `data_checks` compares them."""
    # Hashes instead of texts: train may be larger than what memory can hold twice.
    keys = [hash(tuple(map(normalise, texts))) for texts in test_texts]
    wanted = set(keys)
    found = {key for texts in train_texts if (key := hash(tuple(map(normalise, texts)))) in wanted}
    return np.array([key in found for key in keys], dtype=bool)


def _draw(rows: int, most: int) -> NDArray[np.int64]:
    """Return the positions of at most `most` rows, in random order."""
    return np.random.default_rng(SEED).permutation(rows)[:most]


def _pick(texts: Sequence[tuple[str, ...]], positions: NDArray[np.int64]) -> list[tuple[str, ...]]:
    # In their order, since many texts lie on disk.
    found = {position: texts[position] for position in np.sort(positions).tolist()}
    return [found[position] for position in positions.tolist()]


def _find_nearest(
    train_texts: Sequence[tuple[str, ...]],
    trains: NDArray[np.int64],
    test_texts: Sequence[tuple[str, ...]],
    tests: NDArray[np.int64],
    length: int,
) -> _Nearest:
    """Return the nearest of the `trains` to each of the `tests`, as many of the first as the multiplications allow.

    Positions are those among all rows, texts of the drawn ones alone.
    """
    blocks = [
        _hash_pieces(train_texts[begin : begin + TRAIN_ROWS_A_BLOCK], length).T.tocsr()
        for begin in range(0, len(trains), TRAIN_ROWS_A_BLOCK)
    ]
    # How many train rows hold each piece: what a test row with that piece costs, exactly.
    cost_of_piece = sum(np.diff(block.indptr).astype(np.int64) for block in blocks)
    spent = done = 0
    places, similarities = [], []
    while done < len(tests):
        pieces = _hash_pieces(test_texts[done : done + TEST_ROWS_A_BLOCK], length)
        costs = spent + np.cumsum((pieces != 0) @ cost_of_piece)
        allowed = int(np.searchsorted(costs, MULTIPLICATIONS, side="right"))
        place, similarity = _find_largest(pieces[:allowed], blocks)
        places.append(place)
        similarities.append(similarity)
        done += allowed
        if allowed < len(costs):
            break
        spent = costs[-1]
    order = np.argsort(tests[:done])
    return _Nearest(
        tests[:done][order],
        trains[np.concatenate(places)[order]],
        # Rounded, so that 4 pieces of 5 are 0.8 whatever the order of multiplications.
        np.round(np.concatenate(similarities)[order], 6),
    )


def _find_largest(
    pieces: "csr_matrix", blocks: Sequence["csr_matrix"]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each row of `pieces` the column of the largest product with the `blocks` side by side, and that product."""
    rows = np.arange(pieces.shape[0])
    place, largest, first = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows)), 0
    for block in blocks:
        products = (pieces @ block).toarray()
        column = products.argmax(axis=1)
        is_larger = products[rows, column] > largest
        place[is_larger] = first + column[is_larger]
        largest[is_larger] = products[rows, column][is_larger]
        first += block.shape[1]
    return place, largest


def _hash_pieces(texts: Sequence[tuple[str, ...]], length: int) -> "csr_matrix":
    """Return which pieces each text holds, (texts, hashed pieces), each row of length 1, so that products are cosines."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        analyzer="char",
        ngram_range=(PIECE_LENGTH, PIECE_LENGTH),
        lowercase=False,
        binary=True,
        alternate_sign=False,
        dtype=np.float32,
    )
    return vectorizer.transform(_shorten(normalise(SEPARATOR.join(row)), length) for row in texts)


def _shorten(text: str, length: int) -> str:
    """Return both ends of a long text, with a space at each end so that first and last words count like the others."""
    half = length // 2
    return f" {text} " if len(text) <= length else f" {text[:half]}{text[-half:]} "
