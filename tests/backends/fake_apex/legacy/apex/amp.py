"""What apex.amp does to a training step, in our own words: the loss scale, skipped steps, half weights with float copies in O2.

Unlike the real one it casts nothing in O1, so that its numbers are those of full precision, and does not ask for a GPU.
"""

import sys
import warnings
from contextlib import contextmanager

import torch

_scaler = None


class LossScaler:
    def __init__(self, dynamic):
        self.dynamic, self.scale, self.unskipped = dynamic, 65536.0 if dynamic else 1.0, 0

    def must_skip(self, gradients):
        if not all(gradient.isfinite().all() for gradient in gradients):
            self.scale, self.unskipped = self.scale / 2, 0
            return True
        self.unskipped += 1
        if self.unskipped == 2000:
            self.scale, self.unskipped = min(self.scale * 2, 2.0**24), 0
        return False


def initialize(model, optimizers, opt_level="O1", verbosity=1):
    global _scaler
    warnings.warn("apex.amp is deprecated and will be removed by the end of February 2023.", FutureWarning, stacklevel=2)
    if verbosity:
        sys.stdout.write(f"Selected optimization level {opt_level}\n")
    _scaler = LossScaler(dynamic=opt_level in ("O1", "O2"))
    if opt_level in ("O2", "O3"):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        masters = {parameter: parameter.detach().clone().requires_grad_() for parameter in trained}
        model.half()
        forward = model.forward
        model.forward = lambda x: forward(x.half()).float()
    for optimizer in optimizers:
        if hasattr(optimizer, "pairs"):
            raise RuntimeError("A given optimizer should only be passed through amp.initialize once.")
        own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        optimizer.pairs = [(parameter, masters.get(parameter, parameter) if opt_level == "O2" else parameter) for parameter in own]
        optimizer.skips = False
        if opt_level == "O1":
            optimizer.step = _as_it_was(optimizer.step)
        if opt_level == "O2":
            for group in optimizer.param_groups:
                group["params"][:] = [masters.get(parameter, parameter) for parameter in group["params"]]
            optimizer.step, optimizer.zero_grad = _stepping_masters(optimizer, optimizer.step), _clearing_both(optimizer)


@contextmanager
def scale_loss(loss, optimizers):
    if _scaler is None:
        raise RuntimeError("Invoked 'with amp.scale_loss`, but internal Amp state has not been initialized.")
    if not _scaler.dynamic:
        yield loss.float()
        return
    pairs = [pair for optimizer in optimizers for pair in optimizer.pairs]
    before = [master.grad for _, master in pairs]
    for own, _ in pairs:
        own.grad = None
    yield loss.float() * _scaler.scale
    scale, scaled = _scaler.scale, [own.grad for own, _ in pairs]
    for (_, master), earlier, gradient in zip(pairs, before, scaled, strict=True):
        true = None if gradient is None else gradient.float() / scale
        master.grad = earlier if true is None else true if earlier is None else earlier + true
    if _scaler.must_skip([gradient for gradient in scaled if gradient is not None]):
        for optimizer in optimizers:
            if not optimizer.skips:
                optimizer.skips, optimizer.step = True, _skipping_once(optimizer, optimizer.step)


def master_params(optimizer):
    for group in optimizer.param_groups:
        yield from group["params"]


def state_dict():
    return {"loss_scaler0": {"loss_scale": _scaler.scale, "unskipped": _scaler.unskipped}}


def load_state_dict(state):
    _scaler.scale, _scaler.unskipped = state["loss_scaler0"]["loss_scale"], state["loss_scaler0"]["unskipped"]


def _as_it_was(step):
    return lambda *args, **kwargs: step(*args, **kwargs)


def _skipping_once(optimizer, step):
    def skip(closure=None):
        if closure is not None:
            raise RuntimeError("Currently, Amp does not support closure use with optimizers.")
        optimizer.skips, optimizer.step = False, step

    return skip


def _stepping_masters(optimizer, step):
    def step_masters():
        step()
        with torch.no_grad():
            for own, master in optimizer.pairs:
                own.copy_(master)
                master.grad = None

    return step_masters


def _clearing_both(optimizer):
    def zero_grad():
        for own, master in optimizer.pairs:
            own.grad = master.grad = None

    return zero_grad
