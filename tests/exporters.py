"""Arrays that claim to be on a CUDA device, whose memory is the host's: for emulated devices."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np

from vbfast.backends.cuda.extension import load_extension


def view_of(interface):
    """Return the memory of an array interface as a NumPy array."""
    dtype = np.dtype(interface["typestr"])
    shape = interface["shape"]
    size = int(np.prod(shape)) * dtype.itemsize
    buffer = (ctypes.c_char * size).from_address(interface["data"][0])
    return np.frombuffer(buffer, dtype).reshape(shape)


class Exporter:
    """An array of a library that knows DLPack 1."""

    device = 0

    def __init__(self, array):
        self.array = array
        self.streams = []

    def __dlpack_device__(self):
        return 2, self.device

    def __dlpack__(self, *, stream=None, max_version=None):
        self.streams.append(stream)
        return self.capsule(max_version is not None)

    def capsule(self, versioned):
        array = self.array
        address, shape = array.__array_interface__["data"][0], array.shape
        there = load_extension().DeviceArray.borrow(
            address, shape, array.strides, array.dtype == np.float64, 0, array
        )
        return there.to_capsule(versioned)

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def __array_namespace__(self):
        return SimpleNamespace(from_dlpack=self.take, asarray=self.put)

    @classmethod
    def put(cls, array, *, device):
        assert device == cls.device
        return cls(array)

    @classmethod
    def take(cls, result):
        assert result.__dlpack_device__() == (2, 0)
        taken = cls(view_of(result.__cuda_array_interface__))
        taken.owner = result
        return taken


class OlderExporter(Exporter):
    """One that knows DLPack before version 1."""

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        return self.capsule(False)
