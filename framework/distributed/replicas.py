"""The same model on every process: what has to agree before they train, and how it is kept the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from framework.errors import ModuleError, RankError, SettingError, StepError

if TYPE_CHECKING:
    from framework.distributed.group import Group

_PACKET_BYTES = 32 * 2**20


def refuse_differences(model: nn.Module, group: Group) -> None:
    """Refuses a model that another process has made otherwise.

    Raises:
        ModuleError: parameters of it have no shape yet.
        SettingError: each process has a part of it already.
        RankError: its parameters and buffers are not those of rank 0, by name, shape and type, or not frozen alike.
    """
    lazy = [name for name, parameter in model.named_parameters() if nn.parameter.is_lazy(parameter)]
    if lazy:
        raise ModuleError(
            f"{len(lazy)} parameters of {type(model).__name__} have no shape yet, so the processes cannot compare them: "
            f"{', '.join(lazy[:3])}{', ...' if len(lazy) > 3 else ''}. Run one batch through the module before fit, in __init__ "
            "with zeros, or give the layers their sizes."
        )
    if any(hasattr(parameter, "device_mesh") for parameter in model.parameters()):
        raise SettingError(
            f"This {type(model).__name__} is in parts over the processes, as strategy='fsdp' leaves it. Give the same strategy "
            "again, or load its weights into a new module."
        )
    described = {f"parameter {name}": _said(each) for name, each in model.named_parameters()}
    described |= {f"buffer {name}": _said(each) for name, each in model.named_buffers()}
    first, *others = group.exchange("the parameters of the module", described)
    for rank, other in enumerate(others, 1):
        for name in [*first, *other]:
            if first.get(name) != other.get(name):
                raise RankError(
                    f"The {name} of {type(model).__name__} is {other.get(name, 'missing')} on rank {rank} and "
                    f"{first.get(name, 'missing')} on rank 0. All processes train one model: make it the same way on each, from "
                    "what does not depend on the rank or on the machine."
                )
        if list(first) != list(other):
            raise RankError(
                f"The parameters of {type(model).__name__} are the same on rank {rank} and rank 0, but in another order. Make the "
                "model the same way on each process; the order of a set differs from one to the next."
            )


@torch.no_grad()
def send_from_main(tensors: Iterable[Tensor], group: Group) -> None:
    """Gives tensors of rank 0 to all, in place, bit for bit; they have to be of the same shapes and types everywhere."""
    by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.layout is not torch.strided:
            tensor.copy_(group.from_main("a sparse tensor of the module", tensor.detach().cpu()))
        elif tensor.numel():
            by_kind.setdefault((tensor.dtype, tensor.device), []).append(tensor.detach())
    for same in by_kind.values():
        for some in _packets(same):
            flat = torch.cat([each.reshape(-1) for each in some]) if len(some) > 1 else some[0].contiguous().view(-1)
            torch.distributed.broadcast(flat.view(torch.uint8), src=0)
            if not group.is_main:
                for each, sent in zip(some, torch.split(flat, [each.numel() for each in some]), strict=True):
                    each.copy_(sent.view(each.shape))


@torch.no_grad()
def average_gradients(parameters: Sequence[nn.Parameter], group: Group, of: str) -> None:
    """Replaces gradients by their mean over the processes, the same bits on all of them.

    A process without one for a parameter counts as one with zeros; a parameter without gradients on all of them stays without.

    Args:
        parameters: the same on all processes, in the same order.
        group: the processes.
        of: what the gradients are of, for an error.

    Raises:
        RankError: another process is at the gradients of something else.
        StepError: a gradient is sparse.
    """
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.layout is not torch.strided:
            raise StepError(
                f"The gradients of {of} are sparse, of a parameter of shape {tuple(parameter.shape)}; several processes can "
                "average those only of a loss that a step returns, where no window of accumulation is cut short. Use sparse=False."
            )
    counts = group.sums(f"the gradients of {of}", [float(parameter.grad is not None) for parameter in parameters])
    by_kind: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter, count in zip(parameters, counts, strict=True):
        if count:
            by_kind.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for present in by_kind.values():
        flat = torch.cat([_gradient_of(each).reshape(-1) for each in present]).div_(group.world_size)
        torch.distributed.all_reduce(flat)
        for parameter, mean in zip(present, torch.split(flat, [each.numel() for each in present]), strict=True):
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.copy_(mean.view(parameter.shape))


def sync_batchnorm(model: nn.Module, device: torch.device) -> None:
    """Makes the layers of batch normalisation inside the model take their statistics over the batches of all processes.

    The layers stay so: in one process, and in evaluation mode, they are what they were.

    Raises:
        SettingError: the device is no GPU.
    """
    if device.type != "cuda":
        raise SettingError(
            f"sync_batchnorm=True: torch has batch normalisation over several processes on GPUs only, and the run is on {device}. "
            "Leave it out, or use a normalisation that does not look at other samples, such as GroupNorm."
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]


def _packets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Yields the tensors in lists that are sent at once: a large one alone, since it would be copied."""
    packet: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if size and size + tensor.nbytes > _PACKET_BYTES:
            yield packet
            packet, size = [], 0
        packet.append(tensor)
        size += tensor.nbytes
    yield packet


def _said(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    frozen = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
    return f"{kind} {tuple(tensor.shape)}{', frozen' if frozen else ''}"


def _gradient_of(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
