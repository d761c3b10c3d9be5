"""How many batches the next pass has, where an epoch is one pass: a hook may have changed the data since the last one."""

from __future__ import annotations

from collections.abc import Callable

from framework.engine.engine import Engine
from framework.engine.events import Events
from framework.module.checks.data_end import no_batch
from framework.module.run import Run
from framework.module.settings import FitSettings


class PassLength:
    """Asks the data for its length at the start of each epoch, as a `for` over it would see it.

    Args:
        run: whose epochs they are; each is one pass over its data.
        settings: of the run.
        ask: tells how many batches there are now; None where the data does not know.
    """

    def __init__(self, run: Run, settings: FitSettings, ask: Callable[[], int | None]) -> None:
        self._run = run
        self._settings = settings
        self._ask = ask

    def take(self, engine: Engine) -> None:
        """EPOCH_STARTED, before anybody looks at the length and again after the hooks, which may change the data.

        Raises:
            DataError: there is no batch any more.
        """
        run, settings, state, length = self._run, self._settings, engine.state, self._ask()
        if length == run.epoch_length:
            return
        if length == 0:
            raise no_batch(f"In epoch {state.epoch} train_data", run.data)
        if run.epoch_length is not None and settings.max_epochs is not None and settings.max_iters is not None:
            state.max_epochs, state.max_iters = settings.max_epochs, None  # which comes first is open from now on
            engine.add_event_handler(Events.ITERATION_COMPLETED(once=settings.max_iters), run.stop_at_max_iters)
        run.epoch_length = state.epoch_length = length
        run.begin_window(engine)
