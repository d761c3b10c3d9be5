"""The plain step, in full precision, on the CPU, a CUDA or an MPS device."""

from __future__ import annotations

import torch

from framework.backends.base import Backend, Probe


class Plain(Backend):
    """Trains in full precision on one device, as the hand-written loop does, bit for bit.

    Example:
        >>> import torch
        >>> from framework.backends import Plain
        >>> Plain.probe().ok
        True
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device, "fp32")

    @classmethod
    def probe(cls) -> Probe:
        return Probe(True, "always available")
