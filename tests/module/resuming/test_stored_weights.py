"""Weights from runs, checkpoints and files, and modules made anew."""

import copy
import pickle
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from framework import CheckpointError, TrainModule
from framework.checkpoint import CheckpointStore, DamagedError
from framework.module.resuming.stored_weights import find_checkpoint, weights_diff


class Net(TrainModule):
    """Something of everything that weights are made of."""

    def __init__(self, width, *sizes, bias=True, activation=None, **options):
        super().__init__()
        self.taken = (width, sizes, bias, options)
        self.layer = nn.Linear(width, width, bias=bias)
        self.tied = self.layer
        self.turned = nn.Parameter(torch.randn(3, 2).t())
        self.short = nn.Parameter(torch.randn(3).bfloat16())
        self.register_buffer("spins", torch.randn(2, dtype=torch.complex64))
        self.activation = activation or nn.Identity()


class WithExtra(Net):
    def __init__(self, width=2):
        super().__init__(width)
        self.seen = torch.zeros(0)
        self.words = []

    def get_extra_state(self):
        return {"seen": self.seen, "words": self.words}

    def set_extra_state(self, state):
        self.seen, self.words = state["seen"], state["words"]


class WithTensorAsExtra(Net):
    def __init__(self, width=2):
        super().__init__(width)
        self.seen = torch.zeros(0)

    def get_extra_state(self):
        return self.seen

    def set_extra_state(self, state):
        self.seen = state


def save(folder, module, step=1, *, best=False, facts=True):
    """Writes a checkpoint into the folder of a run, as fit does."""
    store = CheckpointStore(folder / "checkpoints", keep=None)
    store.prepare()
    known = {"class": type(module).__name__, "hparams": module._hparams} if facts else None
    return store.save(step, {"model": dict(module.state_dict())}, best=best, facts=known)


def same(module, other):
    ours, theirs = module.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours if isinstance(ours[name], torch.Tensor))


@pytest.fixture
def run(tmp_path):
    """A run whose best checkpoint is not its last."""
    modules = [Net(2, 5), Net(2, 5)]
    save(tmp_path / "run", modules[0], 1, best=True)
    save(tmp_path / "run", modules[1], 2)
    return tmp_path / "run", *modules


def test_a_run_of_fit_is_loaded(line, batches, tmp_path):
    class Scaled(line):
        def __init__(self, factor, *, shift=0.5):
            super().__init__()
            self.factor, self.shift = factor, shift

    module = Scaled(3)
    result = module.fit(batches, max_epochs=1, run_dir=tmp_path, progress=False)
    for path in (tmp_path, str(tmp_path), result.last_checkpoint):
        loaded = Scaled.load(path)
        assert (loaded.factor, loaded.shift) == (3, 0.5)
        assert same(loaded, module)


def test_the_arguments_are_those_that_the_module_was_made_with(tmp_path):
    save(tmp_path, Net(2, 7, 8, bias=False, lr=0.1))
    assert Net.load(tmp_path).taken == (2, (7, 8), False, {"lr": 0.1})
    assert Net.load(tmp_path, lr=0.5, sizes=[1]).taken == (2, (1,), False, {"lr": 0.5})


def test_which_checkpoint_of_a_run(run):
    folder, best, last = run
    assert same(Net.load(folder), best)
    assert same(Net.load(folder, which="last"), last)
    module = Net(2)
    module.load_weights(folder)
    assert same(module, best)
    module.load_weights(folder, which="last")
    assert same(module, last)
    module.load_weights(folder / "checkpoints" / "step-00000002")
    assert same(module, last)
    with pytest.raises(CheckpointError, match="which='newest' is unknown: it is one of 'best', 'last'"):
        module.load_weights(folder, which="newest")


def test_without_a_best_one_it_is_the_newest(tmp_path):
    save(tmp_path, Net(2), 1)
    save(tmp_path, newest := Net(2), 2)
    assert same(Net.load(tmp_path), newest)


def test_arguments_that_no_file_holds_are_asked_for(tmp_path):
    save(tmp_path, module := Net(2, activation=nn.ReLU()))
    words = (
        r"Net was made with activation, .* Give them: Net.load\(path, activation=...\), or make the module and call load_weights"
    )
    with pytest.raises(CheckpointError, match=words):
        Net.load(tmp_path)
    loaded = Net.load(tmp_path, activation=nn.ReLU())
    assert same(loaded, module)
    assert isinstance(loaded.activation, nn.ReLU)


