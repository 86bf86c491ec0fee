"""One file per objective: how rows become features and batches, what loss they give, and what the model answers."""
