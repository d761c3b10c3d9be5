import pytest
from torch import nn

from framework import ModuleError, TrainModule
from framework.distributed.blocks import find_blocks


def linear():
    return nn.Linear(2, 2)


def names_of(module):
    names = {part: name for name, part in module.named_modules()}
    return [names[block] for block in find_blocks(module)]


class Whole(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            {"embedding": nn.Embedding(3, 2), "layers": nn.ModuleList([linear(), linear()]), "head": linear()},
            ["layers.0", "layers.1"],
        ),
        ({"net": nn.Sequential(linear(), nn.ReLU(), nn.LayerNorm(2), linear())}, ["net.0", "net.2", "net.3"]),
        ({"heads": nn.ModuleDict({"a": linear(), "b": linear()})}, ["heads.a", "heads.b"]),
        ({"deep": Whole(layers=nn.ModuleList([linear(), linear()]))}, ["deep.layers.0", "deep.layers.1"]),
        # the outermost alone
        ({"layers": nn.ModuleList(nn.Sequential(linear(), linear()) for _ in range(2))}, ["layers.0", "layers.1"]),
        # lists that nobody calls are looked into
        (
            {"stages": nn.ModuleList(nn.ModuleList([linear(), linear()]) for _ in range(2))},
            ["stages.0.0", "stages.0.1", "stages.1.0", "stages.1.1"],
        ),
        # one of each class is no repetition
        ({"net": nn.Sequential(linear(), nn.ReLU(), nn.LayerNorm(2))}, []),
        ({"acts": nn.ModuleList([nn.ReLU(), nn.ReLU()]), "head": linear()}, []),
    ],
)
def test_blocks_are_found_where_layers_repeat(parts, expected):
    assert names_of(Whole(**parts)) == expected


def test_the_same_layer_again_and_again_is_one_block():
    assert names_of(Whole(layers=nn.ModuleList([linear()] * 3))) == ["layers.0"]


def test_blocks_that_share_a_parameter_with_others_are_none():
    layers = nn.ModuleList(linear() for _ in range(4))
    layers[0].weight = layers[2].weight
    head = linear()
    head.bias = layers[3].bias
    assert names_of(Whole(layers=layers, head=head)) == ["layers.1"]


def test_a_parameter_that_is_shared_inside_of_a_block_stays_there():
    layers = nn.ModuleList(Whole(one=linear(), two=linear()) for _ in range(2))
    layers[0].one.weight = layers[0].two.weight
    assert names_of(Whole(layers=layers)) == ["layers.0", "layers.1"]


class Declares(TrainModule):
    def __init__(self, choose):
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(linear(), linear()) for _ in range(2))
        self.head = linear()
        self.choose = choose

    def configure_sharding(self):
        return self.choose(self)


def test_what_the_module_declares_counts_inner_ones_first():
    assert names_of(Declares(lambda self: [self.layers[0], *self.layers[0], self.head])) == [
        "layers.0.0",
        "layers.0.1",
        "layers.0",
        "head",
    ]
    assert names_of(Declares(lambda self: (layer for layer in self.layers))) == ["layers.0", "layers.1"]
    assert names_of(Declares(lambda self: self.layers)) == ["layers.0", "layers.1"]  # its elements
    assert names_of(Declares(lambda self: [])) == []
    assert names_of(Declares(lambda self: None)) == ["layers.0", "layers.1"]


def tied(self):
    self.head.weight = self.layers[1][0].weight
    return self.layers


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda self: self.head, "one Linear. Return a list of the parts of the module that are blocks, or None"),
        (lambda self: 3, "3. Return a list of the parts"),
        (lambda self: "layers", "'layers'. Return a list of the parts"),
        (lambda self: ["layers.0"], r"'layers.0' among the blocks. Return the parts themselves, such as self.layers\[0\]"),
        (lambda self: [self], "the module itself as a block. Return parts of it"),
        (lambda self: [linear()], "a Linear that is no part of the module. Assign it to self first"),
        (lambda self: [self.layers], "layers, a ModuleList, which is never called. Return its elements"),
        (lambda self: [self.head, self.head], "head twice. Return each block once"),
        (
            tied,
            "a block that shares the parameter layers.1.0.weight with another part of the module, where it is head.weight. Return",
        ),
    ],
)
def test_what_cannot_be_blocks_is_refused(choose, message):
    with pytest.raises(ModuleError, match=f"^Declares.configure_sharding returned {message}"):
        find_blocks(Declares(choose))


def test_the_declaration_is_checked_like_the_others():
    with pytest.raises(ModuleError, match=r"Declare it as configure_sharding\(self\)"):

        class Wrong(TrainModule):
            def configure_sharding(self, blocks): ...

    with pytest.raises(ModuleError, match=r"Did you mean configure_sharding\?"):

        class Misspelt(TrainModule):
            def configure_shardings(self): ...

    with pytest.raises(ModuleError, match=r"assigns self\.configure_sharding; it is a method of the class"):
        TrainModule().configure_sharding = list
    assert TrainModule().configure_sharding() is None
