"""Which of five sections a BBC news article is from (Greene and Cunningham 2006)."""

from finetune.task import Layout, Source, Task
from finetune.tasks.text_classification import TASK as TEXT_CLASSIFICATION

TASK = Task(
    name="topic",
    title="Topic of news articles (BBC)",
    metrics=TEXT_CLASSIFICATION.metrics,
    primary_metric="macro_f1",
    # Equal bodies, of which there are 98, are never put on both sides of a split.
    source=Source(
        folder="bbc",
        files={"train": ("bbc.csv",)},
        layout=Layout(text="text", label="label", id="id"),
        licence="text BBC's, research use",
    ),
    demo=(
        "The central bank left interest rates unchanged on Thursday.",
        "United came from behind to win at home.",
        "The minister faced questions over the bill.",
    ),
)
