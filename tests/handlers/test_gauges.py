import pytest
import torch

from framework import DeviceMemory, Engine, Norms, SettingError, Timers, TrainModule
from framework.module.hooks import register_hooks


@pytest.mark.parametrize("handler", [Norms(), Timers()], ids=lambda handler: type(handler).__name__)
def test_a_run_without_a_recorder_is_refused(handler):
    engine = Engine(lambda engine, batch: None)
    register_hooks(engine, handler)
    message = rf"^{type(handler).__name__} draws curves with engine\.state\.recorder, which is not there.*Recorder\(\"train\"\)"
    with pytest.raises(SettingError, match=message):
        engine.run([0])


def test_a_run_without_a_module_is_refused():
    engine = Engine(lambda engine, batch: None)
    register_hooks(engine, DeviceMemory())
    with pytest.raises(SettingError, match=r"DeviceMemory looks at the device of engine\.state\.module, which is not there"):
        engine.run([0])


def test_a_handler_of_ones_own_draws_what_it_likes():
    class Line(TrainModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def training_step(self, batch):
            return self.weight.square().sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Own:
        def on_started(self, engine):
            engine.state.recorder.gauge(lambda iteration: {"twice": 2 * iteration})

    result = Line().fit([0] * 4, max_epochs=1, log_every=2, handlers=[Own()], progress=False)
    assert [point[:2] for point in result.series["train/twice"]] == [(2, 4.0), (4, 8.0)]
    assert result.state.recorder is None
