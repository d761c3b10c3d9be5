import pytest

from framework import Events, ModuleError, StepEvents, TrainModule
from framework.module.checks.foreign_hooks import FOREIGN_HOOKS

STATE = {"get_extra_state", "set_extra_state"}  # methods of every module of torch's
OURS = {f"on_{event.value}" for event in (*Events, *StepEvents)} | {f"on_evaluation_{event.value}" for event in Events}


@pytest.mark.parametrize(("theirs", "ours"), FOREIGN_HOOKS.items())
def test_each_leads_to_ours(theirs, ours):
    assert ours in OURS | STATE
    assert theirs not in OURS
    with pytest.raises(ModuleError, match=rf"Foreign.{theirs} is no hook. Did you mean {ours}\?"):
        type("Foreign", (TrainModule,), {theirs: lambda self: None})
