"""Wrong and odd arguments of every public function and method.

What has to come of it is an exception that names the argument, or the result of the value that the
odd one stands for; never a crash, a hang, another library's message without the argument's name, or
a number made of nonsense. Each case runs in a forked child, so that one that ends the process is a
failure like others. A fit that fails has to leave the estimator as it was.
"""

from __future__ import annotations

import faulthandler
import inspect
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

sys.path.insert(0, str(Path(__file__).parent))

import bridge_calls  # noqa: F401
import kinds_of_arrays  # noqa: F401
import kinds_of_numbers  # noqa: F401
import kinds_of_objects  # noqa: F401
import parameter_calls  # noqa: F401

import estimator_calls  # noqa: F401
import function_calls  # noqa: F401
import vbfast
import vbfast.jax
import vbfast.numba_api
import vbfast.torch
from calls import CALLS, Call, Scene, scene
from fuzzing import main
from odd_values import KINDS, Odd

TIMEOUT = 180.0  # seconds: numba compiles in some cases
MEMORY = 6 << 30

# Exceptions that a wrong argument may raise; of others it is not known who raised them.
OURS = (ValueError, TypeError, ImportError, NotImplementedError)

# What scikit-learn says of X without naming it.
OF_X = (
    r"Expected 2D array|Found array with|Complex data not supported|X has \d+ features|"
    r"np\.matrix is not supported|not fitted|Expected n_samples|ill-defined empirical covariance|"
    r"no component holds rows|component \d+ has none"
)

# What comes of odd numbers that are no mistakes: fits of huge, tiny or equal rows.
OF_NUMBERS = OF_X + r"|overflow|too large|singular|positive definite|not finite|is NaN or inf"

# Words of implementations, which say nothing to who called.
INTERNAL = (
    r"incompatible function arguments|pybind|TypingError|truth value of|could not be broadcast|"
    r"object has no attribute|has no len\(\)|unhashable|not subscriptable|not iterable"
)


OFTEN = np.array([call.weight for call in CALLS]) / sum(call.weight for call in CALLS)


def case(rng: np.random.Generator) -> str | None:
    """Call something with one or two odd arguments."""
    call = CALLS[rng.choice(len(CALLS), p=OFTEN)]
    stage = scene(rng, call)
    names = list(call.kinds)
    count = 2 if len(names) > 1 and call.pairs and rng.random() < 0.1 else 1
    odd: dict[str, Odd] = {}
    for name in rng.choice(names, count, replace=False):
        kind = KINDS[call.kinds[name]]
        odd[name] = kind[rng.integers(len(kind))](rng, stage.arguments[name])
    warm(call, stage)
    what = ", ".join(f"{name}: {value.what}" for name, value in odd.items())
    wrong = in_child(lambda: outcome(call, stage, odd))
    return None if wrong is None else f"{call.name} [{stage.settings}] {what}: {wrong}"


_warmed: set[str] = set()


def warm(call: Call, stage: Scene) -> None:
    """Make the valid call once, so that children need not compile; it has to be valid."""
    key = f"{call.name} {stage.settings}" if stage.backend == "numba" else call.name
    if call.warmed and key not in _warmed:
        run(call, replace(stage), {})
        _warmed.add(key)


def run(call: Call, stage: Scene, changed: dict[str, Any]) -> Any:
    """Make a call, which may put a changed copy in the place of the scene's estimator."""
    with warnings.catch_warnings(), vbfast.config_context(backend=stage.backend):
        warnings.simplefilter("ignore")
        return call.function(stage, {**stage.arguments, **changed})


def outcome(call: Call, stage: Scene, odd: dict[str, Odd]) -> str | None:
    """Make the odd call and judge what comes of it."""
    retyped = beside_an_output(stage, odd)
    must_fail = any(value.plain is not None for value in retyped) or any(
        value.refused and not (value.in_rows and weightless(stage, odd)) for value in odd.values()
    )
    state = {} if stage.estimator is None else dict(vars(stage.estimator))
    changing = replace(stage)
    try:
        result = run(call, changing, {name: value.value for name, value in odd.items()})
    except MemoryError:
        return None
    except (*OURS, *call.errors) as error:
        if changed_by_failure(changing, state):
            return "the estimator changed"
        if all(value.plain is not None for value in odd.values()) and fails_alike(
            call, stage, {name: value.plain for name, value in odd.items()}, error
        ):
            return None
        return judged(error, call, odd, bool(retyped))
    except Exception:
        return traceback.format_exc()
    if must_fail:
        return f"taken, and the result was {result!r:.300}"
    if all(value.plain is not None for value in odd.values()):
        found = [np.copy(n) if isinstance(n, np.ndarray) else n for n in numbers(result)]
        expected = run(call, replace(stage), {name: value.plain for name, value in odd.items()})
        return compared(found, numbers(expected))
    return None


def fails_alike(call: Call, stage: Scene, plain: dict[str, Any], error: Exception) -> bool:
    """Whether a call fails as well, and with the same message."""
    try:
        run(call, replace(stage), plain)
    except (*OURS, *call.errors) as other:
        return str(other) == str(error)
    return False


def beside_an_output(stage: Scene, odd: dict[str, Odd]) -> list[Odd]:
    """Return the odd arrays of another type than the output, so that it does not fit the result."""
    out = stage.arguments.get("out")
    if "out" in odd or not isinstance(out, np.ndarray):
        return []
    arrays = [odd[name] for name in odd if isinstance(stage.arguments[name], np.ndarray)]
    return [value for value in arrays if type_of(value) != out.dtype]


