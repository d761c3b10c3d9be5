"""What is found under the name apex: nothing, a stranger, a broken build, an old one and a new one. All packages are fakes."""

import re
import warnings

import pytest
import torch

from framework import AcceleratorError, Apex, select_backend
from framework.backends.apex import LegacyApex

NO_GPU = f"accelerator='apex' needs a CUDA GPU; torch.cuda.is_available() is False (torch {torch.__version__})."
pytestmark = pytest.mark.usefixtures("no_apex")


@pytest.fixture
def gpu(no_apex, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture
def write_apex(tmp_path, monkeypatch):
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
    with pytest.raises(AcceleratorError) as selected:
        select_backend("apex")
    with pytest.raises(AcceleratorError) as made:
        Apex(device="cpu")
    assert str(selected.value).startswith(f"{probe.reason} The accelerators are:")
    assert str(made.value) == probe.reason
    return probe.reason


def test_absent(monkeypatch):
    find_spec = Apex.probe.__func__.__globals__["importlib"].util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "apex" else find_spec(name))
    assert reason() == (
        "accelerator='apex' needs NVIDIA Apex, which is not installed. It is not on the package index; build it from NVIDIA/apex "
        "or use an NVIDIA container. Nothing is lost with accelerator='amp': Apex O1 and torch.amp fp16 train identically."
    )


def test_foreign(write_apex):
    folder = write_apex(__init__="", views="")
    assert reason() == (
        f"The installed package 'apex' ({folder / '__init__.py'}) is not NVIDIA Apex (the index's 'apex' is an unrelated web "
        "toolkit). Uninstall it, or use accelerator='amp'."
    )


def test_a_mere_folder_named_apex(write_apex):
    folder = write_apex()
    assert reason().startswith(f"The installed package 'apex' ({folder}) is not NVIDIA Apex")


@pytest.mark.parametrize("error", ["ImportError('libcudart.so.12')", "RuntimeError('libcudart.so.12')"])
def test_broken(write_apex, error):
    write_apex(__init__=f"raise {error}\n")
    assert reason() == (
        f"NVIDIA Apex is installed but does not import: libcudart.so.12. Rebuild it for torch {torch.__version__}, "
        "or use accelerator='amp'."
    )


@pytest.mark.parametrize("amp", ["initialize = len\n", "raise RuntimeError('amp_C')\n", "import amp_C_is_not_here\n"])
def test_an_amp_that_cannot_be_used_is_none(write_apex, amp):
    write_apex(__init__="", amp=amp)
    assert "is not NVIDIA Apex" in reason()
    assert not LegacyApex.probe().ok


@pytest.mark.parametrize("kind", ["legacy", "modern"])
def test_without_a_gpu(install_apex, kind):
    install_apex(kind)
    assert reason() == NO_GPU


@pytest.mark.parametrize("kind", ["legacy", "modern"])
def test_an_unknown_level(gpu, install_apex, kind):
    install_apex(kind)
    with pytest.raises(AcceleratorError) as error:
        Apex("O4")
    assert str(error.value) == "opt_level='O4' is unknown. It is one of 'O0', 'O1', 'O2', 'O3'."


@pytest.mark.parametrize(("opt_level", "precision"), [("O0", "fp32"), ("O1", "fp16"), ("O2", "fp16"), ("O3", "fp16")])
def test_legacy_has_every_level(gpu, install_apex, opt_level, precision):
    install_apex("legacy")
    backend = Apex(opt_level)
    assert (backend.name, str(backend.device), backend.precision) == ("apex", "cuda", precision)
    assert backend.takes_closure is (opt_level == "O0")
    assert (Apex.probe().reason, LegacyApex.probe().reason) == ("available", "available")


def test_modern_runs_torch_amp_and_says_so(gpu, install_apex):
    install_apex("modern")
    with pytest.warns(UserWarning, match="This Apex has no apex.amp") as told:
        backend = Apex()
    assert [str(warning.message) for warning in told] == [
        "This Apex has no apex.amp; running torch.amp fp16 with a gradient scaler, which is what O1 did. Write "
        "accelerator='amp', precision='fp16' to say so yourself."
    ]
    assert (backend.name, str(backend.device), backend.precision, backend.takes_closure) == ("apex", "cuda", "fp16", False)
    assert not LegacyApex.probe().ok


def test_modern_at_level_0_is_full_precision(gpu, install_apex):
    install_apex("modern")
    backend = Apex("O0")
    assert (backend.name, backend.precision, backend.takes_closure, backend.state_dict()) == ("apex", "fp32", True, {})
    assert backend.backward is backend.unscale is backend.step_optimizer is backend.end_window is None


@pytest.mark.parametrize("opt_level", ["O2", "O3"])
def test_modern_has_no_other_levels(gpu, install_apex, opt_level):
    install_apex("modern")
    with pytest.raises(AcceleratorError) as error:
        Apex(opt_level)
    assert str(error.value) == (
        f"opt_level={opt_level!r} needs apex.amp, which NVIDIA removed in May 2025 (last tag 25.05). Use 'O1', or "
        "precision='bf16' with accelerator='amp'."
    )


@pytest.mark.parametrize("init", ["", "from apex import optimizers\n"])
def test_one_whose_amp_is_broken_is_modern(gpu, write_apex, init):
    write_apex(__init__=init, amp="raise RuntimeError('amp_C')\n", optimizers="class FusedAdam: pass\n")
    with pytest.warns(UserWarning, match="This Apex has no apex.amp"):
        assert Apex().precision == "fp16"


@pytest.mark.parametrize("kind", ["legacy", "modern"])
@pytest.mark.parametrize(("asked", "precision"), [(None, "fp16"), ("fp16", "fp16"), ("fp32", "fp32")])
def test_the_accelerator_takes_its_level_from_the_precision(gpu, install_apex, kind, asked, precision):
    install_apex(kind)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This Apex has no apex.amp")
        backend = select_backend("apex", asked)
    assert (type(backend), str(backend.device), backend.precision) == (Apex, "cuda", precision)


@pytest.mark.parametrize("kind", ["legacy", "modern"])
def test_the_accelerator_has_no_bf16(gpu, install_apex, kind):
    install_apex(kind)
    message = "precision='bf16' is not for accelerator='apex', which casts to fp16. Use accelerator='amp'."
    with pytest.raises(AcceleratorError, match=f"^{re.escape(message)}$"):
        select_backend("apex", "bf16")
