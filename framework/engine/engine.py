"""The engine: a process function, the handlers registered on its events, and the state of its run."""

from __future__ import annotations

import logging
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from framework.engine.event_source import EventSource
from framework.engine.events import Events
from framework.engine.limits import check_count, data_length, is_reset, plan_run
from framework.engine.loop import Paused, Terminated, fire_completed, run_epochs
from framework.engine.position import Position
from framework.engine.signature import require
from framework.engine.state import COUNTERS, State
from framework.engine.state_dict import dump_state, load_state
from framework.engine.user_stop import stray_stop_iteration
from framework.seeding import seed_all


class Engine(EventSource):
    """Runs a process function over data, epoch by epoch, and fires `Events` at which handlers act.

    Args:
        process_function: takes (engine, batch); what it returns becomes `engine.state.output`.

    Attributes:
        state: the `State` of the run.
        last_event_name: the event fired last, None before any.
        should_terminate, should_terminate_single_epoch: what was asked for: False, True, or "skip_completed" and
            "skip_epoch_completed".
        should_interrupt: whether an interruption was asked for.
        logger: a `logging.Logger`.
        state_dict_user_keys: names of the user's own attributes of `state` that `state_dict` saves.
        interrupt_resume_enabled: class attribute; False forbids `interrupt`.

    Raises:
        ValueError: no process function, or one that does not take (engine, batch).

    Example:
        >>> from framework.engine import Engine, Events
        >>> doubler = Engine(lambda engine, batch: 2 * batch)
        >>> @doubler.on(Events.ITERATION_COMPLETED)
        ... def show(engine):
        ...     print(engine.state.epoch, engine.state.iteration, engine.state.output)
        >>> state = doubler.run([1, 2], max_epochs=2)
        1 1 2
        1 2 4
        2 3 2
        2 4 4
    """

    interrupt_resume_enabled = True
    _keeps_data_order = False

    def __init__(self, process_function: Callable[[Any, Any], Any]) -> None:
        if process_function is None:
            raise ValueError("Engine must be given a processing function in order to run")
        require(process_function, "engine", "batch", role="process function")
        super().__init__()
        self.logger = logging.getLogger(f"{type(self).__module__}.{type(self).__qualname__}")
        self.state_dict_user_keys: list[str] = []
        self._process_function = process_function
        self._position: Position | None = None  # of a run under way or interrupted
        self._running = False
        self._asked = False  # the one flag the loop looks at
        self._should_terminate: bool | str = False
        self._should_terminate_single_epoch: bool | str = False
        self._should_interrupt = False
        self.terminate_reason: str | None = None
        self._on_error: Callable[[Engine, BaseException], None] | None = None  # sees an error while the engine is where it arose

    # Requests

    def terminate(self, skip_completed: bool = False, *, reason: str | None = None) -> None:
        """Ends the run after the event or step at hand: TERMINATE, then COMPLETED unless `skip_completed`.

        Args:
            skip_completed: do not fire COMPLETED.
            reason: one sentence, kept as `terminate_reason`.
        """
        self.terminate_reason = reason
        self.should_terminate = "skip_completed" if skip_completed else True

    def terminate_epoch(self, skip_epoch_completed: bool = False) -> None:
        """Ends the epoch after the event or step at hand: TERMINATE_SINGLE_EPOCH, then EPOCH_COMPLETED unless told to skip it."""
        self.should_terminate_single_epoch = "skip_epoch_completed" if skip_epoch_completed else True

    def interrupt(self) -> None:
        """Pauses the run after the event at hand: INTERRUPT, then `run` returns; the next `run` goes on from there.

        Raises:
            RuntimeError: the class has `interrupt_resume_enabled = False`.
        """
        if not self.interrupt_resume_enabled:
            raise RuntimeError("Engine 'interrupt/resume' feature is disabled. Set Engine.interrupt_resume_enabled=True to use it.")
        self.should_interrupt = True

    @property
    def should_terminate(self) -> bool | str:
        """What `terminate` asked for: False, True or "skip_completed"."""
        return self._should_terminate

    @should_terminate.setter
    def should_terminate(self, asked: bool | str) -> None:
        self._should_terminate = asked
        self._asked = self._asked or bool(asked)

    @property
    def should_terminate_single_epoch(self) -> bool | str:
        """What `terminate_epoch` asked for: False, True or "skip_epoch_completed"."""
        return self._should_terminate_single_epoch

    @should_terminate_single_epoch.setter
    def should_terminate_single_epoch(self, asked: bool | str) -> None:
        self._should_terminate_single_epoch = asked
        self._asked = self._asked or bool(asked)

    @property
    def should_interrupt(self) -> bool:
        """Whether `interrupt` was called and is not yet done."""
        return self._should_interrupt

    @should_interrupt.setter
    def should_interrupt(self, asked: bool) -> None:
        self._should_interrupt = asked
        self._asked = self._asked or asked

    def _clear_requests(self, position: Position) -> None:
        self._asked = self._should_terminate = self._should_interrupt = False
        if position.after != Events.TERMINATE_SINGLE_EPOCH:  # else the epoch's end was asked for, and is still going on
            self._should_terminate_single_epoch = False
        self.terminate_reason = None

    # Running

    def set_data(self, data: Any) -> None:
        """Takes the next batch, and those after it, from `data`; the epoch length stays.

        Raises:
            TypeError, ValueError: `data` cannot be iterated over, or is empty.
        """
        data_length(data)
        self.state.dataloader = data
        if self._position is not None:
            self._position.feed, self._position.refilled, self._position.used_up = None, False, False
            self._asked = True

    def run(
        self,
        data: Any = None,
        max_epochs: int | None = None,
        epoch_length: int | None = None,
        seed: int | None = None,
        *,
        max_iters: int | None = None,
    ) -> State:
        """Runs the process function over `data`.

        A new or finished engine starts from zero. One that was interrupted goes on exactly where it stopped; one that was
        terminated, that raised, that loaded a state, or that gets a higher limit goes on with its next epoch. Setting
        `state.max_epochs = None` before (or `state.max_iters`) starts from zero in any case.

        Args:
            data: an iterable of batches; None gives the step None as batch and needs `epoch_length`.
            max_epochs: epochs to run in all. 1 for a new run.
            epoch_length: iterations an epoch. The length of `data` by default; where that is unknown, one pass over it. Other
                than one pass, the data carries over from epoch to epoch and is started anew where it ends.
            seed: seeds python, numpy and torch at the start of a new run.
            max_iters: iterations to run in all, instead of `max_epochs`.

        Returns:
            The engine's own `state`.

        Raises:
            TypeError, ValueError: an argument of the wrong type or range, or one that contradicts the state.
            RuntimeError: called from inside a run of the same engine, or a StopIteration escaped from user code.
            BaseException: whatever the step, a handler or the data raised, unless an EXCEPTION_RAISED handler returned.
        """
        if self._running:
            raise RuntimeError("run() was called inside a run of the same engine. Use a second engine for it.")
        if is_reset(self.state):
            self._position = None
        check_count("seed", seed, 0)
        fresh = plan_run(self.state, data, max_epochs, max_iters, epoch_length, interrupted=self._position is not None)
        if fresh and seed is not None:
            seed_all(seed)
            self.state.seed = seed
        position = self._take_up(data)
        for slot in self._table.slots.values():
            if slot.counter is not None and slot.event not in COUNTERS:
                self.state.add_counter(slot.event, slot.counter)
                if fresh and slot.counts_firings:
                    setattr(self.state, slot.counter, 0)
        self._clear_requests(position)
        self.state.exception = None
        self._running = True
        try:
            self._drive(position)
        except BaseException as error:
            self._position = None  # the run is over
            if self._on_error is not None:
                self._on_error(self, error)
            if not self._pass_to_handlers(error):
                raise
        finally:
            self._running = self._should_interrupt = False
            if position.after is None:
                self._position = None
        return self.state

    def _take_up(self, data: Any) -> Position:
        """Returns the position from which this run starts."""
        position = self._position
        if position is None:
            self.state.dataloader = data
            self._position = Position(data)
            return self._position
        position.resume()
        if not any(data is known for known in (None, position.data, self.state.dataloader)):
            warnings.warn(
                f"The interrupted run goes on with other data than it had ({type(data).__name__} now, "
                f"{type(self.state.dataloader).__name__} before): its next batch is the first of the new data. "
                "Give the same object, or None, to go on with the next batch.",
                UserWarning,
                stacklevel=3,
            )
            self.set_data(data)
            position.data = data
        return position

    def _drive(self, position: Position) -> None:
        """Runs to the end, and makes an error of a StopIteration that user code let slip."""
        try:
            self._run_to_end(position)
        except StopIteration as end:
            raise stray_stop_iteration(end) from end

    def _run_to_end(self, position: Position) -> None:
        """Runs the epochs and fires what belongs to the way they ended."""
        ended: type[BaseException] | None = None
        try:
            run_epochs(self, position)
        except (Terminated, Paused) as request:
            ended = type(request)
        if ended is Paused:
            self._fire(self._table.slots[Events.INTERRUPT])
            self.should_interrupt = False
            return
        position.feed = None
        if ended is Terminated:
            self._fire(self._table.slots[Events.TERMINATE])
        if self.should_terminate != "skip_completed":
            fire_completed(self, position)

    def _pass_to_handlers(self, error: BaseException) -> bool:
        """Gives the error to the EXCEPTION_RAISED handlers; returns False where there are none."""
        slot = self._table.slots[Events.EXCEPTION_RAISED]
        if not slot.records:
            return False
        self.state.exception = error
        self._fire(slot, (error,))
        return True

    def _open_feed(self) -> Any:
        """Returns a new iterator over the data."""
        return iter(self.state.dataloader)

    # Saving

    def state_dict(self) -> OrderedDict[str, Any]:
        """Returns the progress: epoch_length, iteration, max_epochs or max_iters, and the attributes in `state_dict_user_keys`.

        Example:
            >>> from framework.engine import Engine
            >>> engine = Engine(lambda engine, batch: None)
            >>> _ = engine.run([0, 1], max_epochs=3); dict(engine.state_dict())
            {'epoch_length': 2, 'max_epochs': 3, 'iteration': 6}
        """
        return dump_state(self.state, self.state_dict_user_keys)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes up the progress of a `state_dict`; the next `run` goes on from there.

        Args:
            state_dict: epoch_length, one of iteration and epoch, one of max_epochs and max_iters, and the user's keys.

        Raises:
            TypeError: not a mapping.
            ValueError: a key is missing, there is one too many, or the values contradict each other.
        """
        load_state(self.state, state_dict, self.state_dict_user_keys)
        self._position = None
