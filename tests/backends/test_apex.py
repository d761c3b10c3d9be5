"""What is found under the name apex: nothing, a stranger, a broken build, the old one and the new one. All packages are fakes."""

import sys

import pytest
import torch

from framework import AcceleratorError, Apex, select_backend

NO_GPU = f"accelerator='apex' needs a CUDA GPU; torch.cuda.is_available() is False (torch {torch.__version__})."
NOT_YET = (
    "accelerator='apex' found NVIDIA Apex, whose step this version does not have yet. Use accelerator='amp' with "
    "precision='fp16': it trains identically to Apex O1, and takes Apex's fused optimizers."
)
LEGACY_AMP = "initialize = scale_loss = master_params = state_dict = load_state_dict = len\n"


def forget_apex():
    for name in [name for name in sys.modules if name.partition(".")[0] == "apex"]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    forget_apex()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    forget_apex()


@pytest.fixture
def gpu(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Writes a package named apex, from its files, and puts it where it will be imported."""

    def write(**files):
        folder = tmp_path / "apex"
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return folder

    return write


def reason():
    probe = Apex.probe()
    assert not probe.ok
    with pytest.raises(AcceleratorError) as error:
        select_backend("apex")
    assert str(error.value).startswith(probe.reason)
    return probe.reason


def test_absent(monkeypatch):
    find_spec = Apex.probe.__func__.__globals__["importlib"].util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "apex" else find_spec(name))
    assert reason() == (
        "accelerator='apex' needs NVIDIA Apex, which is not installed. It is not on the package index; build it from NVIDIA/apex "
        "or use an NVIDIA container. Nothing is lost with accelerator='amp': Apex O1 and torch.amp fp16 train identically."
    )


def test_foreign(install):
    folder = install(__init__="", views="")
    assert reason() == (
        f"The installed package 'apex' ({folder / '__init__.py'}) is not NVIDIA Apex (the index's 'apex' is an unrelated web "
        "toolkit). Uninstall it, or use accelerator='amp'."
    )


def test_a_mere_folder_named_apex(install):
    folder = install()
    assert reason().startswith(f"The installed package 'apex' ({folder}) is not NVIDIA Apex")


@pytest.mark.parametrize("error", ["ImportError('libcudart.so.12')", "RuntimeError('libcudart.so.12')"])
def test_broken(install, error):
    install(__init__=f"raise {error}\n")
    assert reason() == (
        f"NVIDIA Apex is installed but does not import: libcudart.so.12. Rebuild it for torch {torch.__version__}, "
        "or use accelerator='amp'."
    )


def test_legacy_without_a_gpu(install):
    install(__init__="", amp=LEGACY_AMP)
    assert reason() == NO_GPU


def test_legacy(gpu, install):
    install(__init__="", amp=LEGACY_AMP)
    assert reason() == NOT_YET


def test_modern_without_a_gpu(install):
    install(__init__="", optimizers="")
    assert reason() == NO_GPU


@pytest.mark.parametrize("init", ["", "from apex import optimizers\n"])
def test_modern(gpu, install, init):
    install(__init__=init, optimizers="class FusedAdam: pass\n")
    assert reason() == NOT_YET


@pytest.mark.parametrize("amp", ["initialize = len\n", "raise RuntimeError('amp_C')\n", "import amp_C_is_not_here\n"])
def test_an_amp_that_cannot_be_used_is_none(install, amp):
    install(__init__="", amp=amp)
    assert "is not NVIDIA Apex" in reason()


def test_a_modern_one_whose_amp_is_broken_is_modern(gpu, install):
    install(__init__="", amp="raise RuntimeError('amp_C')\n", optimizers="")
    assert reason() == NOT_YET
