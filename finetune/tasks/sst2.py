"""SST-2, the Stanford Sentiment Treebank with two labels (Socher et al. 2013), scored on the GLUE validation rows."""

from finetune.task import GlueSubmission, Layout, Prompt, Source, Task
from finetune.tasks.cola import TASK as COLA

TASK = Task(
    name="sst2",
    title="Sentiment of sentences (SST-2)",
    labels={"0": "negative", "1": "positive"},
    metrics=("accuracy", *(name for name in COLA.metrics if name != "accuracy")),
    primary_metric="accuracy",
    source=Source(
        folder="sst2",
        files={"train": ("train.tsv",), "test": ("dev.tsv",)},
        layout=Layout(text="sentence", label="label"),
        licence="none stated",
        hub_id="nyu-mll/glue",
        hub_revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        hub_files={
            "train": ("sst2/train-00000-of-00001.parquet",),
            "test": ("sst2/validation-00000-of-00001.parquet",),
        },
        hub_layout=Layout(text="sentence", label="label"),
    ),
    demo=("A gripping, beautifully acted film.", "It goes on for two hours and never finds a joke.", "Not bad at all."),
    prompt=Prompt(
        template="Review: {text}\nSentiment:{answer}", answers={"negative": " negative", "positive": " positive"}
    ),
    glue=GlueSubmission(file="SST-2.tsv", words={"negative": "0", "positive": "1"}, columns=("sentence",)),
)
