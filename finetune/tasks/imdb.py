"""IMDb film reviews with two labels (Maas et al. 2011): documents of up to several pages."""

from finetune.task import Layout, Source, Task
from finetune.tasks.sst2 import TASK as SST2

TASK = Task(
    name="imdb",
    title="Sentiment of film reviews (IMDb)",
    labels={"0": "negative", "1": "positive"},
    metrics=SST2.metrics,
    primary_metric="accuracy",
    source=Source(
        folder="imdb",
        files={"train": ("train.csv",), "test": ("test.csv",)},
        layout=Layout(text="text", label="label"),
        licence="none stated",
        hub_id="stanfordnlp/imdb",
        hub_revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        hub_files={
            "train": ("plain_text/train-00000-of-00001.parquet",),
            "test": ("plain_text/test-00000-of-00001.parquet",),
        },
        hub_layout=Layout(text="text", label="label"),
    ),
    # What a browser shows as a line break is no word of the review.
    replace={"<br />": " "},
    demo=(
        "I went in expecting little, and it stayed with me for days.",
        "Two hours of my life that I won't get back.",
        "The first half drags, but the ending makes up for it.",
    ),
)
