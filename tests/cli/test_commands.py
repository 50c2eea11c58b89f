from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vbfast import BayesianGaussianMixture, GaussianMixture, load
from vbfast.cli import main
from vbfast.cli.data import load_rows, load_weights


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 3)) + 4 * rng.integers(2, size=(300, 1))


def write(path, rows):
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        np.savez(path, rows=rows, other=rows[:, :1])
    elif path.suffix == ".csv":
        np.savetxt(path, rows, delimiter=",", header="a,b,c", comments="", fmt="%.17g")
    elif path.suffix == ".zarr":
        group = pytest.importorskip("zarr").open_group(str(path), mode="w")
        group.create_array("group/rows", data=rows)
        group.create_array("other", data=rows[:, :1])
    elif path.suffix == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["group/rows"] = rows
            file["other"] = rows[:, :1]
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(dict(zip("abc", rows.T, strict=True))), path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet", ".h5", ".zarr"])
def test_fit_and_score_agree_with_the_estimator(tmp_path, capsys, rows, suffix):
    data, model = tmp_path / f"data{suffix}", tmp_path / "model.npz"
    write(data, rows)
    name = {".npz": "rows", ".h5": "/group/rows", ".zarr": "group/rows"}.get(suffix)
    key = [] if name is None else ["--key", name]
    fit = ["fit", str(data), "-k", "2", "--seed", "0", "-q", "-o", str(model), *key]
    assert main(fit) == 0
    expected = GaussianMixture(2, random_state=0).fit(rows)
    assert f"evidence {expected.score(rows):.6f} nats a row" in capsys.readouterr().out
    evidence, labels = tmp_path / "evidence.npy", tmp_path / "labels.npy"
    outputs = ["-o", str(evidence), "--labels", str(labels)]
    assert main(["score", str(model), str(data), *outputs, *key]) == 0
    np.testing.assert_allclose(np.load(evidence), expected.score_samples(rows), rtol=1e-12)
    np.testing.assert_array_equal(np.load(labels), expected.predict(rows))


def test_weights_and_dtype(tmp_path, capsys, rows):
    data, weights, model = (tmp_path / name for name in ("x.npy", "w.npy", "m.npz"))
    np.save(data, rows)
    np.save(weights, np.arange(300.0))
    options = ["--weights", str(weights), "--dtype", "float32", "--covariance", "diag", "-q"]
    assert main(["fit", str(data), "-k", "2", "--seed", "1", "-o", str(model), *options]) == 0
    assert "float32" in capsys.readouterr().out
    expected = GaussianMixture(2, covariance_type="diag", random_state=1).fit(
        rows.astype(np.float32), sample_weight=np.arange(300.0)
    )
    with np.load(model) as archive:
        np.testing.assert_array_equal(archive["means"], expected.means_)
        assert archive["means"].dtype == np.float32


@pytest.mark.parametrize("bayesian", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e305])  # the sum of w * evidence overflows
def test_score_takes_weights(tmp_path, capsys, rows, bayesian, scale):
    weights = np.arange(300.0) % 4 * scale
    fit = ["fit", "rows.npy", "-k", "2", "--seed", "0", "-q", "-o", "model.npz"]
    paths = {name: str(tmp_path / name) for name in ("rows.npy", "weights.npy", "model.npz")}
    np.save(paths["rows.npy"], rows)
    np.save(paths["weights.npy"], weights)
    assert main([paths.get(word, word) for word in fit] + bayesian * ["--bayesian"]) == 0
    capsys.readouterr()
    score = ["score", paths["model.npz"], paths["rows.npy"]]
    assert main([*score, "--weights", paths["weights.npy"]]) == 0
    printed = capsys.readouterr().out
    model = load(paths["model.npz"])
    evidence = model.log_predictive_density(rows) if bayesian else model.score_samples(rows)
    expected = sum(w * value for w, value in zip(np.arange(300) % 4, evidence, strict=True)) / sum(
        np.arange(300) % 4
    )
    assert f" {expected:.6f} nats a row, 300 rows of weight {weights.sum():.6g}\n" in printed
    if scale == 1.0 and not bayesian:
        np.testing.assert_allclose(expected, model.score(rows, sample_weight=weights), rtol=1e-12)
    assert main(score) == 0
    assert f" {evidence.mean():.6f} nats a row, 300 rows\n" in capsys.readouterr().out


