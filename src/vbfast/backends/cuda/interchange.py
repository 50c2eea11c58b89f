"""Arrays of other libraries that are on the device: borrowed without a copy, and given back.

They come by DLPack (versions 0 and 1) or ``__cuda_array_interface__`` (versions 2 and 3). What
their library has still to compute is waited for on the device, in the stream of the call. Results
go back by DLPack, once they are computed, to the library of the array that was borrowed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vbfast.backends.cuda.extension import load_extension

__all__ = ["Borrowed", "DeviceResult", "Lent", "borrow", "device_of", "put_beside", "put_number"]

CUDA = 2, 13  # DLPack's device types: memory of a device, and managed memory


def device_of(array: Any) -> int | None:
    """Return the number of the device that an array is on, None on the host.

    Parameters
    ----------
    array : object

    Returns
    -------
    int or None

    Raises
    ------
    ImportError
        If the array does not say which device it is on, and there is no module to ask.
    """
    find = getattr(array, "__dlpack_device__", None)
    if find is not None:
        kind, number = find()
        return int(number) if kind in CUDA else None
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        return None
    device: int = load_extension().device_of_address(interface["data"][0])
    return device


class DeviceResult:
    """A result on the device, which other libraries take over by DLPack.

    It is computed: consumers need not wait for it in their streams.
    """

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the device's type and number."""
        return CUDA[0], self._array.device

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule, of version 1 for consumers that say that they know it."""
        del stream
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(f"the array is on {self.__dlpack_device__()}; asked for {dl_device}")
        if copy:
            raise BufferError("the array is handed over without a copy")
        return self._array.to_capsule(max_version is not None and max_version[0] >= 1)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Shape, type and place."""
        return {
            "shape": self._array.shape,
            "typestr": "<f8" if self._array.is_double else "<f4",
            "data": (self._array.data, False),
            "strides": None,
            "version": 3,
        }


@dataclass(frozen=True)
class Lent:
    """What a call computes with: a stream of the device, and arrays in it."""

    stream: Any
    arrays: tuple[Any, ...]


class Borrowed:
    """An array of another library, which is on a device.

    Parameters
    ----------
    array : object
        With ``__dlpack__`` or ``__cuda_array_interface__``.
    name : str
        Of the argument, for errors.

    Attributes
    ----------
    array : DeviceArray of the extension
        Shares the memory, and keeps it.
    stream : Stream of the extension
        In which the array may be read.
    """

    def __init__(self, array: Any, name: str) -> None:
        self._library = _library_of(array)
        extension = load_extension()
        device = device_of(array)
        if device is None:
            raise TypeError(f"{name} is on no CUDA device")
        self.stream = extension.Stream(device)
        try:
            if hasattr(array, "__dlpack__"):
                capsule = _capsule_of(array, self.stream.handle)
                self.array = extension.DeviceArray.from_capsule(capsule)
            else:
                self.array = self._borrow_by_interface(array, device)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from error

    def _borrow_by_interface(self, array: Any, device: int) -> Any:
        interface = array.__cuda_array_interface__
        if interface["typestr"] not in ("<f4", "<f8"):
            raise TypeError(
                "arrays on the device must be float32 or float64; got the type "
                f"{interface['typestr']}"
            )
        if interface.get("mask") is not None:
            raise TypeError("arrays on the device must have no mask")
        stream = interface.get("stream") if interface["version"] >= 3 else 1
        if stream is not None:
            self.stream.wait_for(stream)
        return load_extension().DeviceArray.borrow(
            interface["data"][0],
            interface["shape"],
            interface.get("strides"),
            interface["typestr"] == "<f8",
            device,
            array,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        shape: tuple[int, ...] = self.array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return np.dtype(np.float64 if self.array.is_double else np.float32)

    def broadcast_to(self, shape: tuple[int, ...]) -> Borrowed:
        """Repeat the array along axes, without a copy."""
        if shape != self.shape:
            self.array = self.array.broadcast_to(shape)
        return self

    @contextlib.contextmanager
    def lend(self, *others: Borrowed | None) -> Iterator[Lent]:
        """Lend this array and others to a call in this one's stream."""
        for other in others:
            if other is not None and other is not self:
                self.stream.wait_for(other.stream.handle)
        arrays = (self.array, *(None if other is None else other.array for other in others))
        yield Lent(self.stream, arrays)

    def give_back(self, result: Any) -> Any:
        """Return a result as an array of the library that this one is of."""
        return self._library(DeviceResult(result))


def borrow(array: Any, name: str) -> Borrowed:
    """Borrow an array that is on a device.

    Parameters
    ----------
    array : object
    name : str
        Of the argument, for errors.

    Returns
    -------
    Borrowed

    Raises
    ------
    TypeError
        If its elements are neither float32 nor float64.
    """
    return Borrowed(array, name)


def put_number(like: Any, number: float) -> DeviceResult:
    """Return a number on the device of an array, and of its type.

    Parameters
    ----------
    like : object
        An array on a device.
    number : float

    Returns
    -------
    DeviceResult
        Without dimensions.
    """
    borrowed = borrow(like, "a")
    value = np.asarray(number, borrowed.dtype)
    return DeviceResult(load_extension().DeviceArray.copy_of(value, borrowed.stream))


def put_beside(like: Any, array: np.ndarray[Any, Any]) -> Any:
    """Return an array of the host as one of the library of another, on its device.

    Parameters
    ----------
    like : object
        An array on a device.
    array : ndarray
    """
    root = type(like).__module__.partition(".")[0]
    namespace = like.__array_namespace__() if hasattr(like, "__array_namespace__") else None
    library: Any = namespace or sys.modules.get({"jaxlib": "jax.numpy"}.get(root, root))
    if library is None or not hasattr(library, "asarray"):
        return array
    try:
        return library.asarray(array, device=like.device)
    except (AttributeError, TypeError):  # a library whose arrays are on one device
        return library.asarray(array)


def _capsule_of(array: Any, stream: int) -> Any:
    try:
        return array.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # of before version 1
        return array.__dlpack__(stream=stream)


def _library_of(array: Any) -> Callable[[DeviceResult], Any]:
    """Return what makes an array of the library from a result, in the end the result itself."""
    places = []
    if hasattr(array, "__array_namespace__"):
        places.append(array.__array_namespace__())
    root = type(array).__module__.partition(".")[0]
    places.append(sys.modules.get({"jaxlib": "jax"}.get(root, root)))
    if root in ("jax", "jaxlib"):
        places.append(sys.modules.get("jax.dlpack"))
    for place in places:
        take: Callable[[DeviceResult], Any] | None = getattr(place, "from_dlpack", None)
        if take is not None:
            return take
    return lambda result: result
