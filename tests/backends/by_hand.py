"""Training loops as one writes them by hand, without the framework: what its steps are compared with."""

import contextlib

import torch
from torch import nn
from torch.nn import functional as F

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def loss_of(net, batch):
    x, y, factor = batch
    return F.mse_loss(net(x), y) * factor


def body_loss(net, batch):
    return loss_of(net, batch)


def head_loss(net, batch):
    return 0.5 * loss_of(net, batch)


def parts_of(net):
    """Returns the parameters of the two optimizers that the yielded losses are for."""
    return {"body": list(net[0].parameters()), "head": list(net[2].parameters())}


class ScaledByHand:
    """The dynamic loss scale of apex.amp, in the words of `torch.amp.GradScaler`."""

    def __init__(self):
        self.value, self.good_steps, self.found_inf, self.unscaled = 65536.0, 0, False, []

    def scale(self, loss):
        self.good_steps += 1  # it counts micro-batches
        return loss * self.value

    def unscale_(self, optimizer):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad.mul_(1 / self.value)
        self.unscaled.append(optimizer)

    def step(self, optimizer):
        if optimizer not in self.unscaled:
            self.unscale_(optimizer)
        if is_finite(optimizer):
            optimizer.step()
        else:
            self.found_inf = True

    def update(self):
        if self.found_inf:
            self.value, self.good_steps = self.value / 2, 0
        self.found_inf, self.unscaled = False, []

    def state_dict(self):
        return {"scale": self.value, "_growth_tracker": self.good_steps}


class ByHand:
    """One run of such a loop.

    Attributes:
        losses: of each micro-batch.
        steps: really made, by the name of the optimizer.
    """

    def __init__(self, net, precision, scaler, clip):
        self.net, self.scaler, self.clip = net, scaler, clip
        self.cast = contextlib.nullcontext
        if precision in DTYPES:
            self.cast = lambda: torch.autocast("cpu", dtype=DTYPES[precision])
        self.losses = []
        self.steps = {}

    def returned(self, optimizer, windows):
        for window in windows:
            optimizer.zero_grad()
            for batch in window:
                with self.cast():
                    loss = loss_of(self.net, batch)
                self.losses.append(loss.detach())
                self.scaler.scale(loss / len(window)).backward()
            self.step("main", optimizer)
            self.scaler.update()

    def yielded(self, optimizers, windows):
        for window in windows:
            for number, batch in enumerate(window):
                for name, loss_fn in (("body", body_loss), ("head", head_loss)):
                    if number == 0:
                        optimizers[name].zero_grad()
                    with self.cast():
                        loss = loss_fn(self.net, batch)
                    self.losses.append(loss.detach())
                    self.scaler.scale(loss / len(window)).backward(inputs=parts_of(self.net)[name])
                    if number == len(window) - 1:
                        self.step(name, optimizers[name])
            self.scaler.update()

    def closure(self, optimizer, batches):
        for batch in batches:

            def evaluate(batch=batch):
                optimizer.zero_grad()
                with self.cast():
                    loss = loss_of(self.net, batch)
                loss.backward()
                self.limit(optimizer)
                return loss

            self.losses.append(optimizer.step(evaluate).detach())
            self.steps["main"] = self.steps.get("main", 0) + 1

    def step(self, name, optimizer):
        self.steps[name] = self.steps.get(name, 0) + is_finite(optimizer)
        if self.clip is not None:
            self.scaler.unscale_(optimizer)
            self.limit(optimizer)
        self.scaler.step(optimizer)

    def limit(self, optimizer):
        parameters = optimizer.param_groups[0]["params"]
        if self.clip is not None and self.clip.norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.clip.norm)
        if self.clip is not None and self.clip.value is not None:
            nn.utils.clip_grad_value_(parameters, self.clip.value)


def is_finite(optimizer):
    return all(parameter.grad.isfinite().all() for parameter in optimizer.param_groups[0]["params"])
