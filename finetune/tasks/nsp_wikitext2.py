"""Next Sentence Prediction from Wikipedia articles: those of WikiText-2's validation set train, those of its test set test."""

from dataclasses import replace

from finetune.task import Layout, Source
from finetune.tasks.nsp import TASK as NSP

TASK = replace(
    NSP,
    name="nsp-wikitext2",
    title="Next Sentence Prediction (WikiText-2)",
    source=Source(
        folder="wikitext2",
        files={"train": ("valid.txt",), "test": ("test.txt",)},
        layout=Layout(text="text", documents="heading"),
        licence="Wikipedia, CC BY-SA",
    ),
)