def type_of(odd: Odd) -> Any:
    try:
        return np.asarray(odd.value if odd.plain is None else odd.plain).dtype
    except Exception:
        return None


def weightless(stage: Scene, odd: dict[str, Odd]) -> bool:
    """Tell whether all rows are skipped."""
    name = "sample_weight"
    weights = odd[name].value if name in odd else stage.arguments.get(name, 1)
    try:
        return not np.any(np.asarray(weights, float))
    except (TypeError, ValueError, OverflowError):
        return False


def changed_by_failure(stage: Scene, before: dict[str, Any]) -> bool:
    """Whether a call that failed left fitted attributes that are not those from before it."""
    after = {} if stage.estimator is None else vars(stage.estimator)
    names = {name for name in before.keys() | after.keys() if name.endswith("_")}
    # A copy has a list of bounds of its own.
    bounds = {name for name in names if name == "lower_bounds_"}
    return any(after.get(name) is not before.get(name) for name in names - bounds) or any(
        after.get(name) != before.get(name) for name in bounds
    )


def judged(error: Exception, call: Call, odd: dict[str, Odd], retyped: bool) -> str | None:
    """Tell what is wrong with an exception, if anything."""
    text = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
    trace = "".join(traceback.format_exception(error)[-4:])
    if re.search(INTERNAL, text):
        return f"an implementation's words\n{trace}"
    if all(value.plain is not None for value in odd.values()) and not retyped:
        return f"refused\n{trace}"
    allowed = [OF_X if any(value.refused for value in odd.values()) else OF_NUMBERS]
    if "X" in odd and call.name.startswith("own"):
        allowed.append(r"\blog_density\b")  # of rows that it does not take
    for name in odd:
        allowed += [rf"\b{re.escape(name)}\b", *call.also.get(name, ())]
    if retyped:
        allowed.append(r"\bout\b")
    if not re.search("|".join(allowed), text):
        return f"the argument is not named\n{trace}"
    return None


def numbers(result: Any) -> list[Any]:
    """Return the arrays and numbers of a result."""
    if isinstance(result, tuple | list):
        return [number for part in result for number in numbers(part)]
    if hasattr(result, "n_iter_"):
        names = ("weights_", "means_", "covariances_", "parameters_", "lower_bounds_")
        return [np.asarray(getattr(result, name)) for name in names if hasattr(result, name)]
    if is_dataclass(result):
        return [
            number
            for item in fields(result)
            for number in numbers(getattr(result, item.name))
            if number is not None
        ]
    return [result]


def compared(found: list[Any], expected: list[Any]) -> str | None:
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, np.ndarray | float | int) and (
            np.asarray(one).dtype != np.asarray(other).dtype
            or not np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
        ):
            return f"gives {one!r:.300}, not {other!r:.300}"
    return None


def in_child(judge: Callable[[], str | None]) -> str | None:
    """Run something in a forked child and return what it returned, or how it ended."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile("w+") as log:
        child = os.fork()
        if child == 0:
            os.close(reading)
            faulthandler.enable(log)
            os.dup2(log.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY,) * 2)
            try:
                wrong = judge()
            except BaseException:
                wrong = traceback.format_exc()
            os.write(writing, (wrong or "").encode(errors="replace")[:60_000])
            os._exit(0)
        os.close(writing)
        said, hangs = _read(reading, TIMEOUT)
        os.close(reading)
        if hangs:
            os.kill(child, signal.SIGABRT)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return said or None
        log.seek(0)
        end = "hangs" if hangs else f"the process ended with {code}"
        return f"{end}\n{log.read()[:3000]}"


def _read(reading: int, seconds: float) -> tuple[str, bool]:
    """Read to the end, or until the time is over."""
    parts: list[bytes] = []
    limit = time.monotonic() + seconds
    while True:
        left = limit - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            return b"".join(parts).decode(), True
        part = os.read(reading, 1 << 16)
        if not part:
            return b"".join(parts).decode(), False
        parts.append(part)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


# What has nothing that could be wrong, or is scikit-learn's; files have a fuzzer of their own.
LEFT_OUT = {
    *dir(BaseEstimator),
    *("set_fit_request", "set_partial_fit_request", "set_score_request", "set_callbacks"),
    *("prune", "save", "load", "open_rows", "to_sklearn"),
    *("show_config", "get_num_threads", "get_include", "patch_sklearn", "unpatch_sklearn"),
}

# By what the names of their calls begin with.
OWNERS = {
    "": vbfast,
    "gaussian ": vbfast.GaussianMixture,
    "bayesian ": vbfast.BayesianGaussianMixture,
    "own ": vbfast.Mixture,
    "numba_api ": vbfast.numba_api,
    "torch ": vbfast.torch,
    "jax ": vbfast.jax,
}
# Families that are made, or made of what users write.
FAMILIES = {"ComponentFamily", "Custom", "Gaussian"}


def missing() -> set[str]:
    """Return the public functions and methods of which no call is made."""
    wanted = {
        f"{prefix}{name}"
        for prefix, owner in OWNERS.items()
        for name in getattr(owner, "__all__", dir(owner))
        if inspect.isfunction(getattr(owner, name)) or inspect.ismethod(getattr(owner, name))
        if not name.startswith("_") and name not in LEFT_OUT
    }
    return (wanted | FAMILIES) - {call.name for call in CALLS}


if __name__ == "__main__":
    assert not missing(), f"no calls of {missing()}"
    main(case)
