"""A run as its files tell it, and as one page of curves."""

from framework.report.reading import read_run
from framework.report.record import RunRecord, StoredCheckpoint
from framework.report.writing import write_report

__all__ = ["RunRecord", "StoredCheckpoint", "read_run", "write_report"]
