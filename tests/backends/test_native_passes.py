"""The extension module's passes refuse what the kernels would divide by or read beyond."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast import _vbfast

FACTORS = {
    "full": lambda K, D: (K, D, D),
    "tied": lambda K, D: (D, D),
    "diag": lambda K, D: (K, D),
    "spherical": lambda K, D: (K,),
}


@pytest.mark.parametrize("kind", FACTORS)
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("K", "D"), [(0, 2), (2, 0), (0, 0)])
@pytest.mark.parametrize("assignment", ["posterior", "hard", "given"])
def test_a_model_of_nothing(kind, single, K, D, assignment):
    with pytest.raises(ValueError, match="means must have two axes, neither of length zero"):
        _vbfast.EStep(
            kind, np.zeros(K), np.zeros((K, D)), np.ones(FACTORS[kind](K, D)), assignment, kind,
            True, single, 1, 8, False, (None,) * 7, _vbfast.Workspace(), 1,
        )  # fmt: skip


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 0), (3,)])
def test_candidates_that_are_none(single, shape):
    with pytest.raises(ValueError, match="candidates must have two axes, neither of length zero"):
        _vbfast.Seeding(np.zeros(shape), single, 1, 8)
