"""A disk on which only what was synced is sure to survive a loss of power.

Everything else may survive or not, as the disk pleases: names one by one, in any order; content as nothing, as zeros, as a half, or
whole.
"""

import random
from itertools import product

import framework.checkpoint.files as files


class File:
    def __init__(self, data=b""):
        self.data = self.sure = data


class Folder:
    def __init__(self):
        self.sure = {}  # name -> File or Folder
        self.pending = []  # changes of names, {name: node, or None where it goes}

    def now(self):
        return self.after(self.pending)

    def after(self, changes):
        names = dict(self.sure)
        for change in changes:
            names.update(change)
        return {name: node for name, node in names.items() if node is not None}


def recorded(monkeypatch, function):
    """Returns the calls of the file system that `function` makes, in order."""
    calls = []

    def recording(name, call):
        def wrapped(*args):
            result = call(*args)
            first = (
                args[0]
                if name in ("make_folder", "create", "sync_folder", "rename", "remove_file", "remove_folder")
                else args[0].name
            )
            calls.append((name, str(first), *(bytes(arg) if name == "write" else str(arg) for arg in args[1:])))
            return result

        return wrapped

    for name in ("make_folder", "create", "write", "sync", "sync_folder", "rename", "remove_file", "remove_folder"):
        monkeypatch.setattr(files, name, recording(name, getattr(files, name)))
    function()
    monkeypatch.undo()
    return calls


class Disk:
    """A disk that holds the folder `root` durably, and to which calls can be applied."""

    def __init__(self, root):
        self._root = str(root)
        self.top = Folder()

    def _find(self, path):
        node = self.top
        for name in path.removeprefix(self._root).split("/")[1:]:
            node = node.now()[name]
        return node

    def apply(self, call, path, *rest):
        parent, _, name = path.rpartition("/")
        if call == "make_folder":
            self._find(parent).pending.append({name: Folder()})
        elif call == "create":
            self._find(parent).pending.append({name: File()})
        elif call == "write":
            self._find(path).data += rest[0]
        elif call == "sync":
            file = self._find(path)
            file.sure = file.data
        elif call == "sync_folder":
            folder = self._find(path)
            folder.sure, folder.pending = folder.now(), []
        elif call == "rename":
            folder = self._find(parent)
            folder.pending.append({name: None, rest[0].rpartition("/")[2]: folder.now()[name]})
        else:  # a file or folder is removed
            self._find(parent).pending.append({name: None})

    def after_power_loss(self, seed):
        """Yields the trees that may be there afterwards: by name the bytes of a file, or the tree of a folder."""
        chance = random.Random(seed)
        names = {
            "no name": lambda changes: [],
            "every name": lambda changes: changes,
            "the last name": lambda changes: changes[-1:],
            "all but the first": lambda changes: changes[1:],
            **{f"some names {n}": lambda changes: [change for change in changes if chance.random() < 0.5] for n in range(3)},
        }
        content = {
            "nothing": lambda file: file.sure,
            "zeros": lambda file: file.sure + bytes(len(file.data) - len(file.sure)),
            "half": lambda file: file.data[: (len(file.sure) + len(file.data)) // 2],
            "whole": lambda file: file.data,
        }
        for choose, keep in product(names.values(), content.values()):
            yield self._tree(self.top, choose, keep)

    def _tree(self, folder, choose, keep):
        survivors = folder.after(choose(folder.pending)).items()
        return {name: keep(node) if isinstance(node, File) else self._tree(node, choose, keep) for name, node in survivors}


def write_tree(tree, path):
    path.mkdir()
    for name, node in tree.items():
        if isinstance(node, dict):
            write_tree(node, path / name)
        else:
            (path / name).write_bytes(node)
