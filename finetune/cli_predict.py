"""The command `predict`: a run's model asked about new texts, whatever it was trained or asked for.

Owns its options, which of them fit a run, and what is printed. The answers are those of `fitted_run`.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from finetune.cli import app
from finetune.cli_runs import JsonFlag, RunArgument
from finetune.errors import DataError, MissingInputError, UsageError
from finetune.terminal import printable

if TYPE_CHECKING:
    from finetune.fitted_run import FittedRun

Way = Literal["labels", "number", "label set", "masks", "completion", "likelihood"]
# A line for people, and the record behind it; a text may have several lines in one record.
Shown = tuple[list[str], dict[str, Any]]

OPTIONS: dict[str, tuple[Way, ...]] = {
    "top_k": ("masks", "completion"),
    "temperature": ("completion",),
    "seed": ("completion",),
    "max_new_tokens": ("completion",),
}
"""Which ways of asking an option belongs to."""


@app.command(rich_help_panel="Runs")
def predict(
    run: RunArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts to judge; none: one a line from --file or standard input.", show_default=False),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A file with one text a line.", show_default=False)] = None,
    likelihood: Annotated[
        bool,
        typer.Option(
            "--likelihood",
            help="Of a language model: log likelihood, tokens and perplexity of each text (pseudo-likelihood where it fills masks).",
        ),
    ] = False,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens shown for a mask [5], or drawn from to go on [40].", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="Of going on with a text [1]; 0: the likeliest token each time.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of going on with a text [1].", show_default=False)] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="How far to go on with a text [40].", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask a run's model about new texts: labels with probabilities, a number, what fills a mask, or how a text goes on.

    A pair of texts is written with a tab between them, a mask as <mask> or [MASK].
    """
    from finetune.fitted_run import load_run

    if texts and file:
        raise UsageError("texts are given both behind the run and in --file; one of them is expected")
    found = texts or _read_lines(file)
    # Python keeps bytes of an argument that are no text as lone surrogates.
    if any("\ud800" <= letter <= "\udfff" for text in found for letter in text):
        raise DataError("a text behind the run is not UTF-8")
    fitted = load_run(run)
    way: Way = "likelihood" if likelihood else _find_way(fitted)
    stated = {"top_k": top_k, "temperature": temperature, "seed": seed, "max_new_tokens": max_new_tokens}
    options = {name: value for name, value in stated.items() if value is not None}
    for name in options:
        if way not in OPTIONS[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} belongs to {' and '.join(OPTIONS[name])}, and this run is asked for {way}"
            )
    for text, (lines, record) in zip(found, _ask(fitted, way, found, options), strict=True):
        if as_json:
            typer.echo(json.dumps({"text": text, **record}))
        else:
            for line in lines:
                typer.echo(printable(line))


def _find_way(fitted: "FittedRun") -> Way:
    """Return what a run is asked for where no option says otherwise."""
    if fitted.recipe.evaluate.prompt is not None:
        return "labels"
    ways: dict[str, Way] = {
        "regression": "number",
        "multilabel": "label set",
        "masked_lm": "masks",
        "pretraining": "masks",
        "causal_lm": "completion",
    }
    return ways.get(fitted.task.objective, "labels")


def _ask(fitted: "FittedRun", way: Way, texts: Sequence[str], options: dict[str, Any]) -> Iterator[Shown]:
    """Yield what is shown of each text."""
    if way == "likelihood":
        for text, found in zip(texts, fitted.likelihood(texts), strict=True):
            numbers = {
                "log_likelihood": found.log_likelihood,
                "tokens": found.tokens,
                "perplexity": found.perplexity,
            }
            yield [f"{found.log_likelihood:.3f}\t{found.tokens}\t{found.perplexity:.2f}\t{text}"], numbers
    elif way == "completion":
        from finetune.completion import Sampling

        for text, completion in zip(texts, fitted.complete(texts, Sampling(**options)), strict=True):
            yield [text + completion], {"completion": completion}
    elif way == "masks":
        yield from _fill_masks(fitted, texts, options)
    else:
        yield from _label(fitted, way, texts)


def _fill_masks(fitted: "FittedRun", texts: Sequence[str], options: dict[str, Any]) -> Iterator[Shown]:
    from finetune.fill_mask import split_at_masks

    for text, masks in zip(texts, fitted.fill_mask(texts, **options), strict=True):
        pieces = split_at_masks(text)
        lines = []
        for number, fillings in enumerate(masks):
            before, after = "[MASK]".join(pieces[: number + 1]), "[MASK]".join(pieces[number + 1 :])
            lines += [
                f"{filling.token.strip()}\t{filling.probability:.3f}\t{before}{filling.token.strip()}{after}"
                for filling in fillings
            ]
        yield (
            lines,
            {"masks": [[{"token": f.token, "probability": f.probability} for f in fillings] for fillings in masks]},
        )


def _label(fitted: "FittedRun", way: Way, texts: Sequence[str]) -> Iterator[Shown]:
    is_pair = fitted.takes_pairs
    if is_pair and (bad := next((text for text in texts if text.count("\t") != 1), None)) is not None:
        raise UsageError(f"this run judges pairs: two texts with a tab between, found {bad!r}")
    inputs: list = [tuple(text.split("\t")) if is_pair else text for text in texts]
    if way == "number":
        for text, number in zip(texts, fitted.predict_numbers(inputs), strict=True):
            yield [f"{number:.3f}\t{text}"], {"number": number}
    elif way == "label set":
        for text, held in zip(texts, fitted.predict_label_sets(inputs), strict=True):
            named = ", ".join(f"{label} {held.probabilities[label]:.3f}" for label in held.labels)
            yield [f"{named or 'no label'}\t{text}"], {"labels": held.labels, "probabilities": held.probabilities}
    else:
        for text, answer in zip(texts, fitted.predict(inputs), strict=True):
            line = f"{answer.label}\t{answer.probabilities[answer.label]:.3f}\t{text}"
            yield [line], {"label": answer.label, "probabilities": answer.probabilities}


def _read_lines(file: Path | None) -> list[str]:
    """Return the lines of a file, or of standard input."""
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("no text given: write it behind the run, name a --file, or pipe lines in")
    try:
        # A pipe may be what another command writes; a device never ends.
        if file and file.is_char_device():
            raise DataError(f"{file}: a device, not a file of texts")
        raw = file.read_bytes() if file else sys.stdin.buffer.read()
        lines = raw.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except FileNotFoundError:
        raise MissingInputError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{file}: a folder, not a file of texts") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file or 'standard input'}: byte {error.start} is not UTF-8 text") from None
    return lines[:-1] if lines[-1] == "" else lines
