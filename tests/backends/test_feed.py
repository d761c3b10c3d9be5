"""Batches that arrive on the device. No GPU is here, so the streams of CUDA are stand-ins that write down who waits for whom; what
they do on a device is tested at the end, where there is one."""

import pytest
import torch

from framework.backends.feed import Moved

META, CUDA = torch.device("meta"), torch.device("cuda")


def to_meta(batch):
    return batch.to(META)


def test_each_batch_is_moved_as_it_is_fetched():
    pulled = []

    def batches():
        for index in range(3):
            pulled.append(index)
            yield torch.ones(2)

    fed = Moved(batches(), META, to_meta)
    assert pulled == []
    batch = next(iter(fed))
    assert pulled == [0]
    assert batch.device == META


def test_the_data_can_be_passed_over_again():
    fed = Moved([torch.ones(1), torch.ones(1)], META, to_meta)
    assert len(list(fed)) == len(list(fed)) == 2


def test_the_data_itself_is_at_hand():
    data = [torch.ones(1)]
    assert Moved(data, META, to_meta).data is data


class Stream:
    """A stand-in for torch.cuda.Stream."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def wait_stream(self, other):
        self.calls.append(f"{self.name} waits for {other.name}")

    def __enter__(self):
        self.calls.append(f"on {self.name}")

    def __exit__(self, *exception):
        self.calls.append(f"off {self.name}")


@pytest.fixture
def calls(monkeypatch):
    written = []
    steps = Stream("steps", written)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: written.append(f"new on {device}") or Stream("copies", written))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: steps)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda self, stream: written.append(f"{self.item():g} is used by {stream.name}")
    )
    return written


def feed(calls, *data):
    return Moved(data, CUDA, lambda batch: calls.append("copy") or batch)


def test_copies_run_beside_the_steps_which_wait_for_each(calls):
    batches = iter(feed(calls, torch.tensor(1.0), torch.tensor(2.0)))
    assert calls == ["new on cuda"]
    for number in ("1", "2"):
        calls.clear()
        next(batches)
        assert calls == ["on copies", "copy", "off copies", "steps waits for copies", f"{number} is used by steps"]


def test_every_tensor_of_a_batch_is_kept_until_the_step_has_used_it(calls):
    list(feed(calls, {"x": [torch.tensor(1.0), "text"], "y": (torch.tensor(2.0), None)}))
    assert calls[-2:] == ["1 is used by steps", "2 is used by steps"]


class Batch:
    """Moves itself, with tensors that nobody sees."""

    def to(self, device):
        return self


HIDDEN = {
    "object": Batch,
    "sparse": lambda: torch.eye(2).to_sparse(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
    "jagged": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)], layout=torch.jagged),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("make", HIDDEN.values(), ids=HIDDEN)
def test_copies_wait_for_the_steps_where_memory_cannot_be_marked(calls, make):
    batches = iter(feed(calls, torch.tensor(1.0), (make(), torch.tensor(2.0)), torch.tensor(3.0)))
    next(batches)
    next(batches)
    assert "copies waits for steps" not in calls
    assert calls[-1] == "2 is used by steps"
    calls.clear()
    next(batches)
    assert calls[:2] == ["copies waits for steps", "on copies"]


def test_every_pass_uses_the_same_stream_since_memory_is_kept_for_each(calls):
    fed = feed(calls, torch.tensor(1.0))
    list(fed)
    list(fed)
    assert calls.count("new on cuda") == 1


def test_an_error_of_the_data_comes_out(calls):
    def batches():
        yield torch.tensor(1.0)
        raise KeyError("file")

    fed = iter(Moved(batches(), CUDA, lambda batch: batch))
    next(fed)
    with pytest.raises(KeyError, match="file"):
        next(fed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_real_device_no_copy_overwrites_a_batch_in_use():
    host = [torch.full((1 << 20,), float(index)).pin_memory() for index in range(20)]
    weight = torch.ones(1 << 20, device="cuda")
    sums = []
    for batch in Moved(host, CUDA, lambda batch: batch.to(CUDA, non_blocking=True)):
        for _ in range(20):  # keeps the device busy while the next batches are copied
            weight = weight * 1.0
        sums.append((batch * weight).mean())
        del batch
    assert torch.stack(sums).tolist() == [float(index) for index in range(20)]
