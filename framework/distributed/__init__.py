"""Several processes that train together: how they join, what they tell each other, and how their work is split."""

from framework.distributed.ddp import DDP as DDP
from framework.distributed.fsdp import FSDP as FSDP
from framework.distributed.launch import rank as rank, world_size as world_size
from framework.distributed.strategy import Strategy as Strategy

__all__ = ["DDP", "FSDP", "Strategy", "rank", "world_size"]
