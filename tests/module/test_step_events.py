import torch

from framework import Engine, Events, StepEvents
from framework.module.step_events import EngineObserver, register_step_events


def observed():
    engine = Engine(lambda engine, batch: None)
    register_step_events(engine)
    return engine, EngineObserver(engine)


def test_an_observer_is_inactive_until_someone_looks_inside_a_step():
    engine, observer = observed()
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: None)
    outside = (StepEvents.EVALUATED, StepEvents.CLOSED)
    for event in outside:
        engine.add_event_handler(event, lambda: None)
    assert observer.active is False
    for event in StepEvents:
        if event not in outside:
            with engine.add_event_handler(event, lambda *_: None):
                assert observer.active is True
            assert observer.active is False


def test_two_watchers_keep_it_active_until_both_are_gone():
    engine, observer = observed()
    first = engine.add_event_handler(StepEvents.LOSS_COMPUTED, lambda loss: None)
    second = engine.add_event_handler(StepEvents.BACKWARD_COMPLETED, lambda: None)
    first.remove()
    assert observer.active
    second.remove()
    assert not observer.active


def test_it_fires_each_event_with_its_arguments():
    engine, observer = observed()
    seen = []
    for event in StepEvents:
        engine.add_event_handler(event, lambda *given, event=event: seen.append((event, *given)))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    observer.loss_computed("loss")
    observer.backward_completed()
    observer.optimizer_step_started(optimizer)
    observer.optimizer_step_completed(optimizer)
    assert seen == [
        (StepEvents.LOSS_COMPUTED, engine, "loss"),
        (StepEvents.BACKWARD_COMPLETED, engine),
        (StepEvents.OPTIMIZER_STEP_STARTED, engine, optimizer),
        (StepEvents.OPTIMIZER_STEP_COMPLETED, engine, optimizer),
    ]


def test_it_holds_no_engine():
    engine, observer = observed()
    engine.add_event_handler(StepEvents.LOSS_COMPUTED, lambda loss: None)
    del engine
    observer.loss_computed("loss")
    assert observer._engine() is None


def test_gradients_can_be_seen_and_changed(line, batches):
    class Module(line):
        def on_backward_completed(self):
            self.layer.weight.grad.zero_()

        def on_optimizer_step_started(self, optimizer):
            self.layer.bias.grad.fill_(1.0)

    module, start = Module(), line()
    module.fit(batches[:1], max_epochs=1, progress=False)
    assert torch.equal(module.layer.weight, start.layer.weight)
    assert torch.equal(module.layer.bias, start.layer.bias - 0.05)


def test_a_watcher_that_comes_during_the_run_is_told(line, batches):
    losses = []

    class Module(line):
        def on_iteration_started(self, engine):
            if engine.state.iteration == 3:
                engine.add_event_handler(StepEvents.LOSS_COMPUTED, lambda engine, loss: losses.append(engine.state.iteration))

    Module().fit(batches, max_epochs=1, progress=False)
    assert losses == [3, 4, 5, 6]


def test_gradients_stay_for_iteration_completed(line, batches):
    seen = []

    class Module(line):
        def on_iteration_completed(self):
            seen.append(self.layer.weight.grad.norm().item())

    Module().fit(batches, max_epochs=1, progress=False)
    assert len(seen) == 6
    assert all(norm > 0 for norm in seen)
