"""Of the fused optimizers only what matters to a backend: arguments that are missing, and one that is too many."""

import torch


class FusedSGD(torch.optim.SGD):
    def zero_grad(self):
        super().zero_grad()


class CapturableAdam(torch.optim.Adam):
    """As FusedAdam(capturable=True): divides its gradients by the loss scale, whoever has done so before."""

    _step_supports_amp_scaling = True

    def step(self, closure=None, grad_scaler=None):
        super().step(closure)
