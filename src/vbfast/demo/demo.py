"""Fit a mixture to patches, print its evidence, denoise with it."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from vbfast.benchmark.iterations import iteration_seconds, peer_iteration
from vbfast.benchmark.patches import HELD_OUT, photographs, training_rows
from vbfast.benchmark.timing import seconds
from vbfast.contract import FloatArray
from vbfast.demo.denoise import denoise, psnr
from vbfast.demo.picture import Bar, Panel, draw
from vbfast.estimators import GaussianMixture
from vbfast.optional import needed

NOISE = 25 / 255
REG_COVAR = 1e-6
# Patches that scikit-learn's iteration is timed on: enough for 200 covariances in float32.
PEER_PATCHES = 20_000


def run_demo(
    *,
    n_patches: int | None = 100_000,
    n_components: int = 200,
    max_iter: int = 200,
    dtype: str = "float32",
    seed: int = 0,
    output: Path = Path("vbfast-demo.png"),
) -> tuple[float, float]:
    """Run the demonstration and print what happens; the fit's progress goes to standard error.

    Parameters
    ----------
    n_patches : int or None
        Size of the subset, which leaves out the part that is denoised; ``None`` takes all 531,720
        patches, that part included.
    n_components, max_iter : int
    dtype : {'float32', 'float64'}
    seed : int
        Of the subset, the start and the noise.
    output : Path
        PNG: clean, noisy and denoised, side by side, and the seconds of an iteration.

    Returns
    -------
    before, after : float
        Peak signal-to-noise ratios, decibels.

    Raises
    ------
    ImportError
        If Pillow is not installed (extra ``cli``).
    """
    with needed("PIL", by="the picture"):
        importlib.import_module("PIL")
    from sklearn.exceptions import ConvergenceWarning

    images = photographs()
    rows = training_rows(images, n_patches, dtype, seed)
    print(f"{rows.shape[0]:,} patches of {rows.shape[1]} dimensions, {rows.dtype}", flush=True)
    model = GaussianMixture(
        n_components,
        covariance_type="full",
        max_iter=max_iter,
        reg_covar=REG_COVAR,
        random_state=seed,
        verbose=2,
        verbose_interval=1,
    )
    start = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below
        model.fit(rows)
    taken = time.perf_counter() - start
    state = "converged" if model.converged_ else "stopped"
    print(
        f"{n_components} components, {state} after {model.n_iter_} iterations and {taken:.1f} s: "
        f"evidence {model.lower_bound_:.3f} nats a patch",
        flush=True,
    )

    truth = images[1][HELD_OUT]
    noisy = truth + np.random.default_rng(seed).normal(scale=NOISE, size=truth.shape)
    restored = denoise(model, noisy, NOISE)
    before, after = psnr(noisy, truth), psnr(restored, truth)
    if n_patches is None:
        print("the part denoised below is among the patches of the fit")
    print(f"PSNR {before:.2f} dB noisy, {after:.2f} dB denoised", flush=True)
    bars = _iteration_bars(model, rows)
    for bar in bars:
        print(f"an iteration over all patches: {bar.name} {bar.figure} {bar.remark}".rstrip())
    draw(
        output,
        f"{n_components} Gaussians, fitted to {rows.shape[0]:,} patches of 8 x 8 pixels, "
        "as a prior for denoising",
        [
            Panel(truth, "clean", ""),
            Panel(noisy, "noisy", f"PSNR {before:.1f} dB"),
            Panel(restored, "denoised", f"PSNR {after:.1f} dB"),
        ],
        f"One EM iteration, {rows.dtype}, full covariances",
        bars,
    )
    print(f"wrote {output}")
    return before, after


def _iteration_bars(model: GaussianMixture, rows: FloatArray) -> list[Bar]:
    """Time an iteration of ours and of scikit-learn's, from the fitted parameters."""
    start: dict[str, Any] = {
        "n_components": model.n_components,
        "weights_init": model.weights_.astype(np.float64) / model.weights_.sum(dtype=np.float64),
        "means_init": model.means_.astype(np.float64),
        "precisions_init": model.precisions_.astype(np.float64),
        "reg_covar": REG_COVAR,
        "tol": 0.0,
    }
    some = rows[:: max(1, len(rows) // PEER_PATCHES)][:PEER_PATCHES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one iteration does not converge
        ours = iteration_seconds(GaussianMixture(**start), rows, 2)
        iteration = peer_iteration(start, some)
        bars = [Bar("vbfast", ours)]
        if iteration is None:
            print(f"scikit-learn's fit fails on these patches in {rows.dtype}")
            return bars
        theirs = seconds(iteration) * len(rows) / len(some)
    times = f"{theirs / ours:.0f} times as long"
    if len(some) < len(rows):
        times += f", scaled from {len(some):,} patches"
    return [*bars, Bar("scikit-learn", theirs, f"({times})")]
