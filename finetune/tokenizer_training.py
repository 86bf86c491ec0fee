"""Tokenizers trained on the train rows: byte pairs for RoBERTa and GPT-2, word pieces for BERT and DistilBERT.

Owns the special tokens and their ids. The same texts give the same tokenizer, which is then the architecture's own of transformers, and
is saved and loaded as such.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from finetune.errors import SettingError
from finetune.recipe_sections import TokenizerSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Architecture = Literal["bert", "roberta", "distilbert", "gpt2"]
# In the order of their ids.
BYTE_PAIR_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
WORD_PIECE_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(
    texts: Sequence[str], architecture: Architecture, settings: TokenizerSettings
) -> "PreTrainedTokenizerBase":
    """Return an architecture's tokenizer with a vocabulary learnt from texts.

    Raises:
        SettingError: the characters of the texts alone are more than the vocabulary may hold.
    """
    if architecture in ("bert", "distilbert"):
        return _train_word_pieces(texts, architecture, settings)
    return _train_byte_pairs(texts, architecture, settings)


def _train_byte_pairs(
    texts: Iterable[str], architecture: Architecture, settings: TokenizerSettings
) -> "PreTrainedTokenizerBase":
    """Return a byte-level tokenizer (Radford et al. 2019, section 2.2), which knows every text and loses nothing of it."""
    from tokenizers import AddedToken
    from transformers import GPT2Tokenizer, RobertaTokenizer

    ids = {token: number for number, token in enumerate(BYTE_PAIR_TOKENS)}
    kind: Any = RobertaTokenizer
    # `human <mask>` asks for a word with its space before it, as ` reason` is one token.
    named: dict[str, Any] = {"mask_token": AddedToken("<mask>", lstrip=True, special=True)}
    if architecture == "gpt2":
        # A causal model has no use for a mask.
        del ids["<mask>"]
        kind, named = GPT2Tokenizer, dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), ids, strict=True))
    return kind(vocab=ids, **named).train_new_from_iterator(
        texts, settings.vocabulary, min_frequency=settings.min_frequency, show_progress=False
    )


def _train_word_pieces(
    texts: Sequence[str], architecture: Architecture, settings: TokenizerSettings
) -> "PreTrainedTokenizerBase":
    """Return a lower-casing tokenizer of word pieces (Devlin et al. 2019, section 3)."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.trainers import WordPieceTrainer
    from transformers import BertTokenizer, DistilBertTokenizer

    kind: Any = BertTokenizer if architecture == "bert" else DistilBertTokenizer
    backend = kind().backend_tokenizer
    trained = Tokenizer(WordPiece({}, unk_token=WORD_PIECE_TOKENS[1]))
    trained.normalizer, trained.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    characters = sorted(set().union(*(backend.normalizer.normalize_str(text) for text in texts)) - {" "})
    # Left to itself the trainer numbers them in an order that differs from call to call, and breaks ties by it.
    first = [*WORD_PIECE_TOKENS, *characters, *(f"##{character}" for character in characters)]
    if len(first) > settings.vocabulary:
        raise SettingError(
            "model.tokenizer.vocabulary",
            f"found {settings.vocabulary:,}, but the texts have {len(characters):,} characters, which alone make "
            f"{len(first):,} entries; byte pairs (architecture roberta or gpt2) need 261",
        )
    trainer = WordPieceTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=settings.min_frequency,
        special_tokens=first,
        continuing_subword_prefix="##",
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    return kind(vocab=trained.get_vocab())
