import pytest
import torch

from framework import Engine, EventEnum, Events, ModuleError, StepEvents, TrainModule, not_a_hook, on
from framework.module.hooks import check_assigned_hooks, check_hooks, known_hooks, register_hooks


class Games(EventEnum):
    GAME_WON = "game_won"


def run(target, **kwargs):
    engine = Engine(lambda engine, batch: None)
    register_hooks(engine, target, **kwargs)
    engine.run([0, 1], max_epochs=2)
    return engine


def make(name, function, **attributes):
    return type("Net", (TrainModule,), {name: function, **attributes})


def refusal(name, function, **attributes):
    with pytest.raises(ModuleError) as error:
        make(name, function, **attributes)
    return str(error.value)


def test_a_hook_may_take_the_engine_or_not():
    class Handler:
        seen = ()

        def on_epoch_started(self):
            self.seen = (*self.seen, "started")

        def on_epoch_completed(self, engine):
            self.seen = (*self.seen, engine.state.epoch)

    handler = Handler()
    run(handler)
    assert handler.seen == ("started", 1, "started", 2)


def test_every_event_has_its_hook_name():
    hooks = known_hooks(Games)
    assert hooks["on_iteration_completed"] is Events.ITERATION_COMPLETED
    assert hooks["on_loss_computed"] is StepEvents.LOSS_COMPUTED
    assert hooks["on_game_won"] is Games.GAME_WON
    assert len(hooks) == len(Events) + len(StepEvents) + 1


def test_the_arguments_of_an_event_reach_its_hook():
    class Handler:
        seen = ()

        def on_exception_raised(self, engine, e):
            self.seen = (engine, e)

    error = KeyError()

    def step(engine, batch):
        raise error

    handler, engine = Handler(), Engine(step)
    register_hooks(engine, handler)
    engine.run([0])
    assert handler.seen == (engine, error)


def test_keyword_arguments_of_an_event_may_be_taken():
    class Handler:
        seen = ()

        def on_terminate_single_epoch(self, iter_counter):
            self.seen = (*self.seen, iter_counter)

        def on_iteration_completed(self, engine):
            engine.terminate_epoch()

    handler = Handler()
    run(handler)
    assert handler.seen == (1, 1)


def test_methods_of_any_name_may_be_marked():
    class Handler:
        seen = ()

        @on(Events.ITERATION_COMPLETED(every=2), Events.STARTED)
        @on(Events.COMPLETED)
        def note(self, engine):
            self.seen = (*self.seen, engine.state.iteration)

    handler = Handler()
    assert register_hooks(Engine(lambda engine, batch: None), handler) == 3
    run(handler)
    assert handler.seen == (0, 2, 4, 4)


@pytest.mark.parametrize("events", [(), (lambda self: None,), (3,)])
def test_the_mark_needs_an_event(events):
    with pytest.raises(TypeError, match=r"@on needs the event, as in @on\(Events.EPOCH_COMPLETED\(every=2\)\); got"):
        on(*events)


def test_bases_come_first_and_an_override_runs_once():
    seen = []

    class Base:
        def on_started(self):
            seen.append("never")

        def on_completed(self):
            seen.append("completed")

    class Derived(Base):
        def on_epoch_completed(self):
            seen.append("epoch")

        def on_started(self):
            seen.append("started")

    run(Derived())
    assert seen == ["started", "epoch", "epoch", "completed"]


def test_evaluation_hooks_are_for_the_evaluation_engine_only():
    class Handler:
        seen = ()

        def on_completed(self):
            self.seen = (*self.seen, "training")

        def on_evaluation_completed(self):
            self.seen = (*self.seen, "evaluation")

        @on(Events.COMPLETED)
        def marked(self):
            self.seen = (*self.seen, "marked")

    handler = Handler()
    run(handler, evaluation=True)
    assert handler.seen == ("evaluation",)
    run(handler)
    assert set(handler.seen[1:]) == {"training", "marked"}


def test_own_events_are_registered():
    class Handler:
        events = (Games,)
        won = 0

        def on_game_won(self):
            self.won += 1

    handler, engine = Handler(), Engine(lambda engine, batch: engine.fire_event(Games.GAME_WON))
    assert register_hooks(engine, handler) == 1
    engine.run([0, 1])
    assert handler.won == 2


