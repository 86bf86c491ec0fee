"""Hate speech among tweets that hold offensive words (Davidson et al. 2017): one tweet in seventeen."""

from finetune.task import Layout, Source, Task
from finetune.tasks.spam import TASK as SPAM

TASK = Task(
    name="toxicity",
    title="Hate speech among tweets (Davidson et al.)",
    # The annotators' classes are 0 hate speech, 1 offensive language, 2 neither; the rare one comes second.
    labels={"1": "other", "2": "other", "0": "hate"},
    metrics=SPAM.metrics,
    primary_metric="f1",
    source=Source(
        folder="hate_offensive",
        files={"train": ("labeled_data.csv",)},
        layout=Layout(text="tweet", label="class", slices={"annotated": "class"}),
        licence="MIT",
    ),
    demo=("What a lovely morning.", "People like you should not exist.", "That referee is a clown."),
)
