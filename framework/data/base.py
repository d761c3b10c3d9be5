"""One pass over data after another, each a function of a seed and its number, which can be taken up anywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from framework.errors import DataError, ResumeError


class BatchCount:
    """How many batches are complete in all: as `clock` says, without one those that were handed out."""

    __slots__ = ("clock", "handed_out")

    def __init__(self) -> None:
        self.clock: Callable[[], int] | None = None
        self.handed_out = 0

    def __call__(self) -> int:
        return self.handed_out if self.clock is None else self.clock()


class Pass:
    """One pass under way.

    Args:
        number: of the pass; the first is 0.
        skipped: batches of it that an earlier run had made.
        count: how many batches are complete.

    Attributes:
        fetch: gives the next batch.
        over: it has given its last batch, and said so.
        broken: a fetch raised.
    """

    def __init__(self, number: int, skipped: int, count: BatchCount) -> None:
        self.number = number
        self.skipped = skipped
        self.fetch: Callable[[], Any]
        self.over = self.broken = False
        self._count = count
        self._began = count()

    def completed(self) -> int:
        """Returns how many batches of the pass are complete, those of an earlier run among them."""
        return self._count() - self._began + self.skipped


class Ordered(ABC):
    """Data whose passes follow from a seed: each `iter` gives the next pass, and a saved position takes one up where it was.

    Made by `ordered`. A pass ends early when the loop over it is left; the next `iter` gives the next pass all the same, unless
    `load_position` says otherwise.

    Args:
        seed: that of the run.

    Attributes:
        clock: returns how many batches are complete in all, where something else knows that better, such as an engine that counts
            its iterations; None counts the batches that were handed out. To be set between two passes.
        given: the data that it was made of.
        name: what to call it in a message.
        on_dropped: called after each batch that is read and dropped to go on inside a pass, which may take long; None for nothing.
        own_to_rank: each of several processes brings data of its own, which is at a position of its own.
        share: what the batch that was handed out last counts in the mean over processes: its samples, times the processes, over the
            samples of the step; 0.0 for a batch that only fills up, and 1.0 where there is one process.
        reads_ahead_safely: a fetch may be broken off without loss: `load_position(position())` and `iter` give that batch again.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from framework.data import Ordered, ordered
        >>> data = ordered(DataLoader(range(4), shuffle=True), seed=1)
        >>> isinstance(data, Ordered), len(data)
        (True, 4)
        >>> first, second = list(data), list(data)
        >>> data.load_position({"epoch": 0, "samples": 3, "seed": 1, "length": 4})
        >>> list(data) == first[3:]
        True
    """

    share: float = 1.0
    own_to_rank = False
    reads_ahead_safely = True
    given: Any = None
    name = "The data"
    on_dropped: Callable[[], None] | None = None

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._count = BatchCount()
        # The pass under way, the number of the next one, and the position in that one where it has been begun before. One
        # assignment changes all three: the handler of a signal may raise between two.
        self._state: tuple[Pass | None, int, Mapping[str, Any] | None] = None, 0, None

    @property
    def clock(self) -> Callable[[], int] | None:
        return self._count.clock

    @clock.setter
    def clock(self, clock: Callable[[], int] | None) -> None:
        self._count.clock = clock

    def __iter__(self) -> Iterator[Any]:
        previous, number, saved = self._state
        opened = self._open(number, saved, previous)
        if previous is not None:
            previous.fetch = _superseded
        self._state = opened, number + 1, None
        return _Reading(self, opened)

    @abstractmethod
    def __len__(self) -> int: ...

    def __del__(self) -> None:
        self.close()

    def position(self, *, ended: bool = False) -> dict[str, Any]:
        """Returns where the data is, for `load_position`: after the batches that are complete.

        Args:
            ended: the pass is over, also where its last batch has only just been completed, or where the rest of it is not wanted.
                A loop without `clock` that has run to its end need not say so.
        """
        opened, number, saved = self._state
        if opened is None:
            return self._start(number) if saved is None else dict(saved)
        if ended or (opened.over and self.clock is None):
            self._finish(opened)
            return self._start(number)
        return self._inside(opened)

    def load_position(self, saved: Mapping[str, Any]) -> None:
        """Makes the next `iter` give the rest of the pass that `saved` is in; the passes go on from there.

        Raises:
            ResumeError: it was saved with another seed, with other data, or for data of another kind.
        """
        own = self._start(0)
        if not isinstance(saved, Mapping) or set(saved) != set(own):
            came = sorted(saved) if isinstance(saved, Mapping) else repr(saved)
            raise ResumeError(
                f"The position of this data has the entries {sorted(own)}, got {came}: it was saved with data of another kind. "
                "Give the data of the interrupted run, or start a new run."
            )
        for name in ("seed", "length"):
            if name in own and own[name] != saved[name]:
                raise ResumeError(
                    f"The position was saved with {name} {saved[name]!r}, and that of this data is {own[name]}: what is left of "
                    "the pass would be other samples. Give the data and the seed of the interrupted run, or start a new run."
                )
        for name in {"epoch", "samples", "batches"} & set(own):
            if type(saved[name]) is not int or saved[name] < 0:
                raise ResumeError(
                    f"The entry {name!r} of a position is a whole number of at least 0, got {saved[name]!r}. "
                    "Give what position() returned."
                )
        self._state = None, saved["epoch"], saved

    def rewind(self) -> None:
        """Makes the next `iter` give the first pass again."""
        self._state = self._state[0], 0, None

    def close(self) -> None:  # noqa: B027  # most data has no workers
        """Ends the worker processes: asks, waits briefly, kills. The next `iter` starts others."""

    def workers(self) -> list[Any]:
        """Returns the worker processes that are alive."""
        return []

    def indices_at(self, batch: int) -> list[Any] | None:
        """Returns the indices of the samples in a batch of the pass under way; None where they are not known, or no longer.

        Args:
            batch: its position in the pass; the first is 0.
        """
        return None

    def describe(self) -> str | None:
        """Returns a line that says what is done otherwise than the user wrote it, None where nothing is."""
        return None

    def traits(self) -> dict[str, Any]:
        """Returns, in plain values, what its batches follow from beside the seed, as far as that is known."""
        return {}

    @abstractmethod
    def _open(self, number: int, saved: Mapping[str, Any] | None, previous: Pass | None) -> Pass:
        """Starts a pass, from a saved position in it where there is one."""

    @abstractmethod
    def _start(self, number: int) -> dict[str, Any]:
        """Returns the position before the first batch of a pass that has not begun."""

    @abstractmethod
    def _inside(self, opened: Pass) -> dict[str, Any]:
        """Returns the position in a pass."""

    def _finish(self, opened: Pass) -> None:  # noqa: B027
        """Makes a pass that is over ready for the position after it."""


class _Reading(Iterator[Any]):
    """What a loop over one pass reads. It keeps the data alive; the data does not keep it."""

    def __init__(self, data: Ordered, opened: Pass) -> None:
        self._data = data
        self._pass = opened
        self._count = data._count

    def __next__(self) -> Any:
        opened = self._pass
        if opened.over:
            raise StopIteration
        try:
            batch = opened.fetch()
        except StopIteration:
            opened.over = True
            raise
        except BaseException:
            if not opened.broken:
                opened.broken, opened.fetch = True, _broken_off
            raise
        if batch is None:
            raise none_came(self._data.name, opened.completed() + 1)
        self._count.handed_out += 1
        return batch


def none_came(name: str, number: int) -> DataError:
    """Builds the error for data that gives None where a batch is due.

    Args:
        name: of the data.
        number: of the batch in its pass; the first is 1.
    """
    return DataError(
        f"{name} gave None as batch {number} of a pass. A collate_fn or a generator that forgets to return or to yield what it has "
        "made gives None; return the batch there, or leave out what is none."
    )


def _superseded() -> NoReturn:
    raise RuntimeError("This pass ended when the next one began: iter() was called again. Loop over one pass at a time.")


def _broken_off() -> NoReturn:
    raise RuntimeError(
        "A fetch of this pass was broken off by an exception, so its batches may not be whole any more. To go on with the batch "
        "that was to come, call data.load_position(data.position()) and iter(data)."
    )