def test_events_that_the_engine_knows_have_hooks_too():
    class Handler:
        seen = ()

        def on_game_won(self):
            self.seen += ("game_won",)

        def on_told(self):
            self.seen += ("told",)

    handler, engine = Handler(), Engine(lambda engine, batch: (engine.fire_event(Games.GAME_WON), engine.fire_event("told")))
    assert register_hooks(engine, handler) == 0
    engine.register_events(*Games)
    engine.register_events("told")
    assert register_hooks(engine, handler) == 2
    engine.run([0])
    assert handler.seen == ("game_won", "told")


def test_an_object_without_hooks_has_none():
    assert register_hooks(Engine(lambda engine, batch: None), object()) == 0


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("on_epoch_complete", "on_epoch_completed"),
        ("on_epoch_complted", "on_epoch_completed"),
        ("on_iteration_start", "on_iteration_started"),
        ("on_losses_computed", "on_loss_computed"),
        ("on_start", "on_started"),
        ("on_evaluation_epoch_complete", "on_evaluation_epoch_completed"),
        ("on_train_epoch_end", "on_epoch_completed"),
        ("on_validation_epoch_end", "on_evaluation_epoch_completed"),
    ],
)
def test_a_misspelt_hook_is_refused_with_the_right_name(name, right):
    message = refusal(name, lambda self: None)
    assert message.startswith(f"Net.{name} is no hook. Did you mean {right}? ")
    assert message.endswith("Mark a method that is meant to be something else with @not_a_hook.")


def test_what_ends_as_a_hook_would_is_refused_even_if_near_none():
    assert "is no hook. Did you mean on_" in refusal("on_my_thing_begin", lambda self: None)


def test_a_misspelt_own_event_is_refused():
    assert "Did you mean on_game_won?" in refusal("on_game_one", lambda self: None, events=(Games,))
    make("on_game_won", lambda self: None, events=(Games,))


def test_what_is_near_no_hook_is_the_users_own():
    make("on_policy_ratio", lambda self: None)
    make("only_once", lambda self: None)
    make("on_device", True)


def test_a_marked_method_may_have_any_name():
    make("on_epoch_end", on(Events.EPOCH_COMPLETED)(lambda self: None))
    net = make("on_epoch_end", not_a_hook(lambda self: None))
    assert register_hooks(Engine(lambda engine, batch: None), net()) == 0
    net = make("on_started", not_a_hook(lambda self: None))
    assert register_hooks(Engine(lambda engine, batch: None), net()) == 0


@pytest.mark.parametrize(
    ("name", "function", "right"),
    [
        ("on_started", lambda: None, "on_started(self) or on_started(self, engine)"),
        ("on_started", lambda self, a, b: None, "on_started(self) or on_started(self, engine)"),
        ("on_started", lambda self, *, a: None, "on_started(self) or on_started(self, engine)"),
        ("on_loss_computed", lambda self, a, b, c: None, "on_loss_computed(self, loss) or on_loss_computed(self, engine, loss)"),
        (
            "on_exception_raised",
            lambda self, a, b, c: None,
            "on_exception_raised(self, exception) or on_exception_raised(self, engine, exception)",
        ),
    ],
)
def test_a_wrong_signature_is_refused_with_the_right_one(name, function, right):
    message = refusal(name, function)
    assert message.startswith(f"Net.{name}(")
    assert message.endswith(f"cannot be called as a hook. Declare it as {right}.")


@pytest.mark.parametrize("wrap", [staticmethod, classmethod, property])
def test_a_hook_that_is_no_plain_method_would_never_run(wrap):
    assert refusal("on_started", wrap(lambda *_: None)) == (
        f"Net.on_started is a {wrap.__name__}; it would never run as a hook. "
        "Declare it as a method: def on_started(self) or def on_started(self, engine)."
    )


@pytest.mark.parametrize("wrap", [staticmethod, classmethod, property])
def test_what_is_marked_is_a_plain_method(wrap):
    with pytest.raises(ModuleError, match=rf"@on marks a plain method, got a {wrap.__name__}. Write def name\(self\) or"):
        on(Events.STARTED)(wrap(lambda *_: None))
    marked = wrap(on(Events.STARTED)(lambda *_: None))
    assert refusal("tell", marked).startswith(f"Net.tell is a {wrap.__name__}; it would never run as a hook.")


async def waits(self): ...


def yields(self):
    yield