def test_a_row_of_zero_weight_does_not_count_in_the_score(tmp_path, capsys, rows):
    """Nor does its evidence, which is -inf for a row far from everything."""
    data, weights, model = (tmp_path / name for name in ("x.npy", "w.csv", "m.npz"))
    np.save(data, rows)
    assert main(["fit", str(data), "-k", "1", "-q", "-o", str(model)]) == 0
    capsys.readouterr()
    np.save(data, np.vstack([rows, np.full((1, 3), 1e200)]))
    score = ["score", str(model), str(data)]
    assert main(score) == 0
    assert "evidence -inf nats" in capsys.readouterr().out
    np.savetxt(weights, np.arange(301) < 300)
    assert main([*score, "--weights", str(weights)]) == 0
    expected = load(model).score(rows)
    assert f"evidence {expected:.6f} nats a row, 301 rows of weight 300" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(299), r"sample_weight.shape == (299,), expected (300,): one weight a row"),
        (np.zeros(300), "all weights are zero"),
        (-np.ones(300), "row 0 has -1.0"),
        (np.ones((300, 2)), "expected one column"),
    ],
)
def test_wrong_weights_of_a_score(tmp_path, capsys, rows, weights, message):
    np.save(tmp_path / "x.npy", rows)
    np.save(tmp_path / "w.npy", weights)
    fit = ["fit", str(tmp_path / "x.npy"), "-k", "1", "-q", "-o", str(tmp_path / "m.npz")]
    assert main(fit) == 0
    capsys.readouterr()
    score = ["score", str(tmp_path / "m.npz"), str(tmp_path / "x.npy")]
    assert main([*score, "--weights", str(tmp_path / "w.npy")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
def test_a_key_is_of_an_archive(tmp_path, capsys, rows, suffix):
    data, model = tmp_path / f"x{suffix}", tmp_path / "m.npz"
    write(data, rows)
    key = ["--key", "rows"]
    message = f"x{suffix}: --key rows names an array of an .npz, HDF5 or Zarr file, which this is"
    assert main(["fit", str(data), "-k", "1", "-q", *key]) == 1
    assert message in capsys.readouterr().err
    assert main(["fit", str(data), "-k", "1", "-q", "-o", str(model)]) == 0
    assert main(["score", str(model), str(data), *key]) == 1
    assert message in capsys.readouterr().err


def test_an_archive_of_several_arrays(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.ones((2, 1)), b=np.ones(2))
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"two\.npz: holds a, b; choose one with --key"):
        load_rows(tmp_path / "two.npz")
    with pytest.raises(ValueError, match=r"two\.npz: has no array 'c', only a, b"):
        load_rows(tmp_path / "two.npz", "c")
    # --key is of the rows.
    with pytest.raises(ValueError, match=r"two\.npz: holds a, b; expected one array"):
        load_weights(tmp_path / "two.npz")
    with pytest.raises(ValueError, match=r"none\.npz: holds no array"):
        load_rows(tmp_path / "none.npz")


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
def test_bayesian_fit_reports_terms_and_active_components(
    tmp_path, capsys, rows, covariance, prior
):
    data, path, scores = (tmp_path / name for name in ("x.npy", "m.npz", "s.npy"))
    np.save(data, rows)
    options = ["--covariance", covariance, "--weight-prior", prior, "--concentration", "0.01"]
    fit = ["fit", str(data), "-k", "4", "--bayesian", *options, "--seed", "0", "-q"]
    assert main([*fit, "--tol", "0.01", "-o", str(path)]) == 0
    printed = capsys.readouterr().out
    expected = BayesianGaussianMixture(
        4,
        covariance_type=covariance,
        weight_concentration_prior_type=prior,
        weight_concentration_prior=0.01,
        random_state=0,
        tol=0.01,
    ).fit(rows)
    terms = expected.elbo(rows)
    assert f"bound {terms.total:.6f} nats of the fitted posterior" in printed
    density = expected.log_predictive_density(rows).mean()
    assert f"predictive density {density:.6f} nats a row" in printed
    assert f"{terms.entropy:+.6f}" in printed
    assert f"{-terms.kl_components.sum():+.6f}" in printed
    assert f"active components {expected.n_active_components_} of 4" in printed
    assert "marginal likelihood" not in printed
    assert main([*fit, "--tol", "0.01", "--draws", "50"]) == 0
    estimate = expected.log_marginal_likelihood(rows, 50, random_state=0)
    printed = capsys.readouterr().out
    assert f"log marginal likelihood {estimate.value:.6f} nats" in printed
    assert estimate.advice in printed

    model = load(path)
    assert model.elbo(rows).total == terms.total
    assert model.elbo_ == expected.elbo_
    assert type(model.weight_concentration_) is type(expected.weight_concentration_)
    np.testing.assert_array_equal(model.predict_proba(rows), expected.predict_proba(rows))
    assert main(["score", str(path), str(data), "-o", str(scores)]) == 0
    assert "predictive density" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(scores), expected.log_predictive_density(rows))