def test_an_argument_that_is_unknown_now(tmp_path):
    class Net(TrainModule):
        def __init__(self, old=1):
            super().__init__()

    save(tmp_path, Net())
    Net.__init__ = lambda self, new: None
    with pytest.raises(TypeError, match="unexpected keyword argument 'old'"):
        Net.load(tmp_path)


def test_a_module_of_another_class_is_refused(run):
    with pytest.raises(
        CheckpointError, match=r"step-00000001 holds a Net, not a WithExtra. Call load on the class that was trained"
    ):
        WithExtra.load(run[0])


@pytest.mark.fault(32)
def test_what_a_checkpoint_names_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "hostile_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    store = CheckpointStore(tmp_path / "checkpoints")
    store.prepare()
    hparams = {"values": {"_target_": "hostile_module.Net"}, "others": []}
    store.save(1, {"model": {}}, facts={"class": "hostile_module.Net", "hparams": hparams})
    with pytest.raises(CheckpointError, match=r"holds a hostile_module.Net, not a Net"):
        Net.load(tmp_path)
    assert "hostile_module" not in sys.modules


def test_a_checkpoint_that_fit_has_not_written(tmp_path):
    save(tmp_path, module := Net(2), facts=False)
    with pytest.raises(CheckpointError, match=r"holds no module of fit, not a Net. .* call load_weights"):
        Net.load(tmp_path)
    (other := Net(2)).load_weights(tmp_path)
    assert same(other, module)


def test_no_checkpoint(tmp_path):
    words = "is neither a run, nor a checkpoint, nor a .safetensors file. Give the run_dir of fit, or one of its checkpoints/step-"
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match=words):
            Net(2).load_weights(folder)
    (tmp_path / "checkpoints").mkdir()
    for which in ("best", "last"):
        with pytest.raises(CheckpointError, match="is a run without a checkpoint yet"):
            Net.load(tmp_path, which=which)


def test_a_damaged_checkpoint(run):
    folder, _, _ = run
    for step in (2, 1):
        with (folder / f"checkpoints/step-0000000{step}/model.safetensors").open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x55")
        if step == 2:
            with pytest.warns(UserWarning, match=r"model.safetensors is damaged: .*step-00000001 is used instead"):
                assert find_checkpoint(folder).step == 1
    with pytest.raises(DamagedError, match=r"model.safetensors is damaged"):
        Net.load(folder)
    with pytest.raises(CheckpointError, match="is whole: "):
        Net.load(folder, which="last")


