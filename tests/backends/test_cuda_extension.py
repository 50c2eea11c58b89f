"""How the backend 'cuda' finds its module and its device, and what it says where it does not."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace

import pytest

import vbfast
from vbfast.backends import backend_for, get_array_functions, get_backend
from vbfast.backends.cuda import extension
from vbfast.config.settings import config_context
from vbfast.info import configuration

DEVICE = {
    "index": 0,
    "name": "NVIDIA Nonesuch",
    "compute_capability": (9, 0),
    "multiprocessors": 132,
    "total_bytes": 141 << 30,
    "free_bytes": 135 << 30,
    "l2_bytes": 50 << 20,
    "shared_bytes": 227 << 10,
}


class Extension(ModuleType):
    """What the module says of itself, of the driver and of the device."""

    def __init__(self, name=extension.MODULE, **changed):
        super().__init__(name)
        says = {
            "version": vbfast.__version__,
            "architectures": "80-real,90-real",
            "driver": 13010,
            "runtime": 13000,
            "device": DEVICE,
            **changed,
        }
        self.build_info = lambda: says
        self.versions = lambda: says
        self._device = says["device"]

    def device_info(self):
        if isinstance(self._device, Exception):
            raise self._device
        return self._device


def forget():
    extension.load_extension.cache_clear()
    get_backend.cache_clear()
    get_array_functions.cache_clear()


@pytest.fixture
def install(monkeypatch):
    """A function that makes a module the extension, None that there is none; others offer some."""

    def put(module, offered=()):
        monkeypatch.setitem(sys.modules, extension.MODULE, module)
        monkeypatch.setattr(extension, "entry_points", lambda group: list(offered))
        forget()

    yield put
    monkeypatch.undo()
    forget()


def test_the_shared_suite_has_a_device(require_backend):
    require_backend("cuda")


def test_the_module_of_the_package(install):
    module = Extension()
    install(module)
    assert extension.load_extension() is module
    assert extension.require_device() == DEVICE


def test_the_module_of_another_distribution(install, monkeypatch):
    module = Extension("vbfast_cuda13._vbfast_cuda")
    offered = [
        EntryPoint("cuda14", "none_such", extension.ENTRY_POINTS),
        EntryPoint("cuda13", "vbfast_cuda13._vbfast_cuda", extension.ENTRY_POINTS),
    ]
    monkeypatch.setitem(sys.modules, "vbfast_cuda13", ModuleType("vbfast_cuda13"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    install(None, offered)
    assert extension.load_extension() is module


def test_no_module(install):
    install(None)
    for call in (extension.load_extension, extension.require_device):
        with pytest.raises(ImportError, match=r"built without.* `VBFAST_CUDA=ON pip install .`"):
            call()
    with pytest.raises(ImportError, match="the backend 'cuda' needs the module _vbfast_cuda"):
        get_backend("cuda")
    assert configuration()["cuda"].startswith("none: the backend 'cuda' needs")


@pytest.mark.parametrize("name", [extension.MODULE, "vbfast_cuda13._vbfast_cuda"])
def test_a_module_of_another_version(install, name):
    install(Extension(name, version="0.1.9"))
    with pytest.raises(ImportError) as caught:
        extension.load_extension()
    assert all(text in str(caught.value) for text in (vbfast.__version__, "0.1.9", name))


NONE_THAT_FITS = [
    ({"driver": 0}, "found no NVIDIA driver; it needs one for CUDA 13.0"),
    ({"driver": 12080}, r"driver for CUDA 13.0; the one that is installed is for CUDA 12.8"),
    ({"device": RuntimeError("no CUDA-capable device")}, "driver for CUDA 13.1: no CUDA-capable"),
    ({"device": MemoryError("CUDA: out of memory")}, "CUDA: out of memory"),
    ({"architectures": "80-real"}, "NVIDIA Nonesuch, of compute capability 9.0.*80-real.*=90$"),
]


@pytest.mark.parametrize(("changed", "message"), NONE_THAT_FITS)
class TestNoDevice:
    def test_what_is_said(self, install, changed, message):
        install(Extension(**changed))
        with pytest.raises(RuntimeError, match=message):
            extension.require_device()

    def test_whoever_asks(self, install, changed, message, rng):
        install(Extension(**changed))
        X = rng.normal(size=(50, 2))
        with config_context(backend="cuda"):
            with pytest.raises(RuntimeError, match=message):
                vbfast.GaussianMixture(2).fit(X)
            with pytest.raises(RuntimeError, match=message):
                vbfast.logsumexp(X, axis=1)
        with pytest.raises(RuntimeError, match=message):
            vbfast.GaussianMixture(2, backend="cuda").fit(X)

    def test_what_info_says(self, install, changed, message, capsys):
        install(Extension(**changed))
        said = configuration()
        with pytest.raises(RuntimeError, match=message) as caught:
            extension.require_device()
        assert said["cuda"] == f"none: {caught.value}"
        assert said["cuda_runtime"] == "13.0"
        vbfast.show_config()
        assert f"{'cuda':18s} none: {caught.value}\n" in capsys.readouterr().out


def test_what_info_says_of_a_device(install, capsys):
    install(Extension())
    said = configuration()
    assert {key: value for key, value in said.items() if key.startswith("cuda")} == {
        "cuda": "NVIDIA Nonesuch, compute capability 9.0, 132 multiprocessors",
        "cuda_memory": "141.0 GiB, of which 135.0 are free",
        "cuda_driver": "13.1",
        "cuda_runtime": "13.0",
        "cuda_architectures": ["80-real", "90-real"],
    }
    vbfast.show_config()
    assert "cuda_architectures 80-real, 90-real\n" in capsys.readouterr().out


@pytest.mark.skipif("VBFAST_TEST_CUDA" not in os.environ, reason="needs the module")
def test_a_machine_without_a_driver():
    module = extension.load_extension()
    if module.versions()["driver"]:
        pytest.skip("there is a driver")
    with pytest.raises(extension.DeviceError, match="found no NVIDIA driver; it needs one for"):
        extension.require_device()
    with pytest.raises(RuntimeError, match=r"^CUDA: counting devices: "):
        module.device_info()


@pytest.mark.parametrize(
    ("built", "runs"),
    [
        ("90-real", True),
        ("80-real,100", False),
        ("80-real,80-virtual", True),  # its PTX
        ("80", True),
        ("90a-real", True),
        ("100f-real", False),
        ("native", True),
    ],
)
def test_what_runs_on_a_device(install, built, runs):
    install(Extension(architectures=built))
    if runs:
        assert extension.require_device() == DEVICE
    else:
        with pytest.raises(extension.DeviceError, match=built):
            extension.require_device()


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((8, 6), "80-real", True),
        ((8, 0), "86-real", False),
        ((9, 1), "90a-real", False),
        ((10, 3), "100f-real", True),
        ((12, 0), "80-real,90-real,100-real,120", True),
        ((12, 1), "80-real,90-real,100-real,120", True),
        ((13, 0), "80-real,90-real,100-real,120", True),
        ((7, 5), "80-real,90-real,100-real,120", False),
    ],
)
def test_what_runs_on_other_devices(install, capability, built, runs):
    install(Extension(architectures=built, device={**DEVICE, "compute_capability": capability}))
    if runs:
        extension.require_device()
    else:
        with pytest.raises(extension.DeviceError, match=f"{capability[0]}.{capability[1]}"):
            extension.require_device()


def test_no_other_backend_falls_back_on_the_device(install):
    install(Extension(driver=0))  # an error if it is asked for
    with pytest.raises(NotImplementedError, match="no backend evaluates"):
        backend_for(SimpleNamespace(form=None, link=None), "reference")
