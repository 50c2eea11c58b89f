"""What passes take of small fitted mixtures, kept from one call to the next.

For a row or a few, reading and checking the fitted attributes would take longer than the pass. They
may be set or written to after the fit, so that what is kept is kept beside a copy of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from vbfast.contract import LogJoint

__all__ = ["ready_log_joint"]

# The most numbers of an attribute that is copied: the pass takes longer than reading more.
LARGEST = 4096

_PLAIN = frozenset({float, int, str, np.float64, np.float32})

# Not in the estimator: predictions leave that as it is.
_ready: WeakKeyDictionary[Any, tuple[tuple[Any, ...], LogJoint]] = WeakKeyDictionary()


def ready_log_joint(
    estimator: Any, attributes: Iterable[Any], make: Callable[[], LogJoint]
) -> LogJoint:
    """Return the log-joint of a fitted mixture, made where it is not at hand.

    Parameters
    ----------
    estimator : object
    attributes : iterable
        All that the log-joint depends on.
    make : callable
        Makes it.

    Returns
    -------
    LogJoint
    """
    content = _content(attributes)
    if content is None or type(estimator).__hash__ is None:
        return make()
    kept = _ready.get(estimator)
    if kept is not None and kept[0] == content:
        return kept[1]
    log_joint = make()
    _ready[estimator] = (content, log_joint)
    return log_joint


def _content(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """Return copies that can be compared; None of something large, or unknown."""
    content: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is np.ndarray:
            dtype = value.dtype.char
            if value.size > LARGEST or dtype not in "fd":
                return None
            content += (dtype, value.shape, value.tobytes())
        elif kind in _PLAIN:
            content += (kind, value)
        elif kind is tuple:
            inner = _content(value)
            if inner is None:
                return None
            content.append(inner)
        else:
            return None
    return tuple(content)
