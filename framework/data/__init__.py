"""The order of data: which batches come in which pass, and the random numbers drawn while they are made."""

from framework.data.base import Ordered
from framework.data.ordered import ordered
from framework.data.permutation import order
from framework.data.replay import ReproducibleBatchSampler, update_dataloader
from framework.data.shares import Shares

__all__ = ["Ordered", "ReproducibleBatchSampler", "Shares", "order", "ordered", "update_dataloader"]
