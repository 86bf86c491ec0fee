"""The texts of IMDb without their labels, for adapting a masked language model to film reviews."""

from dataclasses import replace

from finetune.task import Layout, Source, Task
from finetune.tasks.imdb import TASK as IMDB

assert IMDB.source is not None
SOURCE: Source = replace(IMDB.source, layout=Layout(text="text"), hub_layout=Layout(text="text"))

TASK = Task(
    name="imdb-mlm",
    title="Masked language modelling of film reviews (IMDb)",
    objective="masked_lm",
    metrics=("token_loss", "perplexity", "token_accuracy"),
    primary_metric="token_loss",
    source=SOURCE,
    replace=IMDB.replace,
    demo=("This film was really [MASK].", "The [MASK] of the leading actor is superb."),
)
