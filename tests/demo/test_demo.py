from __future__ import annotations

import re
import sys

import numpy as np
import pytest

pytest.importorskip("PIL")

from vbfast import GaussianMixture
from vbfast.benchmark.patches import (
    HELD_OUT,
    SIDE,
    coordinates,
    photographs,
    subspace,
    training_positions,
)
from vbfast.demo.demo import run_demo
from vbfast.demo.denoise import posterior_mean


def test_all_patches_and_those_that_leave_the_held_out_part_alone():
    images = photographs()
    assert len(training_positions(images, hold_out=False)) == 531_720
    _, row, column = training_positions(images, hold_out=True)[-200_000:].T
    touched = np.zeros_like(images[1], dtype=bool)
    for i in range(SIDE):
        for j in range(SIDE):
            touched[row + i, column + j] = True
    assert not touched[HELD_OUT].any()


def test_coordinates_keep_lengths_and_drop_the_mean():
    patches = np.random.default_rng(0).normal(size=(10, 8, 8))
    centred = patches.reshape(10, 64) - patches.mean(axis=(1, 2))[:, np.newaxis]
    rows = coordinates(patches, subspace())
    np.testing.assert_allclose(rows @ subspace(), centred, atol=1e-12)


def test_posterior_mean_of_one_component_is_the_wiener_filter():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(500, 3)) * [1.0, 2.0, 3.0]
    model = GaussianMixture(1).fit(rows)
    clean = posterior_mean(model, rows, 2.0)
    covariance, mean = model.covariances_[0], model.means_[0]
    gain = covariance @ np.linalg.inv(covariance + 4.0 * np.eye(3))
    np.testing.assert_allclose(clean, mean + (rows - mean) @ gain.T, atol=1e-10)


def test_denoising_helps(tmp_path, capsys, monkeypatch):
    from PIL import Image, ImageDraw

    texts, write = [], ImageDraw.ImageDraw.text

    def recording(pen, place, text, **options):
        texts.append(text)
        write(pen, place, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recording)
    output = tmp_path / "demo.png"
    before, after = run_demo(n_patches=5000, n_components=10, output=output)
    assert 19.5 < before < 21.0
    assert after > before + 5.0
    printed = capsys.readouterr()
    assert "10 components, converged after " in printed.out
    assert f"PSNR {before:.2f} dB noisy, {after:.2f} dB denoised" in printed.out
    assert texts[0].startswith("10 Gaussians, fitted to 5,000 patches of 8 x 8 pixels")
    names = ["clean", "", "noisy", f"PSNR {before:.1f} dB", "denoised", f"PSNR {after:.1f} dB"]
    assert texts[1:7] == names
    assert texts[7].startswith("One EM iteration, ")
    assert texts[8::2] == ["vbfast", "scikit-learn"]
    for name, figure in zip(texts[8::2], texts[9::2], strict=True):
        words = f"an iteration over all patches: {name} {figure}"
        assert words.split() in [line.split() for line in printed.out.splitlines()]
    ours, theirs = (float(figure.split(" s")[0].replace(",", "")) for figure in texts[9::2])
    assert 0.0 <= ours < theirs
    assert re.search(r" s  \(\d+ times as long", texts[11])
    assert printed.out.endswith(f"wrote {output}\n")
    assert "Iteration 1\t" in printed.err
    assert "inf" not in printed.err
    with Image.open(output) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    # The images are enlarged, with a bar in colour below them.
    truth = photographs()[1][HELD_OUT]
    height, width = (3 * side for side in truth.shape)
    grey = np.uint8(np.round(255 * truth)).repeat(3, axis=0).repeat(3, axis=1)
    places = np.lib.stride_tricks.sliding_window_view(pixels[:, :200, 0], (1, 120))[:, :, 0]
    row, column = np.argwhere((places == grey[0, :120]).all(axis=-1))[0]
    np.testing.assert_array_equal(pixels[row : row + height, column : column + width, 1], grey)
    assert (pixels[row + height :] == (37, 99, 235)).all(axis=-1).any()


def test_a_missing_pillow_is_said_before_the_fit(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow: pip install 'vbfast\[cli\]'"):
        run_demo()
    assert capsys.readouterr().out == ""
