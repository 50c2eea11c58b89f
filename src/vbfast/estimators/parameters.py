"""Constructor parameters: their names and checks, found and made once instead of in every fit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

__all__ = ["QuicklyValidated"]

# Sets of parameters that are remembered to be valid.
REMEMBERED = 256
_SIMPLE = (int, float, str, bool, type(None))
# Of these constraints ask for no more than what they are.
_BY_KIND = (np.ndarray, np.random.RandomState)
_valid: set[tuple[Any, ...]] = set()


class QuicklyValidated(BaseEstimator):  # type: ignore[misc]
    """Remembers what scikit-learn looks up in every fit, for as long as one of few rows takes."""

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return list(_names(cls, cls.__init__))  # type: ignore[arg-type]

    def _validate_params(self) -> None:
        values = [getattr(self, name) for name in self._get_param_names()]
        kinds = [type(value) for value in values]
        if not all(kind in _SIMPLE or kind in _BY_KIND for kind in kinds):
            super()._validate_params()
            return
        # One, 1.0 and True are equal.
        simple = [value for value, kind in zip(values, kinds, strict=True) if kind in _SIMPLE]
        parameters = (type(self), *simple, *kinds)
        if parameters not in _valid:
            super()._validate_params()
            if len(_valid) >= REMEMBERED:
                _valid.clear()
            _valid.add(parameters)


@functools.lru_cache(maxsize=REMEMBERED)
def _names(cls: Any, init: Callable[..., None]) -> list[str]:  # noqa: ARG001
    names: list[str] = super(QuicklyValidated, cls)._get_param_names()
    return names