def test_each_difference_is_a_line(tmp_path):
    save(tmp_path, Net(2))
    other = Net(3, bias=False)
    other.short = nn.Parameter(torch.zeros(3))
    other.more = nn.Parameter(torch.zeros(1))
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(CheckpointError) as caught:
        other.load_weights(tmp_path)
    assert str(caught.value).splitlines() == [
        f"The weights of {tmp_path / 'checkpoints/step-00000001'} are not those of this Net:",
        "  layer.bias: missing in the module",
        "  tied.bias: missing in the module",
        "  more: missing in the checkpoint",
        "  short: bfloat16 (3,) in the checkpoint, float32 (3,) in the module",
        "  layer.weight: float32 (2, 2) in the checkpoint, float32 (3, 3) in the module",
        "  tied.weight: float32 (2, 2) in the checkpoint, float32 (3, 3) in the module",
        "Make the module with the arguments it was trained with; load does that.",
    ]
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_a_lazy_parameter_has_no_shape_to_differ(tmp_path):
    class Lazy(TrainModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.LazyLinear(2)

    module = Lazy()
    assert weights_diff({"layer.weight": torch.ones(2, 3), "layer.bias": torch.ones(2)}, dict(module.state_dict())) == []
    module.layer(torch.ones(1, 3))
    save(tmp_path, module)
    assert same(Lazy.load(tmp_path), module)


def test_tied_weights_stay_tied(tmp_path):
    save(tmp_path, module := Net(2))
    module.export(tmp_path / "weights.safetensors")
    for path in (tmp_path, tmp_path / "weights.safetensors"):
        (other := Net(2)).load_weights(path)
        assert same(other, module)
        assert other.tied.weight is other.layer.weight
        assert other.turned.stride() == (1, 2)


@pytest.mark.parametrize("cls", [WithExtra, WithTensorAsExtra])
def test_extra_state_comes_with_a_checkpoint_whatever_its_shape(tmp_path, cls):
    module = cls()
    module.seen, module.words = torch.arange(3), ["a"]
    save(tmp_path, module)
    other = cls.load(tmp_path)
    assert same(other, module)
    assert torch.equal(other.seen, module.seen)


def test_extra_state_that_only_one_has(tmp_path):
    save(tmp_path / "with", WithExtra())
    save(tmp_path / "without", Net(2))
    with pytest.raises(CheckpointError, match="\n  _extra_state: missing in the module\n"):
        Net(2).load_weights(tmp_path / "with")
    with pytest.raises(CheckpointError, match="\n  _extra_state: missing in the checkpoint\n"):
        WithExtra().load_weights(tmp_path / "without")


class Plain(nn.Module):
    """The same weights without the framework."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.tied = self.layer
        self.turned = nn.Parameter(torch.zeros(2, 3))
        self.short = nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
        self.register_buffer("spins", torch.zeros(2, dtype=torch.complex64))


def test_plain_torch_reads_what_is_exported(tmp_path):
    module, path = Net(2), tmp_path / "weights.safetensors"
    module.export(str(path))
    plain = Plain()
    plain.load_state_dict(load_file(path), strict=True)
    assert same(plain, module)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_an_export_leaves_extra_state_out_and_says_so(tmp_path):
    module, path = WithExtra(), tmp_path / "weights.safetensors"
    words = "The file holds tensors only: _extra_state of WithExtra is left out. A checkpoint holds it"
    with pytest.warns(UserWarning, match=words) as told:
        module.export(path)
    assert told[0].filename == __file__
    Plain().load_state_dict(load_file(path), strict=True)
    other = WithExtra()
    other.words = ["kept"]
    other.load_weights(path)
    assert same(other, module)
    assert other.words == ["kept"]


def test_extra_state_that_is_a_tensor_is_exported(tmp_path):
    module = WithTensorAsExtra()
    module.seen = torch.arange(4)
    module.export(tmp_path / "weights.safetensors")
    (other := WithTensorAsExtra()).load_weights(tmp_path / "weights.safetensors")
    assert torch.equal(other.seen, torch.arange(4))


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    module, path = Net(2), tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match=r"Writing .*missing/weights.safetensors failed: .*See that its folder exists"):
        module.export(tmp_path / "missing" / "weights.safetensors")
    module.export(path)

    def torn(tensors, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", torn)
    with pytest.raises(
        CheckpointError, match=r"No space left on device. See that its folder exists, may be written to and has room"
    ):
        Net(2).export(path)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    (other := Net(2)).load_weights(path)
    assert same(other, module)


@pytest.mark.parametrize("content", [None, b"", b"\0" * 100])
def test_a_file_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot be read as a safetensors file: .* It is missing or damaged"):
        Net(2).load_weights(path)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["deepcopy", "pickle"])
def test_a_copy_is_the_same_module(tmp_path, copied):
    module = copied(Net(2, 5, bias=False))
    assert module.taken == (2, (5,), False, {})
    save(tmp_path, module)
    assert same(Net.load(tmp_path), module)


def test_a_class_without_a_constructor_of_its_own(line, tmp_path):
    class Child(line):
        pass

    save(tmp_path, module := Child())
    assert same(Child.load(tmp_path), module)


def test_a_child_that_passes_its_arguments_on(tmp_path):
    class Child(Net):
        def __init__(self, *args, **kwargs):
            super().__init__(2, *args, **kwargs)

    class Doubled(Net):
        def __init__(self, half):
            super().__init__(2 * half)

    for module, taken in ((Child(5, bias=False), (2, (5,), False, {})), (Doubled(2), (4, (), True, {}))):
        save(tmp_path / type(module).__name__, module)
        loaded = type(module).load(tmp_path / type(module).__name__)
        assert loaded.taken == taken
        assert same(loaded, module)


def test_a_wrong_argument_is_refused_with_the_name_of_the_class(line):
    with pytest.raises(TypeError, match=r"Line.__init__\(\) got an unexpected keyword argument 'hiden'"):
        line(hiden=3)
