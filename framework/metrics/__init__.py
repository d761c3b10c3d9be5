"""Numbers of a run: running means of what steps give, and metrics fed with predictions."""

from framework.metrics.metric_set import MetricSet
from framework.metrics.recorder import Point, Recorder

__all__ = ["MetricSet", "Point", "Recorder"]
