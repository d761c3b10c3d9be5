"""Where and in which precision a step runs. `select_backend` turns one argument into one of these."""

from framework.backends.amp import AMP
from framework.backends.apex import Apex
from framework.backends.base import Backend, Probe
from framework.backends.clip import Clip
from framework.backends.plain import Plain
from framework.backends.recording import Recording
from framework.backends.report import StepObserver, StepReport
from framework.backends.selector import available_accelerators, select_backend
from framework.backends.xla import XLA

__all__ = [
    "AMP",
    "XLA",
    "Apex",
    "Backend",
    "Clip",
    "Plain",
    "Probe",
    "Recording",
    "StepObserver",
    "StepReport",
    "available_accelerators",
    "select_backend",
]
