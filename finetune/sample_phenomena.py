"""State the grammatical phenomena of the sample data and the sentence frames that show them.

This module owns the frames alone; sample.py owns the words that fill them and turns them into minimal pairs.

How a frame is written:
    {person.sg}   a slot, filled from the vocabulary; {person} and {person2} never hold the same word
    <a|b> [a|b]   a licensor and its target: acceptable when both take the same alternative, unacceptable otherwise
    [a|b]         without a licensor: the first alternative is acceptable, the second isn't, and over all brackets of
                  the frame both hold the same words

Frames for test use other constructions or other fixed words than those for train, so that a model that learnt a frame
by heart gains nothing from it.
"""

PHENOMENA: dict[str, dict[str, tuple[str, ...]]] = {
    "subject_verb_agreement": {
        "train": (
            "The <{person.sg}|{person.pl}> [{act.s}|{act.base}] every morning.",
            "Today the <{person.sg}|{person.pl}> [is|are] very {mood}.",
            "[Does|Do] the <{person.sg}|{person.pl}> {act.base} at night?",
            "The <{person.sg}|{person.pl}> [was|were] {mood} when we left.",
            "At school the <{person.sg}|{person.pl}> often [{act.s}|{act.base}].",
            "<She|They> [has|have] {act.en} in the {place} again.",
            "I know that the <{person.sg}|{person.pl}> [{play.s}|{play.base}] in winter.",
            "The <{person.sg}|{person.pl}> next door [doesn't|don't] {play.base} at all.",
        ),
        "test": (
            "Whenever the <{person.sg}|{person.pl}> [{act.s}|{act.base}], the {animal.sg} runs away.",
            "If the <{person.sg}|{person.pl}> [doesn't|don't] {act.base} soon, we will leave.",
            "{he_name} heard that the <{person.sg}|{person.pl}> [was|were] in the {place}.",
        ),
    },
    "raising_and_expletives": {
        "train": (
            "There [seemed|wanted] to be a {person.sg} who [wanted|seemed] to {play.base}.",
            "It [seems|wants] that {he_name} [wants|seems] to {play.base}.",
            "[It|{she_name}] appears that [{she_name}|it] has {act.en}.",
            "{he_name} [expected|persuaded] there to be a {person.sg} who had [persuaded|expected] {she_name}.",
            "There is [likely|eager] to be a {person.sg} who is [eager|likely] to {play.base}.",
            "[It|There] seems that [there|it] is a {animal.sg} in the {place}.",
            "[There|It] was a {animal.sg} in the {place}, and [it|there] was {mood}.",
            "[It|The {person.sg}] is likely that [the {person.sg}|it] will {act.base}.",
        ),
        "test": (
            "In summer there [seem|want] to be {person.pl} who [want|seem] to {play.base} here.",
            "[It|The {person.sg}] is possible that [the {person.sg}|it] was {mood}.",
            "[There|It] must be a {thing.sg} here, but [it|there] is not {colour}.",
        ),
    },
    "determiner_noun_agreement": {
        "train": (
            "{he_name} {get.past} <this|these> [{thing.sg}|{thing.pl}] yesterday.",
            "<That|Those> {colour} [{thing.sg}|{thing.pl}] came from the market.",
            "<One|Three> {mood} [{person.sg}|{person.pl}] left the {place}.",
            "The {person.sg} talked to <a|several> [{person2.sg}|{person2.pl}].",
            "We saw <a|many> [{animal.sg}|{animal.pl}] in the {place}.",
            "I have met <that|those> [{person.sg}|{person.pl}] before.",
            "<Every|Most> [{person.sg}|{person.pl}] left early.",
            "Please bring <this|these> [{thing.sg}|{thing.pl}] to the {place}.",
        ),
        "test": (
            "Did you give <this|these> [{animal.sg}|{animal.pl}] any water?",
            "<That|Those> {mood} [{person.sg}|{person.pl}] can {play.base}.",
            "{she_name} has {get.en} <a|several> [{thing.sg}|{thing.pl}] for us.",
        ),
    },
    "reflexive_agreement": {
        "train": (
            "The <{man.sg}|{woman.sg}> {self.past} [himself|herself] yesterday.",
            "<{he_name}|{she_name}> wants to {self.base} [himself|herself].",
            "The <{man.sg}|{man.pl}> who knew {she_name} {self.past} [himself|themselves].",
            "<I|We> did not {self.base} [myself|ourselves].",
            "The <{man.sg}|{woman.sg}> talked about [himself|herself] for an hour.",
            "It was easy for the <{woman.sg}|{woman.pl}> to {self.base} [herself|themselves].",
            "<{he_name}|{she_name}> was very proud of [himself|herself].",
            "The <{man.sg}|{man.pl}> looked at [himself|themselves] in the mirror.",
        ),
        "test": (
            "Why did <{he_name}|{she_name}> have to {self.base} [himself|herself]?",
            "Without any help, the <{man.sg}|{man.pl}> {self.past} [himself|themselves].",
            "The <{man.sg}|{woman.sg}> {get.past} a {thing.sg} for [himself|herself].",
        ),
    },
    "argument_structure": {
        "train": (
            "The {person.sg} <{act.past}|{treat.past}>[| the {person2.sg}].",
            "I hope that the {person.pl} will <{act.base}|{get.base}>[| the {thing.sg}] tomorrow.",
            "{he_name} <looked|watched> [at the {animal.sg}|the {animal.sg}] for an hour.",
            "{she_name} <filled|poured> [the {vessel} with {liquid}|the {liquid} into the {vessel}].",
            "{she_name} always <{act.s}|{treat.s}>[| {he_name}].",
            "We could not <{act.base}|{get.base}>[| the {thing.sg}].",
            "The {person.pl} <listened|heard> [to the {text.sg}|the {text.sg}] together.",
            "Why did {he_name} <{act.base}|{treat.base}>[| the {person.pl}] again?",
        ),
        "test": (
            "After dinner, the {person.pl} began to <{act.base}|{treat.base}>[| {he_name}].",
            "That {person.sg} has never <{act.en}|{get.en}>[| a {thing.sg}].",
            "Did {she_name} <listen|hear> [to the {person.sg}|the {person.sg}] twice?",
        ),
    },
    "complement_form": {
        "train": (
            "The {person.sg} <wanted|enjoyed> [to {play.base}|{play.ing}].",
            "{he_name} did not <hope|avoid> [to {play.base}|{play.ing}] with {she_name}.",
            "The {person.sg} <made|forced> the {person2.sg} [{play.base}|to {play.base}].",
            "We never <let|allow> the {person.pl} [{play.base}|to {play.base}] here.",
            "You <must|ought> [{play.base}|to {play.base}] every day.",
            "The {person.pl} are <ready|tired of> [to {play.base}|{play.ing}].",
            "{she_name} <decided|finished> [to {play.base}|{play.ing}] before noon.",
            "The {person.sg} was <able|good at> [to {play.base}|{play.ing}] as a child.",
        ),
        "test": (
            "Do the {person.pl} <want|enjoy> [to {play.base}|{play.ing}] in winter?",
            "Who <made|forced> {she_name} [{play.base}|to {play.base}] in the rain?",
            "After the lesson, the {person.sg} <agreed|avoided> [to {play.base}|{play.ing}].",
        ),
    },
    "auxiliary_and_verb_form": {
        "train": (
            "The {person.sg} <will|is> [{act.base}|{act.ing}] again.",
            "<Will|Have> the {person.pl} [{act.base}|{act.en}] all night?",
            "{he_name} <did|was> not [{act.base}|{act.ing}] that day.",
            "The {person.pl} <can|are> [{act.base}|{act.ing}] in the {place}.",
            "{she_name} <might|had> never [{play.base}|{play.en}] there.",
            "I know that the {person.pl} <should|were> [{play.base}|{play.ing}].",
            "<Did|Was> {she_name} [{act.base}|{act.ing}] at noon?",
            "The {person.sg} <will|has> [{get.base}|{get.en}] the {thing.sg}.",
        ),
        "test": (
            "Why <did|were> the {person.pl} [{act.base}|{act.ing}] in the dark?",
            "The {person.sg} who <will|has> [{get.base}|{get.en}] the {thing.sg} is {mood}.",
            "When it snows, {she_name} <can|is> often [{play.base}|{play.ing}].",
        ),
    },
    "negative_polarity": {
        "train": (
            "[Nobody|Somebody] has ever {get.en} this {thing.sg}, but [somebody|nobody] will {get2.base} it.",
            "The {person.sg} left [without|with] any {food} but [with|without] a {thing.sg}.",
            "{he_name} [never|often] buys any {food}, but he [often|never] buys {food2}.",
            "[Few|Many] {person.pl} have ever seen a {wild.sg}, but [many|few] have seen a {animal.sg}.",
            "{she_name} <{play.s}|does not {play.base}>, and [so|neither] does {he_name}.",
            "[Nobody|Any of the {person.pl}] {treat.past} [any of the {person.pl}|nobody].",
            "{he_name} <can|cannot> {play.base}, and [so|neither] can the {person.pl}.",
            "[Nobody|Everybody] likes any {animal.pl}, but [everybody|nobody] likes the {wild.pl}.",
        ),
        "test": (
            "[Nobody|Everybody] in the {place} knows any {person.pl}, but [everybody|nobody] knows {he_name}.",
            "We have [never|often] seen any {wild.pl} there, but we have [often|never] seen a {animal.sg}.",
            "The {person.sg} <was|was not> {mood}, and [so|neither] was {she_name}.",
        ),
    },
    "filler_gap": {
        "train": (
            "I know <what|that> the {person.sg} {get.past}[| the {thing.sg}].",
            "{she_name} forgot <which {thing.sg}|that> {he_name} {get.past}[| it].",
            "<What|When> did the {person.sg} {get.base}[| the {thing.sg}]?",
            "We saw the {thing.sg} <that|before> the {person.sg} {get.past}[| it].",
            "<Who|Why> did {he_name} {treat.base}[| {she_name}]?",
            "It was <the {thing.sg}|obvious> that the {person.sg} {get.past}[| a {thing2.sg}].",
            "Nobody knows <what|why> {she_name} {get.past}[| the {thing.sg}].",
            "I wonder <who|whether> the {person.pl} {treat.past}[| {he_name}].",
        ),
        "test": (
            "Please explain <what|why> the {person.pl} {get.past}[| the {thing.sg}].",
            "Tell me <who|whether> {he_name} {treat.past}[| {she_name}].",
            "<Which {thing.sg}|When> will {she_name} {get.base}[| the {thing2.sg}]?",
        ),
    },
    "word_order": {
        "train": (
            "{he_name} {get.past} a [{colour} {thing.sg}|{thing.sg} {colour}].",
            "The {person.sg} [{often} buys {food}|buys {often} {food}].",
            "The {person.sg} is [{grade.base} enough|enough {grade.base}] to help us.",
            "{she_name} found the {thing.sg} and [{particle_verb.past} it {particle_verb.particle}|"
            "{particle_verb.past} {particle_verb.particle} it].",
            "The [two {colour} {thing.pl}|{colour} two {thing.pl}] belong to {she_name}.",
            "The {person.pl} have [never {act.en}|{act.en} never] at work.",
            "{he_name} is a [very {grade.base} {man.sg}|{grade.base} very {man.sg}].",
            "The {person.sg} will [soon {get.base} the {thing.sg}|{get.base} soon the {thing.sg}].",
        ),
        "test": (
            "Such [a {mood} {person.sg}|{mood} a {person.sg}] deserves a prize.",
            "There are some [{colour} {thing.pl}|{thing.pl} {colour}] in the {place}.",
            "Nobody has [really {treat.en} the {person.sg}|{treat.en} really the {person.sg}].",
        ),
    },
    "inversion": {
        "train": (
            "Where [can the {person.pl}|the {person.pl} can] {play.base}?",
            "I wonder where [the {person.pl} can|can the {person.pl}] {play.base}.",
            "{he_name} asked whether [the {person.sg} had|had the {person.sg}] {act.en}.",
            "Never before [had the {person.sg}|the {person.sg} had] {get.en} a {thing.sg}.",
            "Why [is the {person.sg}|the {person.sg} is] so {mood}?",
            "{she_name} does not know how {mood} [the {person.sg} is|is the {person.sg}].",
            "What [will {he_name}|{he_name} will] {get.base} tomorrow?",
            "Tell me when [{she_name} will|will {she_name}] {get.base} the {thing.sg}.",
        ),
        "test": (
            "Please explain why [the {person.pl} were|were the {person.pl}] {act.ing}.",
            "How many {thing.pl} [will the {person.sg}|the {person.sg} will] {get.base}?",
            "Which {thing.sg} [can {she_name}|{she_name} can] {get.base}?",
        ),
    },
    "passive": {
        "train": (
            "The {person.sg} <was|has> [{treat.en} by|{treat.en}] the {person2.sg}.",
            "The {person.sg} who [{act.past}|{treat.past}] was [{treat.en}|{act.en}] by {she_name}.",
            "<{he_name}|The {thing.sg} was> [{take.past}|{take.en}] <the {thing.sg}|by {he_name}>.",
            "<Was|Did> the {person.sg} [{treat.en} by|{treat.base}] the {person2.pl}?",
            "The {thing.pl} <were|will> [|be ]{get.en} by the {person.pl}.",
            "{he_name} hopes <to be|to> [{treat.en} by|{treat.base}] the {person.pl}.",
            "{she_name} says that the {person.pl} <were|have> [{treat.en} by|{treat.en}] {he_name}.",
            "The {person.pl} that <were|had> [{treat.en} by|{treat.en}] the {person2.sg} are {mood}.",
        ),
        "test": (
            "The {person.sg} <who was|who> [{treat.en} by|{treat.past}] {he_name} is {mood}.",
            "Have the {person.pl} ever <been |>[{treat.en} by|{treat.en}] {she_name}?",
            "{he_name} left without <being |>[{treat.en} by|{treat.ing}] the {person.sg}.",
        ),
    },
    "tag_question": {
        "train": (
            "The {person.pl} <can|will> {play.base}, [can't|won't] they?",
            "The <{man.sg}|{woman.sg}> was {mood}, wasn't [he|she]?",
            "{she_name} <is {act.ing}|has {act.en}>, [isn't|hasn't] she?",
            "<{he_name}|The {person.pl}> should {play.base}, shouldn't [he|they]?",
            "You <like|liked> the {thing.sg}, [don't|didn't] you?",
            "{he_name} <won't {get.base}|hasn't {get.en}> the {thing.sg}, [will|has] he?",
            "<{he_name}|{she_name}> can {play.base}, can't [he|she]?",
            "We <should|can> {get.base} the {thing.sg}, [shouldn't|can't] we?",
        ),
        "test": (
            "Your <{kinsman.sg}|{kinswoman.sg}> {get.past} a {thing.sg}, didn't [he|she]?",
            "You <can|will> come to the {place} with {she_name}, [can't|won't] you?",
            "<{she_name}|The {person.pl}> would never {act.base}, would [she|they]?",
        ),
    },
    "pronoun_case": {
        "train": (
            "<The {person.sg} {treat.past} |>[{pro.obj}|{pro.subj}]<| {treat.past} the {person.sg}>.",
            "<{she_name} gave the {thing.sg} to |>[{pro.obj}|{pro.subj}]<| gave the {thing.sg} to {she_name}>.",
            "{he_name} thinks that <|the {man.sg} {treat.past} >[{pro.subj}|{pro.obj}]< {treat.past} the {man.sg}|>.",
            "The {person.sg} left <after|with> [{pro.subj}|{pro.obj}]< had {act.en}|>.",
            "<Did|Was it easy for> [{pro.subj}|{pro.obj}] <|to >{get.base} the {thing.sg}?",
            "This is the {person.sg} that <|{treat.past} >[{pro.subj}|{pro.obj}]< {treat.past}|>.",
            "<{he_name} talked about |>[{pro.obj}|{pro.subj}]<| talked about {he_name}> at school.",
            "Yesterday <|{she_name} saw >[{pro.subj}|{pro.obj}]< saw {she_name}|> in the {place}.",
        ),
        "test": (
            "Why had <|{she_name} {treat.en} >[{pro.subj}|{pro.obj}]< {treat.en} {she_name}|>?",
            "The {person.pl} let [{pro.obj}|{pro.subj}] {play.base} because [{pro.subj}|{pro.obj}] had {act.en}.",
            "<Because of|Because> [{pro.obj}|{pro.subj}]<| {get.past} the {thing.sg}>, the {person.sg} left.",
        ),
    },
    "comparison": {
        "train": (
            "{he_name} is <{grade.er}|as {grade.base}> [than|as] {she_name}.",
            "The {person.sg} {get.past} <more|as many> {thing.pl} [than|as] the {person2.sg}.",
            "The {person.pl} were <so|too> {mood} [that they left|to leave].",
            "{she_name} {act.s} <more|as> often [than|as] {he_name}.",
            "This {thing.sg} is <different|the same> [from|as] the one that {he_name} {get.past}.",
            "The {person.pl} like {food} <better|as much> [than|as] {food2}.",
            "{he_name} is <{grade.er}|as {grade.base}> now [than|as] he was last year.",
            "I need <less|as much> {food} [than|as] you.",
        ),
        "test": (
            "Nobody in the {place} is <{grade.er}|as {grade.base}> [than|as] the {person.sg}.",
            "It takes <less|as much> time to {play.base} [than|as] to {play2.base}.",
            "Does {she_name} have <more|as many> {thing.pl} [than|as] her {kinsman.sg}?",
        ),
    },
}
