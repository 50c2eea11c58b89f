"""What check_ptxas.py reads and finds in a log of ptxas."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

LOG = """\
[1/6] Building CUDA object posterior.cu.o
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN6vbfast4cuda5probeIfEEvPT_i' for 'sm_80'
ptxas info    : Function properties for _ZN6vbfast4cuda5probeIfEEvPT_i
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 140 registers, used 1 barriers, 2048 bytes smem, 364 bytes cmem[0]
ptxas info    : Compiling entry function '_ZN6vbfast4cuda5probeIfEEvPT_i' for 'sm_90'
ptxas info    : Function properties for _ZN6vbfast4cuda5probeIfEEvPT_i
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 1 barriers
"""


@pytest.fixture(scope="module")
def check():
    path = Path(__file__).with_name("check_ptxas.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_what_is_read(check):
    first, second = check.read_kernels(LOG)
    symbol = "_ZN6vbfast4cuda5probeIfEEvPT_i"
    assert first == check.Kernel(symbol, "sm_80", 16, 140, 2048)
    assert second == check.Kernel(symbol, "sm_90", 0, 10, 0)


@pytest.mark.skipif(not shutil.which("c++filt"), reason="needs binutils")
@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("_ZN6vbfast4cuda5probeIfEEvPT_i", "probe<float>"),
        (
            "_ZN6vbfast4cuda12_GLOBAL__N_19distancesIfLNS0_8DistanceE2ELi1EEEvNS0_5ChunkIT_EEi",
            "distances<float, 2, 1>",
        ),
        ("_ZN6vbfast4cuda12_GLOBAL__N_15mergeEPKdliPd", "merge"),
    ],
)
def test_readable_names(check, symbol, name):
    assert check.readable_names([symbol]) == [name]


def test_what_is_too_much(check):
    limits = [("^other", 1, 1), ("^probe<", 128, 1024)]
    assert check.find_excesses(check.read_kernels(LOG), ["probe<float>"] * 2, limits) == [
        "probe<float> for sm_80: 16 bytes of spills, at most 0",
        "probe<float> for sm_80: 140 registers, at most 128",
        "probe<float> for sm_80: 2048 bytes of static shared memory, at most 1024",
    ]


def test_a_log_without_kernels(check, tmp_path, capsys):
    (tmp_path / "log").write_text("ninja: no work to do.\n")
    assert check.main(tmp_path / "log") == 1
    assert "nothing of ptxas" in capsys.readouterr().err
