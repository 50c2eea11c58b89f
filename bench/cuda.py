"""What the backend 'cuda' takes on this machine's GPU, as a fraction of what bounds it.

An iteration is one of EM from given parameters, on rows that are on the device already: a pass and
the global step, the mean of as many as last some time. Bounds are the necessary operations at the
rate of the unit that is to do them (float32 60 TFLOP/s, three products of TF32 165, float64 by
tensor cores 60), or the bytes of the rows at 4.3 TB/s, if that is longer. PyTorch's iteration
(cuda_peer.py) starts from the same parameters, with TF32 allowed and without. Its times count where
its evidence a row is ours to 1e-3 nats: the faster one is named.

"Dense" is the part of responsibilities that are not zero: rows that have nothing of a component are
left out of its second moments. Parts of an iteration are differences of passes that leave parts
out, log-joints with their log-sum-exp; kernels are as PyTorch's profiler lists them. With tensor
cores and without, passes are of rows that have something of every component. The bound of the fit
with k-means is that of its iterations alone, and PyTorch makes them from the second on.

``--json-file`` is a file that all numbers are written to, after each of them, so that a run that is
ended has those that it came to. ``--module`` is a module _vbfast_cuda that was built elsewhere.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib.util
import json
import math
import re
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.backends import get_backend
from vbfast.backends.cuda import extension
from vbfast.backends.native.passes import FORMS
from vbfast.benchmark.cases import Case
from vbfast.benchmark.machine import machine
from vbfast.benchmark.patches import photographs, training_rows
from vbfast.benchmark.timing import seconds
from vbfast.contract import Request, RowOutputs
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.gaussian import Gaussian
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.inference.em import Stopping, run_em
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

# Operations a second, and bytes.
RATES = {"float32": 60e12, "3xTF32": 165e12, "float64 tensor": 60e12}
BANDWIDTH = 4.3e12
AGREEMENT = 1e-3  # nats a row


@dataclass(frozen=True)
class Aim:
    """A row of the table: a case, what is aimed at, and the unit that bounds it."""

    case: Case
    dtype: str
    unit: str
    seconds: float
    e_step: bool = False  # alone

    @property
    def name(self):
        case, part = self.case, ", E-step" if self.e_step else ""
        return (f"{case.covariance_type} {case.n_samples:,} x {case.n_features}, "
                f"K = {case.n_components:,}, {self.dtype}{part}")  # fmt: skip

    @property
    def operations(self):
        # The E-step of spherical covariances has half of an iteration's.
        return self.case.operations() // (2 if self.e_step else 1)

    @property
    def bound(self):
        n_bytes = self.case.n_samples * self.case.n_features * np.dtype(self.dtype).itemsize
        return max(self.operations / RATES[self.unit], n_bytes / BANDWIDTH)


FULL_64 = Case("full_64", 1_000_000, 64, 256, "full")
AIMS = (
    Aim(FULL_64, "float32", "3xTF32", 30e-3),
    Aim(FULL_64, "float64", "float64 tensor", 60e-3),
    Aim(Case("full_16", 1_000_000, 16, 64, "full"), "float32", "float32", 1.5e-3),
    Aim(Case("diag_32", 1_000_000, 32, 128, "diag"), "float32", "float32", 1.2e-3),
    Aim(Case("sph_128", 1_000_000, 128, 1024, "spherical"), "float32", "float32", 10e-3, True),
)
PATCHES = Aim(Case("patches", 531_720, 63, 200, "full"), "float32", "3xTF32", 1.5)
PATCH_ITERATIONS = 30
ARRAY_SHAPE, ARRAY_AIM = (200_000, 256), 0.85  # of the bandwidth
FEATURES = (16, 24, 32, 48, 64, 128)


class Bench:
    """One run: its sizes, its record, and the device that it is on."""

    def __init__(self, repeats, json_file, quick):
        self.repeats, self.quick = repeats, quick
        self.turns = repeats if quick else repeats + 2  # those before are not timed
        self.json_file = Path(json_file) if json_file else None
        self.began = time.perf_counter()
        built = extension.load_extension().build_info()
        self.emulated = built["architectures"] == "emulated"
        self.record = {
            "machine": machine(),
            "date": str(dt.date.today()),
            "quick": quick,
            "device": extension.describe_device(),
        }
        self.torch_device = self._find_torch()

    def _find_torch(self):
        """Return the device that PyTorch has, 'cpu' where ours is too, or None."""
        try:
            import torch
        except ImportError as error:
            self.record["torch"] = f"none: {error}"
            return None
        there = torch.cuda.is_available()
        self.record["torch"] = torch.__version__ if there else f"{torch.__version__}, no device"
        if there and not self.emulated:
            return "cuda"
        return "cpu" if self.emulated else None

    def keep(self, table, **entry):
        """Add to a table of the record, say so, and write the record."""
        self.record.setdefault(table, []).append(entry)
        elapsed = time.perf_counter() - self.began
        print(f"{elapsed:6.1f} s  {table}: {entry}", file=sys.stderr, flush=True)
        if self.json_file:
            self.json_file.write_text(json.dumps(self.record, indent=1) + "\n")

    def attempt(self, table, name, measured):
        """Keep what a measurement returns or, so that others go on, how it has failed."""
        try:
            entry = measured()
        except Exception as error:  # of a device, whose errors are of any kind
            entry = {"error": f"{type(error).__name__}: {error}"}
        self.keep(table, name=name, **entry)

    def sized(self, aim):
        """Return the aim, or one of a few rows."""
        if not self.quick:
            return aim
        features, components = min(aim.case.n_features, 40), min(aim.case.n_components, 4)
        small = replace(
            aim.case, n_samples=300, n_features=features, n_components=components, reg_covar=0.1
        )
        return replace(aim, case=small)

    def mean_seconds(self, call):
        """Return the median of some times of a call of ``n`` times something, each by one."""
        least = 0.0 if self.quick else 0.3
        call(1)  # and memory is there, and the kernels are loaded
        n = min(100, max(1, math.ceil(least / max(seconds(lambda: call(1)), 1e-6))))
        return float(np.median([seconds(lambda: call(n)) / n for _ in range(self.repeats)]))


@functools.lru_cache(maxsize=1)
def rows_of(case, dtype):
    return case.rows(dtype)


def start_of(case, spread=0.7):
    given = case.start(spread)
    return GaussianParameters.from_precisions(
        case.covariance_type, given["weights_init"], given["means_init"], given["precisions_init"]
    )


# Iterations, beside the peer's.


def time_aim(bench, aim):
    case = aim.case
    rows, parameters = rows_of(case, aim.dtype), start_of(case)
    runner = LocalRunner(as_row_source(rows), backend="cuda")
    objective = Gaussian(case.covariance_type, case.reg_covar)
    evidences = {}

    def iterate(n):
        if aim.e_step:
            for _ in range(n):
                found = runner.run(parameters.log_joint(), Request())
            evidences[n] = found.log_evidence / len(rows)
        else:
            found = run_em(runner, parameters, objective, Stopping(-np.inf, n))
            assert found.n_iter == n
            evidences[n] = found.lower_bound

    ours = bench.mean_seconds(iterate)
    compared = 1 if aim.e_step else 3
    iterate(compared)
    return {
        "seconds": ours,
        "bound": aim.bound,
        "aim": aim.seconds,
        "dense": dense_part(runner, parameters, rows),
        **time_peer(bench, rows, parameters, case, evidences[compared], compared, aim.e_step),
    }


def dense_part(runner, parameters, rows):
    """Return which part of the responsibilities of some rows is not zero."""
    some = LocalRunner(as_row_source(rows[:20_000]), backend=runner.backend_name)
    resp = np.empty((some.n_samples, parameters.n_components), rows.dtype)
    some.run(parameters.log_joint(), Request(), outputs=RowOutputs(resp=resp))
    return float(np.mean(resp > 0))


def time_peer(bench, rows, parameters, case, evidence, n_iterations, e_step=False):
    """Return the fastest of the peer's settings that comes to our evidence."""
    if bench.torch_device is None:
        return {"peer_seconds": None, "peer": bench.record["torch"]}
    import torch

    peer = load_module("cuda_peer", Path(__file__).with_name("cuda_peer.py")).TorchMixture(
        rows, parameters, case.reg_covar, bench.torch_device
    )
    fastest, apart = {"peer_seconds": None, "peer": None}, {}
    for precision in ("highest", "high") if rows.dtype == np.float32 else ("highest",):
        torch.set_float32_matmul_precision(precision)
        name = "TF32" if precision == "high" else rows.dtype.name
        apart[name] = abs(peer.iterate(n_iterations, moments=not e_step) - evidence)
        if not apart[name] < AGREEMENT:
            continue
        took = bench.mean_seconds(lambda n: peer.iterate(n, moments=not e_step))
        if fastest["peer_seconds"] is None or took < fastest["peer_seconds"]:
            fastest = {"peer_seconds": took, "peer": name}
    torch.set_float32_matmul_precision("highest")
    return {**fastest, "evidence": evidence, "peer_apart": apart}


