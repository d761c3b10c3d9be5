"""Where numbers go: metrics.jsonl."""

from framework.loggers.jsonl import MetricsFile

__all__ = ["MetricsFile"]