def test_accelerated_fits_and_no_draws(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", rows)
    fit = ["fit", str(tmp_path / "x.npy"), "-k", "2", "-q", "--seed", "0", "--tol", "1e-6"]
    for extra in (["--bayesian"], []):
        assert main([*fit, *extra, "--accelerate", "squarem"]) == 0
        printed = capsys.readouterr().out
        assert " passes, converged" in printed
        assert "marginal likelihood" not in printed


@pytest.mark.filterwarnings("default:.*has the end of this very fit")
def test_batches_and_checkpoints(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", rows)
    kept = tmp_path / "kept.npz"
    fit = ["fit", str(tmp_path / "x.npy"), "-k", "2", "-q", "--batch-size", "50"]
    assert main([*fit, "--checkpoint", str(kept)]) == 0
    printed = capsys.readouterr().out
    expected = GaussianMixture(2, random_state=0, batch_size=50).fit(rows)
    assert np.array_equal(load(kept).means_, expected.means_)
    assert main([*fit, "--checkpoint", str(kept)]) == 0
    again = capsys.readouterr()
    assert again.out == printed
    assert "has the end of this very fit" in again.err
    assert main([*fit, "--checkpoint", str(tmp_path / "kept")]) == 2
    assert "--checkpoint" in capsys.readouterr().err


def test_truncated_fits_and_exact_scores(tmp_path, capsys, rows):
    data, model, out = (str(tmp_path / name) for name in ("x.npy", "m.npz", "out.npy"))
    np.save(data, rows)
    options = ["--truncation", "2", "-o", model, "--reg-covar", "0.1"]
    assert main(["fit", data, "-k", "20", "-q", *options]) == 0
    expected = GaussianMixture(20, truncation=2, reg_covar=0.1, random_state=0).fit(rows)
    line = f"evidence over 2 components a row, a lower bound, {expected.score(rows):.6f} nats a row"
    assert line in capsys.readouterr().out
    for extra, exact in ([], False), (["--exact"], True):
        assert main(["score", model, data, "-o", out, *extra]) == 0
        np.testing.assert_array_equal(np.load(out), expected.score_samples(rows, exact=exact))
        assert ("a lower bound" in capsys.readouterr().out) is not exact
    with pytest.raises(SystemExit, match="2"):
        main(["fit", data, "-k", "20", "--truncation", "few"])
    assert "--truncation" in capsys.readouterr().err


def test_options_of_a_prior_need_one(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", rows)
    fit = ["fit", str(tmp_path / "x.npy"), "-k", "2", "-q"]
    assert main([*fit, "--concentration", "1"]) == 2
    assert "--concentration needs a prior: add --bayesian" in capsys.readouterr().err
    assert main([*fit, "--draws", "50"]) == 2
    assert "--draws needs a posterior: add --bayesian" in capsys.readouterr().err


def test_too_few_draws_are_refused_before_the_fit(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", rows)
    fit = ["fit", str(tmp_path / "x.npy"), "-k", "2", "--bayesian", "-q", "--draws", "10"]
    assert main(fit) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "--draws must be 0 or at least 25; got 10" in printed.err


def test_the_model_is_written_before_the_draws(tmp_path, monkeypatch, rows):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(BayesianGaussianMixture, "log_marginal_likelihood", interrupted)
    data, model = tmp_path / "x.npy", tmp_path / "m.npz"
    np.save(data, rows)
    assert (
        main(["fit", str(data), "-k", "2", "--bayesian", "-q", "--draws", "50", "-o", str(model)])
        == 130
    )
    assert load(model).means_.shape == (2, rows.shape[1])


def test_a_file_of_another_class_is_no_model(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", rows)
    np.savez(tmp_path / "m.npz", model="KMeans")
    assert main(["score", str(tmp_path / "m.npz"), str(tmp_path / "x.npy")]) == 1
    assert "it names the class 'KMeans'" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "x.npy"), str(tmp_path / "x.npy")]) == 1
    assert "no .npz archive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.npy", None, "No such file"),
        ("rows.doc", "1", "expected .npy, .npz, .parquet, .h5, .hdf5, .zarr, .csv, .tsv, .txt"),
        ("rows.csv", "1,nan\n2,3\n", "row 0, column 1, counted from 0, is 'nan'"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert main(["fit", str(path), "-k", "1", "-q"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("vbfast fit: ")
    assert message in error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.npy", b"", "not what NumPy writes"),
        ("rows.npy", b"hello", "not what NumPy writes"),
        ("rows.npz", b"hello", "not what NumPy writes"),
        ("rows.npz", b"PK\x03\x04", "not what NumPy writes"),
        ("rows.parquet", b"hello", "Parquet"),
        ("rows.h5", b"hello", "no HDF5 file"),
    ],
)
def test_files_that_hold_no_table(tmp_path, name, content, message):
    pytest.importorskip({".parquet": "pyarrow", ".h5": "h5py"}.get(name[4:], "numpy"))
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.* ({message})"):
        load_rows(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".parquet"])
def test_damaged_files_are_refused_or_read(tmp_path, rng, rows, suffix):
    """With a byte flipped, numbers may be others, but there is no other exception."""
    if suffix == ".npz":
        np.savez(tmp_path / "x.npz", rows[:20])
    elif suffix == ".h5":
        with pytest.importorskip("h5py").File(tmp_path / "x.h5", "w") as file:
            file["rows"] = rows[:20]
    else:
        write(tmp_path / f"x{suffix}", rows[:20])
    content = (tmp_path / f"x{suffix}").read_bytes()
    damaged, refused = tmp_path / f"damaged{suffix}", 0
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        damaged.write_bytes(changed)
        try:
            load_rows(damaged)
        except (ValueError, OSError):
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("value", [1j, "a"])
def test_arrays_that_are_no_real_numbers(tmp_path, value):
    np.save(tmp_path / "rows.npy", np.full((3, 2), value))
    with pytest.raises(ValueError, match="expected real numbers"):
        load_rows(tmp_path / "rows.npy")


def test_a_column_of_dates_is_named(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "day": pandas.to_datetime(["2020", "2021"])})
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"rows\.parquet: column 'day' is of type timestamp"):
        load_rows(tmp_path / "rows.parquet")


