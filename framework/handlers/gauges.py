"""Where the handlers of this folder that watch a run put their numbers: on the curves, read at each of their points."""

from __future__ import annotations

from framework.engine.engine import Engine
from framework.errors import SettingError
from framework.metrics.gauges import Gauge
from framework.metrics.recorder import Recorder


def add_gauge(engine: Engine, handler: object, read: Gauge) -> Recorder:
    """Asks `read` for numbers at each point of the curves of a run; returns what draws them.

    Args:
        engine: of the training.
        handler: for whom, for the message.
        read: a gauge of `Recorder`.

    Raises:
        SettingError: the engine has no recorder.
    """
    recorder: Recorder | None = getattr(engine.state, "recorder", None)
    if recorder is None:
        raise SettingError(
            f"{type(handler).__name__} draws curves with engine.state.recorder, which is not there. fit sets it; on your own "
            'Engine, set it yourself: engine.state.recorder = Recorder("train"), and call its flush(iteration, epoch) for a point.'
        )
    recorder.gauge(read)
    return recorder
