"""Model files with one byte flipped, or cut short: a clear error, or the model that was saved.

Never another exception than ValueError, never a warning, never a model of other numbers.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np

import vbfast
from fuzzing import main

FOLDER = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, FOLDER)


@functools.cache
def saved(number: int) -> tuple[vbfast.GaussianMixture | vbfast.BayesianGaussianMixture, bytes]:
    """Return a mixture, one of a few, and its file."""
    rng = np.random.default_rng(number)
    X = rng.normal(size=(40, 2)) + 5.0 * rng.integers(2, size=(40, 1))
    mixture = (vbfast.GaussianMixture, vbfast.BayesianGaussianMixture)[number % 2](
        2,
        covariance_type=("full", "tied", "diag", "spherical")[number // 2 % 4],
        random_state=0,
        max_iter=100,
    ).fit(X.astype(np.float32) if number % 3 else X)
    mixture.feature_names_in_ = np.array(["a", "b"], dtype=object)
    mixture.save(FOLDER / "saved.npz")
    return mixture, (FOLDER / "saved.npz").read_bytes()


def case(rng: np.random.Generator) -> str | None:
    """Damage a file and load it."""
    mixture, content = saved(int(rng.integers(8)))
    place = int(rng.integers(len(content)))
    if rng.random() < 0.1:
        damaged, what = content[:place], f"cut at byte {place}"
    else:
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        damaged, what = bytes(changed), f"byte {place} is {changed[place]}"
    path = FOLDER / "damaged.npz"
    path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            loaded = vbfast.load(path)
        except ValueError as error:
            text = str(error)
            clear = (
                text.startswith(f"{path} is no model file: ") and len(text) > len(str(path)) + 22
            )
            return None if clear else f"{what}: {error}"
    if vars(loaded).keys() != vars(mixture).keys():
        return f"{what}: other attributes"
    for name, value in vars(mixture).items():
        if not np.array_equal(getattr(loaded, name), value):
            return f"{what}: {name} is {getattr(loaded, name)}, not {value}"
    return None


if __name__ == "__main__":
    main(case)
