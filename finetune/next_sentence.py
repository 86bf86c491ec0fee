"""Pairs for next-sentence prediction (Devlin et al. 2019), made of the sentences of documents: B follows A, or is from elsewhere.

Owns which texts meet. Half of the pairs, to one, are real neighbours; in the others B is of another document. Each text is first of a
pair at most once. The same pairs come out for every training seed and process.
"""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from finetune.data_checks import normalise, read_column, text_keys
from finetune.errors import DataError
from finetune.row_store import build_examples
from finetune.sentences import split_sentences
from finetune.task import ObjectiveName, Part
from finetune.text_files import show

if TYPE_CHECKING:
    from datasets import Dataset

IS_NEXT, NOT_NEXT = 0, 1
WORDS_A_TOKEN: Final = 0.75
"""English words to a token of BERT, about: which tokenizer will cut the texts isn't known here."""
DEFAULT_LENGTH: Final = 512
ROUNDS: Final = 100
Numbers = NDArray[np.int64]


def build_sentence_pairs(
    documents: "Dataset",
    objective: ObjectiveName,
    seed: int,
    *,
    part: Part,
    max_length: int | None = None,
) -> "Dataset":
    """Return pairs of texts: columns row, text, text_pair, label (0 where the second follows the first), group.

    Of `next_sentence` each text is a sentence. Of `pretraining` it is a span of several: a document is cut into spans of about equal
    length, two of which fill about `max_length` tokens, where Devlin et al. (2019, appendix A.2) draw the place of the cut. A pair's
    group is the row of its first document.

    Raises:
        DataError: too few documents or sentences to pair.
    """
    import pyarrow as pa

    cut = [split_sentences(text) for text in read_column(documents, "text")]
    if objective == "pretraining":
        words = (max_length or DEFAULT_LENGTH) * WORDS_A_TOKEN / 2
        cut = [join_spans(sentences, words) for sentences in cut]
    owners = np.repeat(np.arange(len(cut)), [len(texts) for texts in cut])
    firsts = np.flatnonzero(owners[:-1] == owners[1:])
    # Copies of a document are one family.
    families = np.unique(text_keys(documents)[owners], return_inverse=True)[1]
    _refuse_too_few(len(documents), len(owners), len(firsts), int(families.max(initial=-1)) + 1)
    texts = list(chain.from_iterable(cut))
    generator = np.random.default_rng(seed)
    labels = np.full(len(firsts), IS_NEXT)
    labels[generator.permutation(len(firsts))[: len(firsts) // 2]] = NOT_NEXT
    seconds, is_stranger = firsts + 1, labels == NOT_NEXT
    seconds[is_stranger] = _draw_strangers(texts, families, firsts[is_stranger], generator)
    pool = pa.array(texts, pa.large_string())
    return build_examples(
        pa.table(
            {
                "row": [f"{part}/{number}" for number in range(len(firsts))],
                "text": pool.take(pa.array(firsts)),
                "text_pair": pool.take(pa.array(seconds)),
                "label": labels,
                "group": pa.array(read_column(documents, "row")).take(pa.array(owners[firsts])),
            }
        )
    )


def join_spans(sentences: Sequence[str], words: float) -> list[str]:
    """Return a document's sentences joined to spans of about `words` words; two spans at least where it has two sentences."""
    lengths = np.array([len(sentence.split()) for sentence in sentences])
    total = int(lengths.sum())
    spans = min(len(sentences), max(2, round(total / words)))
    # A sentence belongs to the span that its middle lies in.
    middles = np.cumsum(lengths) - lengths / 2
    numbers = np.floor(middles * spans / max(total, 1)).astype(np.int64)
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1), len(sentences)]
    return [" ".join(sentences[start:end]) for start, end in pairwise(bounds) if start < end]


def _refuse_too_few(documents: int, texts: int, pairs: int, different: int) -> None:
    hint = "data.documents says where a document of a .txt file ends"
    if different < 2:
        raise DataError(
            f"{documents:,} documents, {different} different with text; a sentence that does not follow is drawn from another "
            f"document, so at least 2 are needed ({hint})"
        )
    if pairs < 2:
        raise DataError(
            f"{documents:,} documents with {texts:,} sentences make {pairs} pairs of neighbours, at least 2 are needed; "
            f"is every document a single sentence? ({hint})"
        )


def _draw_strangers(
    texts: Sequence[str], families: Numbers, firsts: Numbers, generator: np.random.Generator
) -> Numbers:
    """Return for each of `firsts` (pairs,) a text of another family (documents of one text), unlike the one that follows.

    Each is drawn uniformly from all texts of the other families; `families` is (texts,).
    """
    order, sizes = np.argsort(families, kind="stable"), np.bincount(families)
    starts = np.cumsum(sizes) - sizes
    numbers: dict[str, int] = {}
    kinds = np.array([numbers.setdefault(normalise(text), len(numbers)) for text in texts])
    drawn, open_pairs = np.zeros(len(firsts), dtype=np.int64), np.arange(len(firsts))
    for _ in range(ROUNDS):
        own = families[firsts[open_pairs]]
        # A place among the others; those at and after the own family's move up by its size.
        places = generator.integers(len(texts) - sizes[own])
        drawn[open_pairs] = order[places + np.where(places >= starts[own], sizes[own], 0)]
        open_pairs = open_pairs[kinds[drawn[open_pairs]] == kinds[firsts[open_pairs] + 1]]
        if not len(open_pairs):
            return drawn
    raise DataError(
        f"for {len(open_pairs):,} sentences no other document has any but the one that follows: "
        f"'{show(texts[int(firsts[open_pairs[0]]) + 1])}'"
    )
