"""Documents to sentences.

Owns where a sentence ends, by the rules of the library sentencex and two of ours: after a full stop at the end of a line, and at a
blank line. Every visible character of a document is in exactly one sentence, in order.
"""

import re
from itertools import pairwise
from typing import Final

LINE_END: Final = re.compile(r"""\n\s*\n|(?<=[.!?…])[ \t]*\n|(?<=[.!?…]["”'’])[ \t]*\n|(?<=[.!?…]\ ["”'’])[ \t]*\n""")
LONGEST_WORDS: Final = 100
"""From here on a sentence is looked at again: a quotation mark or bracket that is never closed has hidden the stops behind it."""
WITHOUT_MARKS: Final = str.maketrans(dict.fromkeys('"“”‘’«»()[]', " "))


def split_sentences(document: str, language: str = "en") -> list[str]:
    """Return the sentences of a document, without the white space around them; of a blank one none.

    `language` is an ISO 639 code that sentencex knows, such as "de"; it falls back on English for others.
    """
    import sentencex

    found = []
    for paragraph in LINE_END.split(document):
        for sentence in sentencex.segment(language, paragraph):  # ty: ignore[missing-attribute]
            found += _split_long(sentence, language) if len(sentence.split()) > LONGEST_WORDS else [sentence]
    return [sentence.strip() for sentence in found if sentence.strip()]


def _split_long(sentence: str, language: str) -> list[str]:
    """Return the parts of a long sentence that end at stops inside quotation marks and brackets too."""
    import sentencex

    unmarked = sentence.translate(WITHOUT_MARKS)
    bounds = sentencex.get_sentence_boundaries(language, unmarked)  # ty: ignore[missing-attribute]
    starts = [0, *(bound["start_index"] for bound in bounds[1:]), len(sentence)]
    return [sentence[start:end] for start, end in pairwise(starts)]