@pytest.mark.parametrize(("function", "words"), [(waits, "is an async def; nobody"), (yields, "contains a yield; calling it")])
def test_a_hook_runs_when_it_is_called(function, words):
    assert refusal("on_started", function).startswith(f"Net.on_started {words}")
    assert refusal("tell", on(Events.STARTED)(function)).startswith(f"Net.tell {words}")


def test_a_hook_has_self():
    words = "(engine) lacks self. Declare it as on_started(self) or on_started(self, engine)."
    assert refusal("on_started", lambda engine: None) == f"Net.on_started{words}"
    assert refusal("on_loss_computed", lambda loss: None).startswith("Net.on_loss_computed(loss) lacks self.")
    assert refusal("tell", on(Events.STARTED)(lambda engine: None)).startswith("Net.tell(engine) lacks self.")


def test_a_function_assigned_to_the_name_of_a_hook_would_never_run():
    class Handler:
        def __init__(self, **attributes):
            vars(self).update(attributes)

    words = (
        r"Handler assigns self.on_started; it would never run as a hook. Declare it as a method of the class: "
        r"def on_started\(self\) or def on_started\(self, engine\)"
    )
    with pytest.raises(ModuleError, match=words):
        check_assigned_hooks(Handler(on_started=print))
    check_assigned_hooks(Handler(on_started=3, on_policy=print))
    check_assigned_hooks(type("Derived", (Handler,), {"on_started": lambda self: None})(on_started=print))
    check_assigned_hooks(3)


def test_mixins_are_checked_with_the_class():
    class Mixin:
        def on_epoch_end(self): ...

    with pytest.raises(ModuleError, match=r"Net.on_epoch_end is no hook"):
        type("Net", (Mixin, TrainModule), {})


def test_handler_classes_are_checked_too():
    class Handler:
        def on_epoch_end(self): ...

    with pytest.raises(ModuleError, match=r"Handler.on_epoch_end is no hook. Did you mean on_epoch_completed?"):
        check_hooks(Handler, vars(Handler))


# Custom events


class Pages(EventEnum):
    PAGE_TURNED = "page_turned", "page"


class Reader(TrainModule):
    events = (Pages,)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen = []

    def training_step(self, batch, engine):
        engine.fire_event(Pages.PAGE_TURNED, batch)
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_hooks_of_custom_events_get_what_the_event_declares():
    class Net(Reader):
        def on_page_turned(self, page):
            self.seen.append(page)

        @on(Pages.PAGE_TURNED(every=2))
        def every_second(self, engine, page):
            self.seen.append((engine.state.iteration, page))

        @on(Pages.PAGE_TURNED(once=3) | Events.COMPLETED)
        def at_times(self):
            self.seen.append("now")

    net = Net()
    net.fit([10, 20, 30], max_epochs=1, progress=False)
    assert net.seen == [10, 20, (2, 20), 30, "now", "now"]


def test_a_wrong_signature_of_a_custom_hook_is_refused_with_the_right_one():
    message = refusal("on_page_turned", lambda self, a, b, c: None, events=(Pages,))
    assert message.endswith("Declare it as on_page_turned(self, page) or on_page_turned(self, engine, page).")
    assert "lacks self" in refusal("on_page_turned", lambda page: None, events=(Pages,))


@pytest.mark.parametrize(
    ("marked", "shown", "kind"),
    [
        (Games.GAME_WON, "Games.GAME_WON", "Games"),
        (Events.COMPLETED | Games.GAME_WON, "Games.GAME_WON", "Games"),
        (Games.GAME_WON(every=2), "<event=GAME_WON, .*>", "MyEvents"),
        ("EPOCH_ENDED", "'EPOCH_ENDED'", "MyEvents"),
    ],
)
def test_an_event_that_nobody_brings_is_to_be_named_in_the_class(marked, shown, kind):
    class Net(Reader):
        @on(marked)
        def tell(self): ...

    words = rf"Net.tell is marked with @on\({shown}\), an event that nobody in this run brings. .*: events = \({kind},\)"
    with pytest.raises(ModuleError, match=words):
        Net().fit([1, 2], max_epochs=1, progress=False)


def test_a_handler_object_may_bring_the_events_that_a_module_is_marked_with():
    class Net(Reader):
        @on(Games.GAME_WON)
        def tell(self):
            self.seen.append("won")

    class Referee:
        events = (Games,)

        def on_completed(self, engine):
            engine.fire_event(Games.GAME_WON)

    net = Net()
    net.fit([1, 2], max_epochs=1, progress=False, handlers=[Referee()])
    assert net.seen == ["won"]
