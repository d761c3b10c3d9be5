"""Seeding the random streams for a batch, and keeping them apart."""

import random
import sys

import numpy
import pytest
import torch
from augmented import same, scramble, states

from framework.data import streams
from framework.data.streams import Apart, apart, seed_streams
from framework.seeding import seed_all


def draw():
    return random.random(), random.gauss(0, 1), float(numpy.random.rand()), float(numpy.random.normal()), float(torch.rand(()))


def test_the_numbers_are_those_of_seed_all():
    seed_all(2**40 + 7)
    expected = draw()
    scramble()
    seed_streams(2**40 + 7)
    assert draw() == expected


@pytest.mark.parametrize("normals", [0, 1, 2])
def test_the_streams_are_as_before_and_not_part_of_what_is_drawn(normals):
    seed_all(1)
    expected = apart(lambda: (seed_streams(5), draw())[1])
    for _ in range(3):
        scramble()
        for _ in range(normals):  # numpy and Python make them in pairs and store the second
            random.gauss(0, 1)
            numpy.random.normal()
        before = states()
        for _ in range(2):
            assert apart(lambda: (seed_streams(5), draw())[1]) == expected
            assert same(before, states())


def test_what_is_drawn_outside_between_two_batches_goes_on():
    seed_all(4)
    expected = [draw() for _ in range(6)]
    seed_all(4)
    drawn = []
    for _ in range(6):
        apart(lambda: (seed_streams(1), draw()))
        drawn.append(draw())
    assert drawn == expected


def test_a_stored_normal_number_of_python_alone_is_noticed():
    random.seed(1)
    random.gauss(0, 1)
    apart(draw)
    random.gauss(0, 1)  # the stored one: the generator has not drawn
    before = states()
    apart(draw)
    assert same(before, states())


def draw_uniform():
    return random.random(), float(numpy.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize("draw", [draw, draw_uniform])
def test_one_inside_another_keeps_both(draw):
    def inner():
        seed_streams(7)
        first = draw()
        apart(lambda: (seed_streams(8), apart(draw), draw()))
        return first, draw()

    seed_streams(7)
    expected = draw(), draw()
    scramble()
    before = states()
    assert apart(inner) == expected
    assert same(before, states())


def test_another_generator_of_numpys_is_put_back():
    own = numpy.random.get_bit_generator()
    other = numpy.random.PCG64(3)
    numpy.random.set_bit_generator(other)
    try:
        numpy.random.normal()
        before = other.state
        apart(lambda: (seed_streams(1), draw()))
        apart(lambda: (seed_streams(1), draw()))
        assert numpy.random.get_bit_generator() is other
        assert other.state == before
    finally:
        numpy.random.set_bit_generator(own)


def test_they_are_put_back_after_an_error():
    def fail():
        seed_streams(1)
        draw()
        raise ValueError("bad sample")

    before = states()
    with pytest.raises(ValueError, match="bad sample"):
        apart(fail)
    assert same(before, states())


def test_they_are_put_back_where_the_handler_of_a_signal_raises_half_way(monkeypatch):
    put_back, calls = streams._NUMPY.put_back, []

    def interrupted(kept):
        calls.append(kept)
        if len(calls) == 1:
            raise KeyboardInterrupt
        put_back(kept)

    monkeypatch.setattr(streams._NUMPY, "put_back", interrupted)
    before = states()
    with pytest.raises(KeyboardInterrupt):
        apart(lambda: (seed_streams(1), draw()))
    assert same(before, states())


def test_numpy_is_left_alone_where_it_is_not_in_use(monkeypatch):
    before = states()["numpy"]
    monkeypatch.delitem(sys.modules, "numpy")
    apart(lambda: seed_streams(1))
    monkeypatch.undo()
    assert states()["numpy"] == before


def test_the_steps_of_an_iterator_are_made_apart():
    def steps():
        seed_streams(1)
        yield random.random()

    before = states()
    assert list(Apart(steps())) == [random.Random(1).random()]
    assert same(before, states())
