"""Show that fits of this tree have the bits that those of another commit have.

Builds the other commit in a temporary worktree, fits every type, dtype, weighting and both
estimators at each instruction-set level with both, and names what differs. Takes some minutes.

    python bench/same_bits.py            # changes that are not committed
    python bench/same_bits.py --commit HEAD~1
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import subprocess
import sys
import warnings
from pathlib import Path

from checkouts import ROOT, add_options, environment, other_checkout

ATTRIBUTES = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_cholesky_",
    "lower_bounds_",
    "degrees_of_freedom_",
    "mean_precision_",
)


def digest(*values) -> str:
    import numpy as np

    found = hashlib.sha256()
    for value in values:
        array = np.ascontiguousarray(value)
        found.update(str((array.dtype, array.shape)).encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


def fits() -> dict[str, str]:
    """Return a hash for every fit, and for what it says of the rows."""
    import numpy as np

    import vbfast

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    centres = 4.0 * rng.normal(size=(5, 6))
    X = centres[rng.integers(5, size=3000)] + rng.normal(size=(3000, 6)) * rng.uniform(0.5, 2, 6)
    weights = rng.integers(0, 4, size=3000).astype(float)
    found = {}
    choices = itertools.product(
        ("GaussianMixture", "BayesianGaussianMixture"),
        ("full", "tied", "diag", "spherical"),
        ("float64", "float32"),
        (None, weights),
        ("kmeans", "random"),
        (None, "squarem"),
    )
    for name, kind, dtype, weight, start, accelerate in choices:
        mixture = getattr(vbfast, name)(
            7,
            covariance_type=kind,
            init_params=start,
            accelerate=accelerate,
            max_iter=30,
            tol=1e-6,
            random_state=0,
        )
        rows = X.astype(dtype)
        mixture.fit(rows, sample_weight=weight)
        case = f"{name} {kind} {dtype} {start} {accelerate} weighted={weight is not None}"
        attributes = [getattr(mixture, a) for a in ATTRIBUTES if hasattr(mixture, a)]
        found[case] = digest(*(np.asarray(value) for value in attributes))
        terms = mixture.elbo(rows, sample_weight=weight)
        said = [mixture.predict(rows), mixture.predict_proba(rows), mixture.score_samples(rows)]
        numbers = [terms.elbo, terms.entropy, terms.log_evidence]
        found[f"{case}: rows"] = digest(*said, mixture.log_joint(rows), np.array(numbers))
        if name == "GaussianMixture":
            _, gradient = mixture.log_evidence_and_grad(rows, sample_weight=weight, wrt_x=True)
            found[f"{case}: gradient"] = digest(*vars(gradient).values())
    # One component far away, an outlier, many components of which few matter, wide rows.
    far = np.concatenate([X, [[1e9] * 6]])
    wide = rng.normal(size=(700, 70)) + 5.0 * rng.integers(2, size=(700, 1))
    EM, VB = vbfast.GaussianMixture, vbfast.BayesianGaussianMixture
    for case, rows, of_class, arguments in (
        ("far", far, EM, {"n_components": 4, "covariance_type": "diag"}),
        ("negligible", X, VB, {"n_components": 40}),
        ("wide", wide, VB, {"n_components": 3}),
        ("many", X, VB, {"n_components": 300, "covariance_type": "diag"}),
    ):
        for dtype in ("float64", "float32"):
            mixture = of_class(**arguments, max_iter=20, random_state=0)
            mixture.fit(rows.astype(dtype))
            found[f"{case} {dtype}"] = digest(mixture.means_, np.array(mixture.lower_bounds_))
    return found


def levels(source: Path) -> list[str]:
    code = "from vbfast.info import configuration; print(*configuration()['simd_available'])"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment(source), **_READ
    ).stdout.split()


_READ = {"check": True, "capture_output": True, "text": True}


def hashes(source: Path, level: str) -> dict[str, str]:
    command = [sys.executable, str(ROOT / "bench" / "same_bits.py"), "--fits"]
    run = subprocess.run(command, env=environment(source, level), cwd=source, **_READ)
    return json.loads(run.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--fits", action="store_true", help="print the hashes of this process")
    options = parser.parse_args()
    if options.fits:
        print(json.dumps(fits()))
        return 0
    differing = 0
    with other_checkout(options) as other:
        for level in levels(ROOT):
            ours, theirs = hashes(ROOT, level), hashes(other, level)
            different = [case for case in theirs if ours.get(case) != theirs[case]]
            print(f"{level}: {len(theirs) - len(different)} of {len(theirs)} have equal bits")
            print("".join(f"  differs: {case}\n" for case in different), end="")
            differing += len(different)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
