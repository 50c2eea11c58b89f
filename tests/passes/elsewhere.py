from __future__ import annotations


class Elsewhere:
    """An array that can only be read in slices, as a file is, and remembers which."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.slices = []

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        self.slices.append((rows.start, rows.stop))
        return self._array[rows].copy()
