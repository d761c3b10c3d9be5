"""What the framework raises when a user's program is mistaken.

```
FrameworkError
├── ModuleError (TypeError)              a TrainModule declares something that cannot work
├── SettingError (ValueError)            an argument of fit, evaluate or predict is of a wrong type or range
├── ConfigError (ValueError)             a configuration file, or what stands on the command line, cannot be used
├── DataError (ValueError)               the data cannot be used: empty, used up, no batches
├── StepError (TypeError)                a step returned something that it may not return
├── NonFiniteError (ArithmeticError)     a loss is NaN or infinite
├── AcceleratorError (RuntimeError)      an accelerator or precision that is unknown or not available here
├── RankError (RuntimeError)             the processes of a run disagree: they are at different points, or hold different things
├── CheckpointError (RuntimeError)       a checkpoint that cannot be written, is damaged, or is not safe to read
└── ResumeError (ValueError)             a run that cannot go on with what fit was given, or a folder in use by another run
```

Each message says what came, what is allowed and what to do. `framework.engine` raises the built-in types that `ignite.engine`
raises.
"""

from __future__ import annotations


class FrameworkError(Exception):
    """Base of the errors that a user's program causes.

    Example:
        >>> from framework import FrameworkError, TrainModule
        >>> try:
        ...     TrainModule().fit([], max_epochs=1)
        ... except FrameworkError as error:
        ...     print(type(error).__name__)
        ModuleError
    """


class ModuleError(FrameworkError, TypeError):
    """A TrainModule declares something that cannot work: a misspelt hook, a missing step, an optimizer of other parameters.

    Example:
        >>> from framework import ModuleError, TrainModule
        >>> try:
        ...     class Misspelt(TrainModule):
        ...         def on_epoch_end(self): ...
        ... except ModuleError as error:
        ...     print(error)
        Misspelt.on_epoch_end is no hook. Did you mean on_epoch_completed? ...
    """


class SettingError(FrameworkError, ValueError):
    """An argument of `fit`, `evaluate` or `predict` is of a wrong type or out of range.

    Example:
        >>> from framework import SettingError
        >>> issubclass(SettingError, ValueError)
        True
    """


class ConfigError(FrameworkError, ValueError):
    """A configuration file, or what stands on the command line, cannot be used; the message has file, line and nearest name.

    Example:
        >>> from framework import ConfigError
        >>> issubclass(ConfigError, ValueError)
        True
    """


class DataError(FrameworkError, ValueError):
    """The data cannot be used: it is empty, used up, or not made of batches.

    Example:
        >>> from framework import DataError
        >>> issubclass(DataError, ValueError)
        True
    """


class StepError(FrameworkError, TypeError):
    """A step returned something that it may not return.

    Example:
        >>> from framework import StepError
        >>> issubclass(StepError, TypeError)
        True
    """


class NonFiniteError(FrameworkError, ArithmeticError):
    """A loss is NaN or infinite; the weights are those before its step.

    Example:
        >>> from framework import NonFiniteError
        >>> issubclass(NonFiniteError, ArithmeticError)
        True
    """


class AcceleratorError(FrameworkError, RuntimeError):
    """An accelerator or a precision is unknown, or not available on this machine.

    Example:
        >>> from framework import AcceleratorError
        >>> issubclass(AcceleratorError, RuntimeError)
        True
    """


class RankError(FrameworkError, RuntimeError):
    """The processes of a run disagree: they are at different points, or hold different things; the message names rank and key.

    Example:
        >>> from framework import RankError
        >>> issubclass(RankError, RuntimeError)
        True
    """


class CheckpointError(FrameworkError, RuntimeError):
    """A checkpoint cannot be written, is damaged, or holds what is not safe to read.

    Example:
        >>> from framework import CheckpointError
        >>> issubclass(CheckpointError, RuntimeError)
        True
    """


class ResumeError(FrameworkError, ValueError):
    """The run in a folder cannot go on with what `fit` was given, or another process is at work there.

    Example:
        >>> from framework import ResumeError
        >>> issubclass(ResumeError, ValueError)
        True
    """