def time_patches(bench, aim):
    """Time a fit of the demo's rows, from k-means on, and the peer's iterations after the first."""
    case = aim.case
    rows = case.rows(aim.dtype) if bench.quick else training_rows(photographs(), None, aim.dtype, 0)
    assert rows.shape == (case.n_samples, case.n_features)
    n_iterations = 3 if bench.quick else PATCH_ITERATIONS

    def fit(max_iter):
        mixture = vbfast.GaussianMixture(
            case.n_components, random_state=0, tol=0.0, max_iter=max_iter,
            reg_covar=case.reg_covar, backend="cuda",
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            took = seconds(lambda: mixture.fit(rows))
        return mixture, took

    fit(1)
    first, to_first = fit(1)
    last, whole = fit(n_iterations)
    reached = (first.weights_, first.means_, first.precisions_)
    parameters = GaussianParameters.from_precisions(
        "full", *(np.asarray(array, np.float64) for array in reached)
    )
    more = last.n_iter_ - 1
    peer = time_peer(bench, rows, parameters, case, last.lower_bound_, more)
    if peer["peer_seconds"] is not None:  # of one iteration
        peer["peer_seconds"] *= more
    later = {"seconds": whole - to_first, "bound": more * aim.bound, **peer}
    return {
        "seconds": whole,
        "bound": last.n_iter_ * aim.bound,
        "aim": aim.seconds,
        "iterations": last.n_iter_,
        "later": {"name": f"of these iterations the {more} after the first", **later},
    }


# An array function on an array that is there.


def time_logsumexp(bench, shape):
    import torch

    x = torch.randn(shape, device=bench.torch_device)
    wait = torch.cuda.synchronize if bench.torch_device == "cuda" else bool

    def repeated(function):
        def call(n):
            for _ in range(n):
                function()
            wait()

        return call

    entry = {"bound": x.numel() * 4 / BANDWIDTH, "aim": x.numel() * 4 / BANDWIDTH / ARRAY_AIM}
    entry["peer_seconds"] = bench.mean_seconds(repeated(lambda: torch.logsumexp(x, dim=1)))
    entry["peer"] = "float32"
    with vbfast.config_context(backend="cuda"):
        entry["seconds"] = bench.mean_seconds(repeated(lambda: vbfast.logsumexp(x, axis=1)))
    return entry


# Where the time of an iteration goes.


def time_pass(bench, rows, log_joint, moments, tensor_cores=None):
    """Return median seconds of a pass on resident rows, and of what surrounds it."""
    module, workspace = extension.load_extension(), rows.workspace
    form, coefficients = FORMS[type(log_joint.form)](log_joint.form)
    K = log_joint.n_components
    blocking = get_backend("cuda").blocking(*rows.host.shape, K, rows.host.dtype, moments)
    arguments = (
        form, np.ascontiguousarray(log_joint.offset), np.ascontiguousarray(log_joint.form.centres),
        np.ascontiguousarray(coefficients), "posterior", moments or "none", False,
        rows.host.dtype == np.float32, blocking.bounds, (None,) * 7, workspace,
    )  # fmt: skip
    times = []
    for _ in range(bench.turns):
        turn = [time.perf_counter()]
        estep = module.EStep(*arguments, tensor_cores=tensor_cores)
        turn.append(time.perf_counter())
        estep.run([(0, rows.host, None, None)])
        turn.append(time.perf_counter())
        if moments is not None:
            estep.statistics()
        turn.append(time.perf_counter())
        times.append(np.diff(turn))
    begin, run, merge = np.median(times[bench.turns - bench.repeats :], axis=0)
    return float(begin), float(run), float(merge)


class Resident:
    """Rows with their copy on the device."""

    def __init__(self, rows):
        self.workspace = extension.load_extension().Workspace()
        self.source = get_backend("cuda").adopt(as_row_source(rows))
        self.host = self.source.in_memory


def time_parts(bench, aim):
    case = aim.case
    rows, parameters = rows_of(case, aim.dtype), start_of(case)
    log_joint, moments = parameters.log_joint(), MOMENTS_OF[case.covariance_type]
    resident = Resident(rows)
    copy = seconds(lambda: extension.load_extension().DeviceRows(rows))
    _, evidence, _ = time_pass(bench, resident, log_joint, None)
    _, first, _ = time_pass(bench, resident, log_joint, "first")
    begin, whole, merge = time_pass(bench, resident, log_joint, moments)
    runner = LocalRunner(as_row_source(rows), backend="cuda")
    objective = Gaussian(case.covariance_type, case.reg_covar)
    sums = runner.run(log_joint, Request(moments=moments))

    def global_step(n):
        for _ in range(n):
            objective.global_step(sums, parameters, runner.linalg).log_joint()

    return {
        "parameters": begin,
        "log_joints": evidence,
        "first_moments": first - evidence,
        "second_moments": whole - first,
        "merging": merge,
        "global_step": bench.mean_seconds(global_step),
        "copy_of_rows": copy,
        "kernels": kernel_seconds(bench, lambda: time_pass(bench, resident, log_joint, moments)),
    }


def kernel_seconds(bench, call):
    """Return seconds of each kernel and copy in one pass, longest first."""
    if bench.torch_device != "cuda":
        return {}
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.zeros(1, device="cuda")
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        call()
        torch.cuda.synchronize()
    times = {}
    for event in found.key_averages():
        name = short_name(event.key)
        times[name] = times.get(name, 0.0) + 1e-6 * event.self_device_time_total / bench.turns
    return dict(sorted(times.items(), key=lambda item: -item[1])[:8])


def short_name(kernel):
    """Return the name of a kernel without namespaces and arguments."""
    kernel = re.sub(r"^void |\(anonymous namespace\)::|\w+::", "", kernel)
    kernel = re.sub(r"\(\w+\)(?=\d)", "", kernel)  # what a number of an enum begins with
    return kernel.partition("(")[0].strip()


def time_tensor_cores(bench, n_features, dtype):
    n_rows, K = (200, 3) if bench.quick else (200_000, 64)
    case = Case("full", n_rows, n_features, K, "full")
    # So close to each other that every row has something of all of them.
    resident, log_joint = Resident(case.rows(dtype, 0.1)), start_of(case, 0.1).log_joint()
    entry = {}
    for units, wanted in (("plain", False), ("tensor", True)):
        _, evidence, _ = time_pass(bench, resident, log_joint, None, wanted)
        _, first, _ = time_pass(bench, resident, log_joint, "first", wanted)
        _, whole, _ = time_pass(bench, resident, log_joint, "full", wanted)
        entry |= {f"{units}_log_joints": evidence, f"{units}_second_moments": whole - first}
    return entry


# What PyTorch finds the device able to do.


def time_ceiling(bench, name):
    import torch

    size = 64 if bench.quick else 8192
    device = bench.torch_device
    wait = torch.cuda.synchronize if device == "cuda" else bool
    if name == "copy":
        x = torch.randn(1 << (10 if bench.quick else 30), device=device)
        y, work = torch.empty_like(x), 8 * x.numel()
        take = lambda: y.copy_(x)  # noqa: E731
    else:
        dtype = torch.float64 if name == "float64" else torch.float32
        torch.set_float32_matmul_precision("high" if name == "TF32" else "highest")
        x, work = torch.randn(size, size, device=device, dtype=dtype), 2 * size**3
        y = torch.empty_like(x)
        take = lambda: torch.mm(x, x, out=y)  # noqa: E731

    def call(n):
        for _ in range(n):
            take()
        wait()

    took = bench.mean_seconds(call)
    torch.set_float32_matmul_precision("highest")
    return {"seconds": took, "rate": work / took}


# Tables of the record.


def milliseconds(entry, key):
    value = entry.get(key)
    return measure.MISSING if value is None else f"{1e3 * value:.3f}"


def iteration_table(record):
    lines = []
    entries = [*record["iterations"], *record.get("logsumexp", [])]
    entries = [each for entry in entries for each in (entry, entry.get("later")) if each]
    for entry in entries:
        if "error" in entry:
            lines.append([entry["name"], entry["error"], *[""] * 7])
            continue
        peer = entry.get("peer_seconds")
        lines.append(
            [entry["name"], milliseconds(entry, "seconds"), milliseconds(entry, "aim"),
             milliseconds(entry, "bound"), f"{entry['bound'] / entry['seconds']:.2f}",
             measure.cell(entry.get("dense"), 2), milliseconds(entry, "peer_seconds"),
             measure.MISSING if peer is None else entry["peer"],
             measure.speed_up(peer, entry["seconds"])]
        )  # fmt: skip
    header = ["case", "ms", "aim ms", "bound ms", "fraction", "dense", "PyTorch ms", "in",
              "speed-up"]  # fmt: skip
    return measure.Table(header, lines)


PARTS = ("parameters", "log_joints", "first_moments", "second_moments", "merging", "global_step",
         "copy_of_rows")  # fmt: skip


def parts_table(record):
    lines = [
        [entry["name"], *([entry["error"]] if "error" in entry else
                          [milliseconds(entry, part) for part in PARTS])]
        for entry in record["parts"]
    ]  # fmt: skip
    header = ["ms of", *(part.replace("_", " ") for part in PARTS)]
    return measure.Table(header, [line + [""] * (len(header) - len(line)) for line in lines])


def kernels_table(record):
    lines = [
        [entry["name"], name, f"{1e3 * took:.3f}"]
        for entry in record["parts"]
        for name, took in entry.get("kernels", {}).items()
    ]
    return measure.Table(["pass", "kernel", "ms"], lines)


UNITS = ("plain_log_joints", "tensor_log_joints", "plain_second_moments", "tensor_second_moments")


def tensor_cores_table(record):
    lines = []
    for entry in record["tensor_cores"]:
        if "error" in entry:
            lines.append([entry["name"], entry["error"], *[""] * 5])
            continue
        cells = [milliseconds(entry, key) for key in UNITS]
        for place, part in ((2, "log_joints"), (5, "second_moments")):
            cells.insert(place, measure.speed_up(entry[f"plain_{part}"], entry[f"tensor_{part}"]))
        lines.append([entry["name"], *cells])
    header = ["200,000 rows, K = 64", "log-joints ms", "tensor cores ms", "speed-up",
              "second moments ms", "tensor cores ms", "speed-up"]  # fmt: skip
    return measure.Table(header, lines)


def ceilings_table(record):
    lines = [
        [entry["name"], entry.get("error") or f"{entry['rate'] / 1e12:.2f}"]
        for entry in record.get("ceilings", [])
    ]
    return measure.Table(["PyTorch's", "TB/s or TFLOP/s"], lines)


def load_module(name, path):
    """Load a module of that name from a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def tables(*, repeats=3, json_file="", module="", quick=False):
    if module:
        load_module(extension.MODULE, module)
    try:
        extension.require_device()
    except (ImportError, extension.DeviceError) as error:
        return [f"Nothing was timed: {error}."]
    bench = Bench(repeats, json_file, quick)
    aims = [bench.sized(aim) for aim in AIMS]
    for aim in aims:
        bench.attempt("iterations", aim.name, functools.partial(time_aim, bench, aim))
        bench.attempt("parts", aim.name, functools.partial(time_parts, bench, aim))
    for dtype in ("float32", "float64"):
        for D in FEATURES:
            timed = functools.partial(time_tensor_cores, bench, D, dtype)
            bench.attempt("tensor_cores", f"D = {D}, {dtype}", timed)
    if bench.torch_device is not None:
        shape = (300, 16) if quick else ARRAY_SHAPE
        name = f"logsumexp {shape[0]:,} x {shape[1]}, float32"
        bench.attempt("logsumexp", name, functools.partial(time_logsumexp, bench, shape))
        for name in ("copy", "float32", "TF32", "float64"):
            bench.attempt("ceilings", name, functools.partial(time_ceiling, bench, name))
    patches = bench.sized(PATCHES)
    name = f"{patches.name}, k-means and {PATCH_ITERATIONS} iterations"
    bench.attempt("iterations", name, functools.partial(time_patches, bench, patches))
    record = bench.record
    device = f"{record['device']['cuda']}; PyTorch {record['torch']}; {record['machine']}."
    return [device, iteration_table(record), parts_table(record), kernels_table(record),
            tensor_cores_table(record), ceilings_table(record)]  # fmt: skip


if __name__ == "__main__":
    # NVIDIA's packages are called cuda as well: PyTorch is not to find this file in their place.
    del sys.path[0]
    measure.run_script(tables)
