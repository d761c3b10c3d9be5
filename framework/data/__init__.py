"""The order of data: which batches come in which pass, and the random numbers drawn while they are made."""

from framework.data.replay import ReproducibleBatchSampler, update_dataloader

__all__ = ["ReproducibleBatchSampler", "update_dataloader"]
