from framework.module.window import EpochWindow
from framework.steps.step import Place


def places(window, count):
    return [window(None) for _ in range(count)]


def test_windows_of_the_full_size():
    window = EpochWindow(2)
    window.begin_epoch(4)
    assert places(window, 4) == [Place(True, False, 2), Place(False, True, 2)] * 2
    assert window.taken == 0


def test_the_last_window_is_as_short_as_the_epoch_leaves_it():
    window = EpochWindow(3)
    window.begin_epoch(5)
    assert places(window, 5)[3:] == [Place(True, False, 2), Place(False, True, 2)]
    window.begin_epoch(1)
    assert places(window, 1) == [Place(True, True, 1)]


def test_where_the_length_is_unknown_the_last_window_stays_open():
    window = EpochWindow(3)
    window.begin_epoch(None)
    assert places(window, 4)[3] == Place(True, False, 3)
    assert (window.taken, window.size) == (1, 3)


def test_an_epoch_starts_a_window_of_its_own():
    window = EpochWindow(3)
    window.begin_epoch(None)
    places(window, 2)
    window.begin_epoch(None)
    assert window(None).first
