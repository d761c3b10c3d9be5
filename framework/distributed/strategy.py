"""How the processes of a run train one model together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from framework.backends.base import Backend
from framework.distributed.parallel import Parallel

if TYPE_CHECKING:
    from framework.distributed.group import Group


class Strategy(ABC):
    """How the processes of a run train one model together: `fit(strategy=...)`. Holds settings, and takes no part in a step.

    Attributes:
        name: the short name, which `fit(strategy=...)` takes too.

    Example:
        >>> from framework import DDP, Strategy
        >>> isinstance(DDP(), Strategy), DDP.name
        (True, 'ddp')
    """

    name: ClassVar[str]

    @abstractmethod
    def over(self, backend: Backend, group: Group, blocks: Callable[[nn.Module], Sequence[nn.Module]]) -> Parallel:
        """Returns a backend that runs the steps of `backend` on all processes of the group.

        Args:
            backend: runs them on one.
            group: the processes.
            blocks: returns the parts of a module that are sharded one by one, for a strategy that shards.

        Raises:
            SettingError: the two do not go together.
        """
