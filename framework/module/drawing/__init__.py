"""The loop that a run of `fit` is, as text: made from what is registered."""
