import pytest

from framework import ModuleError, TrainModule
from framework.module.checks.foreign_declarations import FOREIGN_DECLARATIONS
from framework.module.checks.shadowing import DECLARATIONS
from framework.module.hooks import known_hooks


@pytest.mark.parametrize(("theirs", "remedy"), FOREIGN_DECLARATIONS.items(), ids=FOREIGN_DECLARATIONS)
def test_each_is_refused_with_what_takes_its_place(theirs, remedy):
    with pytest.raises(ModuleError) as error:
        type("Foreign", (TrainModule,), {theirs: lambda self, *_: None})
    assert str(error.value).startswith(f"Foreign.{theirs} would never be called. {remedy} Mark a method")
    if remedy.startswith("Did you mean "):
        meant = remedy.removeprefix("Did you mean ").removesuffix("?").split(", or ")
        hooks = {*known_hooks(), *(f"on_evaluation_{name.removeprefix('on_')}" for name in known_hooks())}
        assert set(meant) <= hooks | DECLARATIONS
