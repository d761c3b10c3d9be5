import functools

import pytest

from framework.engine.signature import accepts, describe, first_positional, mismatch, require, signature_of

contract = pytest.mark.contract


def plain(engine, batch):
    pass


class Owner:
    def method(self, engine):
        pass

    def __call__(self, engine, batch):
        pass


@functools.wraps(plain)
def wrapping(*args):
    pass


@contract(15)
@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (plain, ["engine", "batch"]),
        (wrapping, ["engine", "batch"]),
        (Owner().method, ["engine"]),
        (Owner(), ["engine", "batch"]),
        (functools.partial(plain, 1), ["batch"]),
        ([].append, ["object"]),
    ],
)
def test_signatures_are_seen_through_wrappers_and_methods(function, parameters):
    assert list(signature_of(function).parameters) == parameters


def test_a_signature_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match=r"Error adding 'dict.update': its parameters cannot be read .* Wrap it in a function"):
        signature_of(dict.update)


@contract(10)
@pytest.mark.parametrize(
    ("args", "kwargs", "fits"),
    [((1, 2), {}, True), ((1,), {"batch": 2}, True), ((1,), {}, False), ((1, 2, 3), {}, False), ((1, 2), {"more": 3}, False)],
)
def test_a_call_is_tried_without_making_it(args, kwargs, fits):
    assert accepts(plain, args, kwargs) is fits


@contract(2)
def test_a_function_that_does_not_fit_is_refused_with_both_sides():
    expected = r"Error adding 'plain' as step: takes parameters \['engine', 'batch'\] but will be called with \[engine\]"
    with pytest.raises(ValueError, match=expected):
        require(plain, "engine", role="step")
    require(plain, "engine", "batch", role="step")


def test_the_error_shows_keywords_with_their_values():
    assert "will be called with [engine, rate=0.1]" in str(mismatch(plain, ("engine",), {"rate": 0.1}, "a handler"))


@contract("m")
def test_the_first_positional_parameter():
    assert first_positional(plain).name == "engine"
    assert first_positional(lambda i=3: None).default == 3
    assert first_positional(lambda: None) is None
    assert first_positional(lambda *args, key=None: None) is None


def test_a_callable_is_described_by_its_name_or_itself():
    owner = Owner()
    assert describe(plain) == "plain"
    assert describe(owner.method) == "Owner.method"
    assert describe(owner) == repr(owner)