def test_weights_are_one_column_of_any_file(tmp_path):
    expected = np.arange(6.0)
    np.save(tmp_path / "line.npy", expected)
    np.save(tmp_path / "column.npy", expected[:, np.newaxis])
    np.savez(tmp_path / "line.npz", expected)
    np.savetxt(tmp_path / "column.csv", expected)
    for name in ("line.npy", "column.npy", "line.npz", "column.csv"):
        np.testing.assert_array_equal(load_weights(tmp_path / name), expected)
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"w": expected}), tmp_path / "column.parquet")
    with pytest.importorskip("h5py").File(tmp_path / "line.h5", "w") as file:
        file["w"] = expected
    pytest.importorskip("zarr").create_array(str(tmp_path / "line.zarr"), data=expected)
    for name in ("column.parquet", "line.h5", "line.zarr"):
        np.testing.assert_array_equal(load_weights(tmp_path / name), expected)
    np.save(tmp_path / "table.npy", expected.reshape(3, 2))
    with pytest.raises(ValueError, match=r"shape \(3, 2\); expected one column"):
        load_weights(tmp_path / "table.npy")


@pytest.mark.parametrize(
    ("suffix", "module"),
    [(".h5", "h5py"), (".parquet", "pyarrow"), (".zarr", "zarr")],
)
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, capsys, suffix, module):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / f"x{suffix}").touch()
    assert main(["fit", str(tmp_path / f"x{suffix}"), "-k", "2"]) == 1
    extra = {"h5py": "hdf5", "pyarrow": "parquet", "zarr": "zarr"}[module]
    kind = "folders" if module == "zarr" else "files"
    message = f"reading {suffix} {kind} needs {module}: pip install 'vbfast[{extra}]'"
    assert message in capsys.readouterr().err


