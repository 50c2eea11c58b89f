"""What a log-joint is made of."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import Linear


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (np.zeros(3), "theta must have shape"),
        (np.zeros((0, 3)), "theta must have shape"),
        (np.zeros((3, 0)), "theta must have shape"),
        (np.array([[0.0, -np.inf]]), "theta must be finite"),
        (np.array([[np.nan, 0.0]]), "theta must be finite"),
    ],
)
def test_parameters_of_the_linear_form(theta, message):
    with pytest.raises(ValueError, match=message):
        Linear(theta)
