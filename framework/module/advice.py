"""Advice for errors of torch whose text does not say what to do."""

from __future__ import annotations

import re

import torch

from framework.errors import FrameworkError

_MEMORY = (
    "Memory ran out. Give smaller batches; with accumulate=n the gradients of n of them make one step, which is that of a batch n "
    "times as large (batch normalisation apart)."
)
_DEVICE = (
    "Tensors on two devices met. fit moves the module and each batch. Make what a step needs with device=self.device, keep "
    "constants with register_buffer, and submodules as attributes or in an nn.ModuleList: a plain list of them is not moved."
)
_DTYPE = (
    "The input of a layer is of another dtype than its weights: numpy makes float64, images are uint8. Convert it in the dataset "
    "or in the step; for float32 weights with x = x.float()."
)
_LABELS = "Class labels and indices are int64: y = y.long(). Probabilities as targets have the shape of the predictions."
_TEXTS = (
    (r"DefaultCPUAllocator: (can't allocate|not enough) memory|CUDA out of memory|MPS backend out of memory", _MEMORY),
    (
        "Trying to backward through the graph a second time",
        "The loss reaches back behind an earlier backward. fit calls loss.backward() itself: leave it out. Detach what is carried "
        "over from step to step, such as a hidden state or a sum of losses: state = state.detach(). Where two yielded losses share "
        "a computation, repeat or detach it.",
    ),
    (r"Expected all tensors to be on the same device|is not on the expected device|Input type \(torch\.cuda\.", _DEVICE),
    (r"(mat1 and mat2 must|m1 and m2 to) have the same dtype|Input type \(.+\) and (bias|weight) type \(.+\) should be", _DTYPE),
    (r"expected (scalar type Long but found|target dtype to be Long)", _LABELS),
    (r"expected scalar type (Double|Float|Half|BFloat16) but found", _DTYPE),
    (
        "element 0 of tensors does not require grad",
        "Nothing that requires gradients leads to this tensor: look for .detach(), .item(), torch.no_grad() and frozen parameters. "
        "Evaluation and prediction run without gradients; put what needs them there under torch.enable_grad().",
    ),
    (
        r"grad can be implicitly created only for real scalar outputs|must be real number, not complex",
        "A complex number came where a real one is needed. A loss, and what is logged, is .real, .abs() or .angle() of it.",
    ),
    (
        "device-side assert triggered",
        "An index is out of range on the device, most often a class label or a token. Errors come late there, so another line may "
        "be to blame; accelerator='cpu' shows which, and the index.",
    ),
    (
        r"Target -?\d+ is out of bounds",
        "Class labels go from 0 to the number of the model's outputs - 1. Count them from 0, or give the last layer more outputs.",
    ),
    (
        "index out of range in self",
        "An embedding has no row of this number: indices go from 0 to num_embeddings - 1. Look at the largest one in the batch.",
    ),
    (
        "got mixed torch.Tensor and DTensor",
        "Under strategy='fsdp' the parameters of a block are whole only while the block itself is called, and the others only "
        "inside a step. Return from configure_sharding(self) what is called as one, and in a hook call self(x), on every rank.",
    ),
    (
        "multi-target not supported",
        "Class labels have the shape (batch,): y.squeeze(1) takes a last dimension of 1 away; of one-hot rows take y.argmax(1).",
    ),
    (
        r"Tried to step \d+ times\. The specified number of total steps is",
        "Make the schedule as long as the run: configure_schedulers(self, optimizers, total_steps) is told the optimizer steps of "
        "the whole run.",
    ),
    (
        r"Declared\.log\(\)",
        "log(name, value) records one scalar, and log(name, value, n=count) a mean over so many: its means over an epoch and its "
        "curve come by themselves.",
    ),
    (
        "Expected more than 1 value per channel when training",
        "Batch normalisation cannot train on one sample. If it is the rest at the end of the data, give the loader drop_last=True.",
    ),
)
_PATTERNS = [(re.compile(text), advice) for text, advice in _TEXTS]
_SHAPES = re.compile(r"mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)")


def advice_for(error: BaseException) -> str | None:
    """Returns what to do about a known error of torch, None where there is nothing sure to say.

    The text decides, so an error that a worker of a loader has sent is known as well.

    Args:
        error: what a step, the data or a hook raised.

    Example:
        >>> import torch
        >>> from framework.module.advice import advice_for
        >>> try:
        ...     torch.nn.Linear(4, 1)(torch.ones(2, 3))
        ... except RuntimeError as error:
        ...     print(advice_for(error))
        A Linear layer gives this where the last dimension of its input (3) is not its in_features (4).
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return _MEMORY
    if not isinstance(error, RuntimeError | ValueError | IndexError | TypeError) or isinstance(error, FrameworkError):
        return None
    text = str(error)
    if shapes := _SHAPES.search(text):
        came, wanted = shapes.groups()
        return f"A Linear layer gives this where the last dimension of its input ({came}) is not its in_features ({wanted})."
    return next((advice for pattern, advice in _PATTERNS if pattern.search(text)), None)
