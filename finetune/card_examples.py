"""How a fitted model is tried: the code and the commands that a model card and the terminal show, by what the model does.

Owns these few lines. They hold the task's own demonstration texts, never text of the data.
"""

import json
import shlex

from finetune.records import Report
from finetune.task import get_task, list_tasks

PIPELINES = {
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForPreTraining": "fill-mask",
    "AutoModelForCausalLM": "text-generation",
}
"""Which pipeline of transformers serves a head; all others are classifiers."""
MASKS = ("[MASK]", "<mask>")
FIRST, SECOND = "A first text.", "A second text."


def find_pipeline(report: Report) -> str:
    """Return the name of the pipeline that serves the model, by which the hub sorts models too."""
    return PIPELINES.get(report.model_class, "text-classification")


def find_example(report: Report) -> tuple[str, ...]:
    """Return a text of the task's demonstration, or a pair of texts where the run judges pairs; none where the task has none."""
    demo = get_task(report.task).demo if report.task in list_tasks() else ()
    if not demo:
        return ()
    return demo[0] if isinstance(demo[0], tuple) else (demo[0],)


def judges_pairs(report: Report) -> bool:
    """Say whether a row is a pair of texts."""
    columns = (report.recipe.get("data") or {}).get("columns") or {}
    return columns.get("text_pair") is not None or len(find_example(report)) == 2


def write_command_text(texts: tuple[str, ...]) -> str:
    """Return a text, or a pair with a tab between, as a shell takes it."""
    if len(texts) == 1:
        return shlex.quote(texts[0])
    escaped = [text.replace("\\", "\\\\").replace("'", "\\'") for text in texts]
    return "$'" + "\\t".join(escaped) + "'"


def find_texts(report: Report) -> tuple[str, ...]:
    """Return the example of a run, with words of ours where its task has none."""
    example = find_example(report)
    if judges_pairs(report):
        return example if len(example) == 2 else (*example, FIRST, SECOND)[:2]
    return example or (FIRST,)


def write_python(report: Report, model: str) -> str:
    """Return lines of Python that try the model with transformers alone; `model` is a folder or a hub name."""
    texts = find_texts(report)
    length = (report.recipe.get("data") or {}).get("max_length")
    limit = "truncation=True" + (f", max_length={length:d}" if length else "")
    if report.model_class == "AutoModelForNextSentencePrediction":
        return "\n".join(
            [
                "from transformers import AutoModelForNextSentencePrediction, AutoTokenizer",
                "",
                f'tokenizer = AutoTokenizer.from_pretrained("{model}")',
                f'judge = AutoModelForNextSentencePrediction.from_pretrained("{model}")',
                f'pair = tokenizer({_quote(texts[0])}, {_quote(texts[-1])}, {limit}, return_tensors="pt")',
                f"print(judge(**pair).logits.softmax(-1))  # {', '.join(report.data.labels)}"
                if report.objective == "next_sentence"
                else "print(judge(**pair).logits.softmax(-1))",
            ]
        )
    pipeline = find_pipeline(report)
    if pipeline == "fill-mask":
        return _write_pipeline("fill", pipeline, model, _quote_masked(texts[0]))
    if pipeline == "text-generation":
        return _write_pipeline("write", pipeline, model, f"{_quote(texts[0])}, max_new_tokens=40")
    shown = json.dumps({"text": texts[0], "text_pair": texts[1]} if len(texts) == 2 else texts[0], ensure_ascii=False)
    if report.objective == "regression":
        return _write_pipeline("measure", pipeline, model, f"{shown}, {limit}", ', function_to_apply="none"')
    if report.objective == "multilabel":
        return _write_pipeline("classify", pipeline, model, f"{shown}, {limit}", ", top_k=None")
    return _write_pipeline("classify", pipeline, model, f"{shown}, {limit}")


def _write_pipeline(name: str, pipeline: str, model: str, arguments: str, options: str = "") -> str:
    return (
        f'from transformers import pipeline\n\n{name} = pipeline("{pipeline}", model="{model}"{options})\n'
        f"print({name}({arguments}))"
    )


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _quote_masked(text: str) -> str:
    """Return a text as Python with the tokenizer's own mask, whichever was written; one is put at the end where none was."""
    mask = "{fill.tokenizer.mask_token}"
    if not any(written in text for written in MASKS):
        text = f"{text.rstrip('.')} {MASKS[0]}."
    quoted = _quote(text.replace("{", "{{").replace("}", "}}"))
    for written in MASKS:
        quoted = quoted.replace(written, mask)
    return f"f{quoted}"
