"""Generate the embedded sample data: minimal pairs of English sentences judged for grammatical acceptability.

This module owns the vocabulary, the way a frame becomes minimal pairs, and the two committed files under
assets/sample/. It doesn't own the frames (sample_phenomena), nor reading the files for training.

Every pair is built so that single words carry no information about the label. A frame either reorders the same
words, or crosses two choices: of `The dogs bark`, `The dog barks`, `*The dogs barks` and `*The dog bark`, the
acceptable half holds exactly the words of the unacceptable half. A model has to read the structure.

Run `python -m finetune.sample` to write the files anew.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from string import Formatter
from typing import NamedTuple

from finetune.sample_phenomena import PHENOMENA

SEED = 20250
ACCEPTABLE = "acceptable"
UNACCEPTABLE = "unacceptable"
PAIRS_PER_FRAME = {"train": 12, "test": 8}
SAMPLE_FOLDER = Path(__file__).parent / "assets" / "sample"

_LICENSOR = re.compile(r"<([^<>|]*)\|([^<>|]*)>")
_TARGET = re.compile(r"\[([^\[\]|]*)\|([^\[\]|]*)\]")
# Enough for every frame; a frame that runs out of new sentences must fail loudly, not loop.
_MOST_DRAWS = 2000


@dataclass(frozen=True)
class SampleSentence:
    """Hold one sentence with its judgement and where it comes from."""

    sentence: str
    label: str
    phenomenon: str
    pair: str
    frame: str


class Noun(NamedTuple):
    """Hold the two numbers of a noun."""

    sg: str
    pl: str


class Verb(NamedTuple):
    """Hold the forms of a verb: base, third person, past, -ing participle and -en (past) participle."""

    base: str
    s: str
    past: str
    ing: str
    en: str


class Adjective(NamedTuple):
    """Hold an adjective and its comparative."""

    base: str
    er: str


class Pronoun(NamedTuple):
    """Hold the subject and the object case of a pronoun."""

    subj: str
    obj: str


class ParticleVerb(NamedTuple):
    """Hold the past form of a verb and its particle."""

    past: str
    particle: str


Word = str | Noun | Verb | Adjective | Pronoun | ParticleVerb


def _nouns(words: str) -> tuple[Noun, ...]:
    """Read nouns with a regular plural; `man/men` spells out an irregular one."""
    pairs = (word.partition("/") for word in words.split())
    return tuple(Noun(singular, plural or singular + "s") for singular, _, plural in pairs)


def _words(text: str) -> tuple[str, ...]:
    """Read words that have one form only."""
    return tuple(text.split())


def _verbs(rows: str) -> tuple[Verb, ...]:
    """Read verbs, each as its five forms joined by slashes."""
    return tuple(Verb(*row.split("/")) for row in rows.split())


# Nouns and adjectives that can follow `a` all start with a consonant sound, so that no frame needs `an`.
LEXICON: dict[str, tuple[Word, ...]] = {
    "person": _nouns(
        "teacher doctor nurse student lawyer farmer painter singer driver pilot baker child/children girl boy "
        "man/men woman/women"
    ),
    "man": _nouns("boy man/men king father brother grandfather prince monk"),
    "woman": _nouns("girl woman/women queen mother sister grandmother princess/princesses nun"),
    "kinsman": _nouns("father brother grandfather son nephew grandson stepfather"),
    "kinswoman": _nouns("mother sister grandmother daughter niece stepmother"),
    "he_name": ("Tom", "Peter", "David", "James", "Robert", "Paul", "Daniel", "Simon"),
    "she_name": ("Anna", "Mary", "Susan", "Laura", "Sarah", "Julia", "Emma", "Linda"),
    "thing": _nouns("lamp bag box/boxes chair clock camera radio bicycle guitar table basket mirror"),
    "text": _nouns("story/stories song speech/speeches poem report joke"),
    "animal": _nouns("dog cat horse rabbit goat duck mouse/mice pig"),
    "wild": _nouns("whale tiger wolf/wolves bear lion penguin camel snake"),
    "place": _words("garden kitchen park library museum school hotel village bakery"),
    "food": _words("bread rice cheese milk butter honey soup coffee"),
    "liquid": _words("water milk juice tea"),
    "vessel": _words("cup bottle glass bucket jar bowl"),
    "mood": _words("tired happy hungry nervous sad sleepy thirsty cheerful lonely proud"),
    "colour": _words("red green blue white brown black yellow"),
    "often": _words("often always never rarely usually"),
    "grade": tuple(
        Adjective(*row.split("/"))
        for row in _words("tall/taller strong/stronger fast/faster rich/richer kind/kinder smart/smarter brave/braver")
    ),
    "pro": tuple(Pronoun(*row.split("/")) for row in _words("he/him she/her they/them we/us I/me")),
    "particle_verb": tuple(
        ParticleVerb(*row.split("/"))
        for row in _words("picked/up threw/away put/down took/away gave/back brought/back carried/out")
    ),
    # Without an object: `*slept the box`.
    "act": _verbs(
        "sleep/sleeps/slept/sleeping/slept smile/smiles/smiled/smiling/smiled laugh/laughs/laughed/laughing/laughed "
        "cry/cries/cried/crying/cried wait/waits/waited/waiting/waited cough/coughs/coughed/coughing/coughed "
        "sigh/sighs/sighed/sighing/sighed talk/talks/talked/talking/talked"
    ),
    "play": _verbs(
        "swim/swims/swam/swimming/swum dance/dances/danced/dancing/danced sing/sings/sang/singing/sung "
        "ski/skis/skied/skiing/skied skate/skates/skated/skating/skated hike/hikes/hiked/hiking/hiked "
        "walk/walks/walked/walking/walked travel/travels/travelled/travelling/travelled"
    ),
    # Never without an object: `*praised`, `*found`.
    "treat": _verbs(
        "praise/praises/praised/praising/praised admire/admires/admired/admiring/admired "
        "thank/thanks/thanked/thanking/thanked blame/blames/blamed/blaming/blamed "
        "invite/invites/invited/inviting/invited annoy/annoys/annoyed/annoying/annoyed "
        "scold/scolds/scolded/scolding/scolded rescue/rescues/rescued/rescuing/rescued "
        "greet/greets/greeted/greeting/greeted"
    ),
    "get": _verbs(
        "buy/buys/bought/buying/bought find/finds/found/finding/found repair/repairs/repaired/repairing/repaired "
        "bring/brings/brought/bringing/brought describe/describes/described/describing/described "
        "carry/carries/carried/carrying/carried lift/lifts/lifted/lifting/lifted "
        "fetch/fetches/fetched/fetching/fetched discover/discovers/discovered/discovering/discovered"
    ),
    "self": _verbs(
        "blame/blames/blamed/blaming/blamed praise/praises/praised/praising/praised "
        "introduce/introduces/introduced/introducing/introduced describe/describes/described/describing/described "
        "protect/protects/protected/protecting/protected defend/defends/defended/defending/defended "
        "admire/admires/admired/admiring/admired"
    ),
    # Past form and participle differ.
    "take": _verbs(
        "take/takes/took/taking/taken steal/steals/stole/stealing/stolen break/breaks/broke/breaking/broken "
        "choose/chooses/chose/choosing/chosen throw/throws/threw/throwing/thrown "
        "draw/draws/drew/drawing/drawn shake/shakes/shook/shaking/shaken"
    ),
}


def _fill_slots(template: str, rng: random.Random) -> str:
    """Put words into the slots; slots of one word class that differ in their digit get different words."""
    names = dict.fromkeys(field.partition(".")[0] for _, field, _, _ in Formatter().parse(template) if field)
    words: dict[str, Word] = {}
    for name in names:
        word_class = LEXICON[name.rstrip("23")]
        words[name] = rng.choice([word for word in word_class if word not in words.values()])
    return template.format(**words)


def _choose(text: str, licensor: int, target: int) -> str:
    """Take one alternative of every licensor and of every target, and write the result as a sentence."""
    text = _LICENSOR.sub(lambda match: match.group(1 + licensor), text)
    text = _TARGET.sub(lambda match: match.group(1 + target), text)
    return text[0].upper() + text[1:]


def _expand(text: str) -> list[tuple[str, str]]:
    """Return the minimal pairs, acceptable sentence first: two for a crossed frame, one for a reordering."""
    licensors = (0, 1) if _LICENSOR.search(text) else (0,)
    return [(_choose(text, chosen, chosen), _choose(text, chosen, 1 - chosen)) for chosen in licensors]


def _frame_pairs(template: str, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Return `count` minimal pairs of a frame, no sentence twice."""
    pairs: list[tuple[str, str]] = []
    seen: set[str] = set()
    for _ in range(_MOST_DRAWS):
        if len(pairs) >= count:
            return pairs
        drawn = _expand(_fill_slots(template, rng))
        sentences = {sentence for pair in drawn for sentence in pair}
        # A draw goes in whole or not at all: half of a crossed draw would unbalance the words.
        if sentences.isdisjoint(seen):
            pairs += drawn
            seen |= sentences
    raise ValueError(f"the frame {template!r} doesn't give {count} different minimal pairs")


