"""What has to be the same when a run goes on, and a diff where it is not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

from framework.engine.dispatch import each_event
from framework.errors import ResumeError
from framework.module.resuming.stored_weights import LAZY, weights_kinds
from framework.module.schedules import Schedules
from framework.module.settings import FitSettings

if TYPE_CHECKING:
    from framework.module.resuming.past import Past
    from framework.module.train_module import TrainModule

FREE = {
    *(
        "max_epochs",
        "max_iters",
        "max_time_s",
        "log_every",
        "accelerator",
        "strategy",
        "batch",
        "checkpoint_activations",
        "compile",
        "handlers",
        "loggers",
        "progress",
        "run_dir",
        "resume",
    ),
    *("allow_changes", "save_every", "save_every_s", "async_save", "keep", "hang_timeout_s", "seed", "debug", "dry_run"),
}
"""Settings that may change whenever a run goes on. The seed is compared apart: None then means that of the run."""

_EPOCH = ("epoch_length", "limit_train_batches", "batches an epoch", "batch size", "samples")
_NEVER = ("class", "model", "optimizers", "schedulers", *_EPOCH)
_HOW = {"foreach", "fused", "capturable", "differentiable"}
"""Options of optimizers that change how they compute, which may depend on the device."""


def describe_run(
    module: TrainModule,
    settings: FitSettings,
    optimizers: Mapping[str, Optimizer],
    schedules: Schedules,
    batches: int | None,
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns, in plain values, all that has to be the same for a run to go on as if it had never stopped."""
    return {
        **describe_setup(module, settings),
        "batches an epoch": batches,
        **{name: data.get(name) for name in ("samples", "batch size", "sampler")},
        "optimizers": {name: _in_words(optimizer) for name, optimizer in optimizers.items()},
        "schedulers": [type(scheduler).__name__ for scheduler in schedules.all],
    }


def describe_setup(module: TrainModule, settings: FitSettings) -> dict[str, Any]:
    """Returns what of it is known before optimizers are made and data are looked at."""
    given = {field.name: _plain(getattr(settings, field.name)) for field in fields(settings) if field.name not in FREE}
    tensors = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    return {
        **given,
        "arguments": {name: repr(value) for name, value in module._hparams["values"].items()},
        "class": type(module).__name__,
        "model": weights_kinds(tensors),
    }


def refuse_another(module: TrainModule, settings: FitSettings, past: Past) -> None:
    """Refuses to return the result of a run that is over in the place of one that was set up otherwise.

    Raises:
        ResumeError: with a line for each difference.
    """
    now, where = describe_setup(module, settings), str(past.checkpoint.path)
    refuse_other_seed(settings.seed, past.seed, where)
    refuse_changes(past.parts["run"]["setup"], now, [name for name in settings.allow_changes if name in now], where)


def refuse_changes(
    then: Mapping[str, Any], now: Mapping[str, Any], allowed: Collection[str], where: str, processes: tuple[int, int] = (1, 1)
) -> None:
    """Refuses to go on with something else than the run had.

    Args:
        then, now: what `describe_run` returned.
        allowed: names of what may differ.
        where: the checkpoint, for the message.
        processes: how many there were and are: with another number the same `batch_size` may make other steps.

    Raises:
        ResumeError: with a line for each difference.
    """
    unknown = [name for name in allowed if name not in now or name in _NEVER]
    if unknown:
        raise ResumeError(
            f"allow_changes names {unknown[0]!r}; what may be allowed is {', '.join(name for name in now if name not in _NEVER)}."
        )
    lines: list[str] = []
    changed: list[str] = []
    for name in now:
        was, is_now = then.get(name), now[name]
        if was == is_now or name in allowed:
            continue
        if isinstance(was, Mapping) and isinstance(is_now, Mapping):
            found = _diff(name, was, is_now)
        else:
            found = [f"{name}: {was!r} in the run, {is_now!r} now"]
        lines += found
        changed += [name] if found else []
    if not changed:
        return
    whole = (
        f"\nThe run had {processes[0]} processes and has {processes[1]} now; the batch size is that of a step of all of them. "
        f"For the same steps with any number of them, give the loader batch_size={then['batch size']} and fit batch='global'."
        if "batch size" in changed and processes[0] != processes[1] and then.get("batch size") is not None
        else ""
    )
    free = [name for name in changed if name not in _NEVER]
    can_allow = f", or allow it: allow_changes={tuple(free)!r}" if len(free) == len(changed) else ""
    raise ResumeError(
        f"The run in {where} cannot go on, since this differs:\n"
        + "\n".join(f"  {line}" for line in lines)
        + whole
        + f"\nMake it as it was{can_allow}; or start a new run in another run_dir."
    )


def refuse_other_seed(seed: int | None, of_run: int, where: str) -> None:
    """Refuses a seed that is not that of the run.

    Raises:
        ResumeError: it is another.
    """
    if seed not in (None, of_run):
        raise ResumeError(
            f"seed={seed} differs from the seed {of_run} of the run in {where}. Leave seed out, or start a new run in another "
            "run_dir."
        )


def _diff(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}: {key} ({value}) is missing now" for key, value in then.items() if key not in now]
    lines += [f"{name}: {key} ({value}) is new" for key, value in now.items() if key not in then]
    changed = [key for key in now if key in then and then[key] != now[key] and LAZY not in (then[key], now[key])]
    return lines + [f"{name}: {key} was {then[key]}, is {now[key]}" for key in changed]


def _in_words(optimizer: Optimizer) -> str:
    """Returns type and options of an optimizer that has just been made; the rates of its groups are those before any schedule."""
    options = {name: _number(value) for name, value in optimizer.defaults.items() if name not in _HOW}
    options["lr"] = [_number(group.get("initial_lr", group.get("lr"))) for group in optimizer.param_groups]
    named = ", ".join(
        f"{name}={value}" for name, value in options.items() if isinstance(value, bool | int | float | str | tuple | list)
    )
    return f"{type(optimizer).__name__}({named})"


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and type(value) is str:
        return value
    return " | ".join(_event(event) for event in each_event(value))


def _event(event: Any) -> str:
    name, every = getattr(event, "name", str(event)), getattr(event, "every", None)
    if every is not None:
        return f"{name}(every={every})"
    return f"{name}(filtered)" if getattr(event, "filter", None) is not None else str(name)