def test_no_permission_is_said_before_the_fit(tmp_path, monkeypatch, capsys, rows):
    """Which the superuser always has, hence the replaced question for it."""
    np.save(tmp_path / "x.npy", rows)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    model = tmp_path / "m.npz"
    assert main(["fit", str(tmp_path / "x.npy"), "-k", "2", "-o", str(model)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"vbfast fit: cannot write {model}: no permission to write in {tmp_path.resolve()}\n"
    )


def test_where_nothing_can_be_written_nothing_is_fitted(tmp_path, capsys, rows):
    data, model = tmp_path / "x.npy", tmp_path / "m.npz"
    np.save(data, rows)
    nowhere = str(tmp_path / "nowhere" / "file.npz")
    assert main(["fit", str(data), "-k", "2", "-q", "-o", nowhere]) == 1
    assert main(["fit", str(data), "-k", "2", "-q", "-o", str(model)]) == 0
    capsys.readouterr()
    for option in ("-o", "--labels"):
        assert main(["score", str(model), str(data), option, f"{nowhere}.npy"]) == 1
    assert main(["demo", "--output", f"{nowhere}.png"]) == 1
    assert main(["bench", "--json", nowhere]) == 1
    assert main(["fit", str(data), "-k", "2", "-q", "-o", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("there is no folder") == 4
    assert f"cannot write {tmp_path}: it is a folder" in captured.err


@pytest.mark.skipif(sys.platform == "win32", reason="links are POSIX's")
def test_links_in_a_circle_are_an_error_of_one_line(tmp_path, capsys, rows):
    data, model, circle = (tmp_path / name for name in ("x.npy", "m.npz", "circle.npz"))
    np.save(data, rows)
    circle.symlink_to(circle)
    fit = ["fit", str(data), "-k", "2", "-q", "-o"]
    assert main([*fit, str(circle)]) == 1
    assert main([*fit, str(circle / "m.npz")]) == 1
    assert main([*fit, str(model)]) == 0
    capsys.readouterr()
    assert main(["score", str(circle), str(data)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(circle) in error
    assert circle.is_symlink()


def test_a_fit_that_does_not_converge_says_so_in_its_line(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", (10 * rows).astype(np.int32))
    assert main(["fit", str(tmp_path / "x.npy"), "-k", "2", "-q", "--max-iter", "1"]) == 0
    printed = capsys.readouterr().out
    assert "not converged" in printed
    assert "dtype float64" in printed  # that of the computation


def test_a_file_that_numpy_did_not_write_is_no_model(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", rows)
    for content in (b"", b"hello", b"PK"):
        (tmp_path / "m.npz").write_bytes(content)
        assert main(["score", str(tmp_path / "m.npz"), str(tmp_path / "x.npy")]) == 1
        assert "is no model file" in capsys.readouterr().err


@pytest.fixture
def model_arrays(tmp_path, rows):
    """A function that fits a mixture, and returns its file and the arrays in it."""

    def fit(*options):
        data, model = tmp_path / "x.npy", tmp_path / "m.npz"
        np.save(data, rows)
        assert main(["fit", str(data), "-k", "2", "-q", "-o", str(model), *options]) == 0
        with np.load(model) as archive:
            return model, dict(archive)

    return fit


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
def test_damaged_archives(tmp_path, capsys, model_arrays, rows, savez):
    model, arrays = model_arrays()
    savez(model, **arrays)
    savez(tmp_path / "x.npz", rows)
    for path in (model, tmp_path / "x.npz"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
    assert main(["score", str(model), str(tmp_path / "x.npy")]) == 1
    assert f"{model} is no model file: " in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"x\.npz: "):
        load_rows(tmp_path / "x.npz")


def test_scores_are_written_as_the_name_says(tmp_path, capsys, model_arrays, rows):
    model, _ = model_arrays()
    evidence, labels = tmp_path / "evidence.csv", tmp_path / "labels.NPY"
    outputs = ["-o", str(evidence), "--labels", str(labels)]
    assert main(["score", str(model), str(tmp_path / "x.npy"), *outputs]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {evidence}\nwrote {labels}\n")
    assert evidence.read_text().startswith("evidence\n-")
    expected = load(model)
    np.testing.assert_array_equal(load_rows(evidence).values[:, 0], expected.score_samples(rows))
    np.testing.assert_array_equal(np.load(labels), expected.predict(rows))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["fit", "x.npy", "-k", "2", "-o", "m.pkl"], "-o m.pkl: the name must end in .npz"),
        (["fit", "x.npy", "-k", "2", "-o", "model"], "-o model: the name must end in .npz"),
        (["score", "m.npz", "x.npy", "-o", "s.txt"], "-o s.txt: the name must end in .npy or"),
        (["score", "m.npz", "x.npy", "--labels", "l.npz"], "--labels l.npz: the name must end"),
        (["demo", "--output", "d.jpg"], "--output d.jpg: the name must end in .png"),
    ],
)
def test_names_that_promise_something_else(tmp_path, capsys, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert not list(tmp_path.iterdir())


def test_two_outputs_are_two_files(tmp_path, capsys, model_arrays, monkeypatch):
    model_arrays()
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    Path("there.npy").touch()
    Path("link.npy").symlink_to("there.npy")
    for one, other in (("s.npy", str(tmp_path / "s.npy")), ("there.npy", "link.npy")):
        assert main(["score", "m.npz", "x.npy", "-o", one, "--labels", other]) == 2
        assert f"-o and --labels name the same file, {other}" in capsys.readouterr().err
    assert not Path("s.npy").exists()


def test_no_input_is_overwritten(tmp_path, capsys, model_arrays, rows):
    model, _ = model_arrays()
    data, weights = tmp_path / "x.npy", tmp_path / "w.npy"
    np.save(weights, np.ones(300))
    (tmp_path / "folder").mkdir()
    roundabout = tmp_path / "folder" / ".." / "x.npy"
    capsys.readouterr()
    weighted = ["--weights", str(weights)]
    for path in (data, weights, roundabout):
        for option in ("-o", "--labels"):
            assert main(["score", str(model), str(data), *weighted, option, str(path)]) == 2
    archive = tmp_path / "x.npz"
    np.savez(archive, rows)
    assert main(["fit", str(archive), "-k", "2", "-q", "-o", str(archive)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("it is an input") == 7
    np.testing.assert_array_equal(np.load(data), rows)


def test_values_beyond_single_precision_are_an_error_and_no_warning(tmp_path, capsys, rows):
    rows[3] = 1e300, -1e300, 0.0
    np.save(tmp_path / "x.npy", rows)
    fit = ["fit", str(tmp_path / "x.npy"), "-k", "2", "-q", "--dtype", "float32"]
    assert main(fit) == 1
    error = capsys.readouterr().err
    assert "x.npy: row 3, column 0, counted from 0, is inf in float32" in error


@pytest.mark.parametrize("options", [[], ["--bayesian"], ["--max-iter", "1"]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_fit_and_score_print_the_same_line(tmp_path, capsys, rows, options, dtype, weighted):
    np.save(tmp_path / "x.npy", rows)
    np.save(tmp_path / "w.npy", np.arange(300.0) % 4)
    data = [str(tmp_path / "x.npy"), *weighted * ["--weights", str(tmp_path / "w.npy")]]
    model = str(tmp_path / "m.npz")
    assert main(["fit", *data, "-k", "3", "-q", "--dtype", dtype, "-o", model, *options]) == 0
    fitted = capsys.readouterr().out.splitlines()
    assert main(["score", model, *data]) == 0
    (scored,) = capsys.readouterr().out.splitlines()
    assert "nats a row, 300 rows" in scored
    assert scored in fitted


@pytest.mark.parametrize("command", ["fit", "score", "bench", "demo"])
def test_every_option_has_a_help_text(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = capsys.readouterr().out.split("options:\n")[1].splitlines()
    for line, after in zip(lines, [*lines[1:], "  -"], strict=True):
        if line.startswith("  -"):
            described = "  " in line.strip() or not after.startswith("  -")
            assert described, line


def test_info(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for name in ("version", "simd", "num_threads", "backends", "compiler"):
        assert name in printed


def test_module_and_unavailable_instruction_set():
    command = [sys.executable, "-m", "vbfast", "info"]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "VBFAST_SIMD": "mmx"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "VBFAST_SIMD=mmx: this machine has baseline" in result.stderr