def _split_pairs(split: str, rng: random.Random) -> Iterator[tuple[SampleSentence, SampleSentence]]:
    """Yield the minimal pairs of one split, frame by frame."""
    for phenomenon, frames in PHENOMENA.items():
        # Frames are numbered through both splits, so that an id names one frame only.
        first = 1 if split == "train" else 1 + len(frames["train"])
        for number, template in enumerate(frames[split], start=first):
            frame = f"{phenomenon}-{number:02d}"
            drawn = _frame_pairs(template, PAIRS_PER_FRAME[split], rng)
            for index, (good, bad) in enumerate(drawn, start=1):
                pair = f"{frame}-{index:02d}"
                yield (
                    SampleSentence(good, ACCEPTABLE, phenomenon, pair, frame),
                    SampleSentence(bad, UNACCEPTABLE, phenomenon, pair, frame),
                )


def build_sample() -> dict[str, list[SampleSentence]]:
    """Return the sentences of both splits; the same on every machine.

    Pairs are shuffled, so that the first rows of a file already show many phenomena; the two sentences of a pair
    stay next to each other for readers.
    """
    rng = random.Random(SEED)
    sample: dict[str, list[SampleSentence]] = {}
    for split in PAIRS_PER_FRAME:
        pairs = list(_split_pairs(split, rng))
        rng.shuffle(pairs)
        sample[split] = [sentence for pair in pairs for sentence in pair]
    return sample


def write_sample(folder: Path) -> None:
    """Write train.tsv and test.tsv into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = [field.name for field in fields(SampleSentence)]
    for split, sentences in build_sample().items():
        rows = [columns, *([getattr(sentence, column) for column in columns] for sentence in sentences)]
        text = "".join("\t".join(row) + "\n" for row in rows)
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write_sample(SAMPLE_FOLDER)
