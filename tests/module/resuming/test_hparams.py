"""Which constructor arguments are recorded, and that an object is made again with them."""

from pathlib import Path

import pytest

from framework.module.resuming.hparams import make_again, record_arguments


class Taken:
    def __init__(self, width, /, depth=2, *sizes, name="net", **more):
        self.taken = (width, depth, sizes, name, more)


def recorded(cls, *args, **kwargs):
    return record_arguments(cls, args, kwargs)


def test_every_kind_of_argument_is_recorded_and_given_again():
    record = recorded(Taken, 8, 3, 16, 4, name="other", lr=0.1)
    assert record == {"values": {"width": 8, "depth": 3, "sizes": (16, 4), "name": "other", "lr": 0.1}, "others": []}
    assert make_again(Taken, record["values"]).taken == (8, 3, (16, 4), "other", {"lr": 0.1})


def test_defaults_are_recorded():
    record = recorded(Taken, 8)
    assert record["values"] == {"width": 8, "depth": 2, "sizes": (), "name": "net"}
    assert make_again(Taken, record["values"]).taken == Taken(8).taken


def test_sizes_after_a_default_that_was_not_given():
    class Sizes:
        def __init__(self, *sizes, bias=True):
            self.taken = (sizes, bias)

    assert make_again(Sizes, recorded(Sizes, 4, 0, bias=False)["values"]).taken == ((4, 0), False)
    assert make_again(Sizes, recorded(Sizes)["values"]).taken == ((), True)


def test_a_constructor_without_names():
    class Any:
        def __init__(*args, **kwargs):
            args[0].taken = (args[1:], kwargs)

    record = recorded(Any, 1, [2], kwargs=3)
    assert record == {"values": {"args": (1, [2]), "kwargs": 3}, "others": []}
    assert make_again(Any, record["values"]).taken == ((1, [2]), {"kwargs": 3})


def test_a_constructor_that_is_inherited():
    class Child(Taken):
        pass

    assert make_again(Child, recorded(Child, 5)["values"]).taken == Taken(5).taken


class Number(int):
    pass


@pytest.mark.parametrize("value", [None, True, 3, -0.5, "text", [1, [2.5, None]], ("a", ("b",)), {"a": {"b": [1, (2,)]}}, [], {}])
def test_plain_values(value):
    found = recorded(Taken, value)["values"]["width"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("value", [Path("data"), Number(3), {1: 2}, {"a": {3}}, [object()], len, b"bytes", 1j])
def test_what_a_file_cannot_hold_is_named(value):
    record = recorded(Taken, 1, name=value, size=value)
    assert record["others"] == ["name", "size"]
    assert record["values"] == {"width": 1, "depth": 2, "sizes": ()}
    assert recorded(Taken, 1, 2, 3, value)["others"] == ["sizes"]


def test_a_value_that_contains_itself_is_not_plain():
    tree = {"leaves": []}
    tree["leaves"].append(tree)
    assert recorded(Taken, tree)["others"] == ["width"]


def test_only_small_values_are_kept_since_each_checkpoint_holds_them():
    vocabulary = ["word"] * 20_000
    record = recorded(Taken, vocabulary, name="x" * 40_000, first="y" * 40_000)
    assert record["others"] == ["width", "first"]
    assert record["values"]["name"] == "x" * 40_000


def test_changing_an_argument_afterwards_does_not_change_the_record():
    sizes = [1, {"a": [2]}]
    record = recorded(Taken, sizes)
    sizes[1]["a"].append(3)
    sizes.append(4)
    assert record["values"]["width"] == [1, {"a": [2]}]


def test_a_copy_is_made_without_arguments():
    assert recorded(Taken)["values"] == {"depth": 2, "sizes": (), "name": "net"}


def test_wrong_arguments_are_left_to_the_constructor():
    class Plain:
        def __init__(self, hidden): ...

    assert recorded(Plain, hiden=3) == {"values": {}, "others": []}
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'hiden'"):
        make_again(Plain, {"hiden": 3})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'hidden'"):
        make_again(Plain, {})
