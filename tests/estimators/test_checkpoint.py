"""Fits that go on from a file after their process has ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture
from vbfast.atomic_file import written_whole
from vbfast.estimators import checkpoint as checkpoint_module
from vbfast.families import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

both_mixtures = pytest.mark.parametrize("make", [GaussianMixture, BayesianGaussianMixture])
WAYS = {
    "plain": {},
    "squarem": {"accelerate": "squarem"},
    "incremental": {"batch_size": 200, "batch_method": "incremental"},
    "stochastic": {"batch_size": 200},
    "three starts": {"n_init": 3, "init_params": "random"},
    "tied": {"covariance_type": "tied"},
}


class StoppedError(Exception):
    """What ends a fit in the middle."""


@pytest.fixture
def rows(rng):
    return 2.0 * rng.integers(3, size=(2000, 1)) + rng.normal(size=(2000, 3))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.npz"


def assert_same(one, other):
    names = [*one._stored.attributes, "lower_bounds_", "n_iter_", "n_passes_", "converged_"]
    for name in names:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def stopping_after(count):
    """Return a callback that raises at the last of so many calls."""
    calls = []

    def callback(iteration):
        calls.append(iteration)
        if len(calls) == count:
            raise StoppedError

    return callback


@pytest.mark.parametrize("way", WAYS)
@both_mixtures
def test_a_fit_goes_on_to_the_same_bits(rows, path, make, way):
    X = rows.astype(np.float32 if way in ("squarem", "stochastic") else np.float64)
    parameters = {"random_state": 0, "tol": 1e-6, "max_iter": 12, **WAYS[way]}
    whole = make(3, **parameters).fit(X)
    n_stopped = 0
    while True:
        mixture = make(3, checkpoint=path, checkpoint_interval=0, **parameters)
        try:
            mixture.fit(X, callback=stopping_after(3))
            break
        except StoppedError:
            n_stopped += 1
            so_far = vbfast.load(path)
            assert not so_far.converged_
            assert np.isfinite(so_far.score(X))
    assert n_stopped > 0
    assert_same(mixture, whole)
    assert_same(vbfast.load(path), whole)
    assert list(path.parent.iterdir()) == [path]


def test_a_random_state_that_is_shared_goes_on_as_well(rows, path):
    parameters = {"n_init": 3, "init_params": "random_from_data", "max_iter": 5}
    drawn = np.random.RandomState(3)
    whole = GaussianMixture(3, random_state=drawn, **parameters).fit(rows)
    for count in 7, 100:
        again = np.random.RandomState(3)
        mixture = GaussianMixture(
            3, random_state=again, checkpoint=path, checkpoint_interval=0, **parameters
        )
        try:
            mixture.fit(rows, callback=stopping_after(count))
        except StoppedError:
            assert count == 7
    assert_same(mixture, whole)
    assert again.randint(1000) == drawn.randint(1000)


@both_mixtures
def test_the_same_fit_again_returns_its_end(rows, path, make):
    mixture = make(3, random_state=0, checkpoint=str(path)).fit(rows)
    before = path.read_bytes()

    def callback(iteration):
        raise AssertionError("there is no iteration")

    again = make(3, random_state=0, checkpoint=str(path), backend="reference")
    with pytest.warns(UserWarning, match="has the end of this very fit") as caught:
        again.fit(rows, callback=callback)
    assert caught[0].filename == __file__
    assert_same(again, mixture)
    assert again.n_features_in_ == 3
    assert path.read_bytes() == before


def test_warm_starts_are_told_apart(rows, path):
    mixture = GaussianMixture(3, random_state=0, max_iter=2, warm_start=True)
    mixture.fit(rows).set_params(checkpoint=path, max_iter=3).fit(rows)
    with pytest.raises(ValueError, match="fit that it goes on from"):
        mixture.fit(rows)


def test_interval(rows, path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: now[0])
    times = []

    def callback(iteration):
        if path.exists():
            times.append((now[0], vbfast.load(path).n_iter_))
        now[0] += 20.0

    GaussianMixture(
        3, random_state=0, tol=0.0, max_iter=9, checkpoint=path, init_params="random"
    ).fit(rows, callback=callback)
    # Written 60 and 120 seconds after the beginning, as the third and the sixth iteration end.
    assert [n_iter for _, n_iter in times] == [3, 3, 3, 6, 6, 6]
    assert vbfast.load(path).n_iter_ == 9


def test_interruption_writes_what_was_reached(rows, path):
    def callback(iteration):
        if iteration.iteration == 4:
            raise KeyboardInterrupt

    parameters = {"random_state": 0, "tol": 0.0, "max_iter": 9, "init_params": "random"}
    mixture = GaussianMixture(3, checkpoint=path, **parameters)
    with pytest.raises(KeyboardInterrupt) as caught:
        mixture.fit(rows, callback=callback)
    assert caught.value.partial.n_iter_ == 4
    assert vbfast.load(path).n_iter_ == 3  # the last one that the callback let pass
    assert_same(mixture.fit(rows), GaussianMixture(3, **parameters).fit(rows))


@pytest.mark.parametrize("way", ["incremental", "stochastic"])
@both_mixtures
@pytest.mark.parametrize("n_written", [1, 4, 9, 10, 13])
def test_stopped_within_a_lap(rows, path, monkeypatch, make, way, n_written):
    """Ten batches a lap: the first lap still knows what its fit began with."""
    options = {"max_iter": 3, "tol": 0.0, "random_state": 0, **WAYS[way]}
    whole = make(3, **options).fit(rows)
    write, written = checkpoint_module.Checkpoint._write, []

    def stop(self, model, state):
        write(self, model, state)
        written.append(state)
        if len(written) == n_written:
            raise StoppedError

    options |= {"checkpoint": path, "checkpoint_interval": 0.0}
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_module.Checkpoint, "_write", stop)
        with pytest.raises(StoppedError):
            make(3, **options).fit(rows)
    assert_same(make(3, **options).fit(rows), whole)


PROGRAM = """
    import sys, warnings
    import numpy as np
    import vbfast
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    rows = 2.0 * rng.integers(5, size=(20_000, 1)) + rng.normal(size=(20_000, 4))
    mixture = vbfast.{name}(5, random_state=0, tol=0.0, checkpoint=sys.argv[1],
                            checkpoint_interval=0.0, {arguments})
    print("ready", flush=True)
    mixture.fit(rows)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("GaussianMixture", "max_iter=100"),
        ("BayesianGaussianMixture", "max_iter=3, batch_size=2000, batch_method='incremental'"),
    ],
)
def test_killed_at_any_moment(path, rng, name, arguments):
    """Ten times, at random; the bench has fifty, of more ways to fit."""
    program = textwrap.dedent(PROGRAM.format(name=name, arguments=arguments))

    def started():
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        return process

    with started() as process:
        begun = time.monotonic()
        assert process.wait() == 0
    whole, length = path.read_bytes(), time.monotonic() - begun
    path.unlink()
    n_killed = 0
    for _ in range(5):
        with started() as process:
            time.sleep(rng.uniform(0.0, 0.3 * length))
            process.send_signal(signal.SIGKILL)
            n_killed += process.wait() == -signal.SIGKILL
    assert n_killed > 0
    with started() as process:
        assert process.wait() == 0
    end = path.with_name("end.npz")
    end.write_bytes(whole)
    assert_same(vbfast.load(path), vbfast.load(end))
    assert {file.name for file in path.parent.iterdir()} == {path.name, end.name}


def test_a_file_that_a_killed_fit_left_is_removed(rows, path):
    seen = []

    def callback(iteration):
        with contextlib.suppress(StoppedError), written_whole(path) as file:
            seen.append(pathlib.Path(file.name))
            raise StoppedError

    GaussianMixture(3, random_state=0).fit(rows, callback=callback)
    # The name of a part of a file, whose process is gone; and one of another file.
    seen[0].write_bytes(b"half")
    other = path.with_name(".vbfast-0123456789ab-" + 16 * "0")
    other.write_bytes(b"half of another")
    GaussianMixture(3, random_state=0, checkpoint=path).fit(rows)
    assert set(path.parent.iterdir()) == {path, other}


class TestRefused:
    @pytest.fixture
    def stopped(self, rows, path):
        mixture = self.mixture(path)
        with pytest.raises(StoppedError):
            mixture.fit(rows, callback=stopping_after(2))
        return path

    def mixture(self, path, **parameters):
        parameters = {"random_state": 0, "tol": 0.0, "max_iter": 9, **parameters}
        return GaussianMixture(3, checkpoint=path, checkpoint_interval=0.0, **parameters)

    def refused(self, X, path, message, **parameters):
        sample_weight = parameters.pop("sample_weight", None)
        before = path.read_bytes()
        mixture = self.mixture(path, **parameters)
        with pytest.raises(ValueError, match=message) as caught:
            mixture.fit(X, sample_weight=sample_weight)
        assert "Remove it, or give another path" in str(caught.value)
        assert path.read_bytes() == before
        assert not hasattr(mixture, "means_")

    def test_other_rows(self, rows, stopped):
        self.refused(rows + 1e-9, stopped, "it is of other rows")
        self.refused(rows[:-1], stopped, "shape of X: 2000 x 3; this fit has 1999 x 3")
        self.refused(rows.astype(np.float32), stopped, "dtype: float64; this fit has float32")

    def test_other_weights(self, rows, stopped):
        weights = np.ones(2000)
        weights[7] = 2.0
        self.refused(rows, stopped, "sample_weight: None; this", sample_weight=weights)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("tol", 1e-3),
            ("max_iter", 10),
            ("covariance_type", "diag"),
            ("random_state", 1),
            ("means_init", np.zeros((3, 3))),
            ("init_params", "random"),
            ("batch_size", 100),
        ],
    )
    def test_other_arguments(self, rows, stopped, name, value):
        self.refused(rows, stopped, f"it is of a fit with {name}: ", **{name: value})

    def test_another_class(self, rows, stopped):
        mixture = BayesianGaussianMixture(3, random_state=0, checkpoint=stopped)
        with pytest.raises(ValueError, match="class: GaussianMixture; this fit has Bayesian"):
            mixture.fit(rows)

    def test_another_version(self, rows, stopped, monkeypatch):
        monkeypatch.setattr("vbfast.estimators.fingerprint.__version__", "99.0")
        self.refused(rows, stopped, "vbfast: .*; this fit has 99.0")

    def test_a_model_file(self, rows, path):
        GaussianMixture(3, random_state=0).fit(rows).save(path)
        self.refused(rows, path, "it is no checkpoint of a fit")

    @pytest.mark.parametrize("kept", [0, 10, 1000, -200, -1])
    def test_a_torn_file(self, rows, stopped, kept):
        stopped.write_bytes(stopped.read_bytes()[:kept])
        self.refused(rows, stopped, "cannot be gone on from")

    def test_a_foreign_file(self, rows, path):
        path.write_bytes(b"something else " * 100)
        self.refused(rows, path, "cannot be gone on from")
        np.savez(path, fingerprint=np.asarray("no JSON"), state=np.asarray("{}"))
        self.refused(rows, path, "cannot be gone on from")

    @pytest.mark.parametrize(
        "tree", ["[", '["Popen", ["args", "true"]]', '["array", "state_99"]', '["again", 5]', "7"]
    )
    def test_a_state_that_is_none(self, rows, stopped, tree):
        with np.load(stopped) as arrays:
            arrays = dict(arrays)
        arrays["state"] = np.asarray(tree)
        np.savez(stopped, **arrays)
        self.refused(rows, stopped, "cannot be gone on from.*state")

    def test_no_pickles(self, rows, stopped):
        with np.load(stopped) as arrays:
            arrays = dict(arrays)
        arrays["state_0"] = np.array([{}], dtype=object)
        np.savez(stopped, **arrays, allow_pickle=True)
        self.refused(rows, stopped, "cannot be gone on from")

    def test_paths_and_classes(self, rows, tmp_path):
        with pytest.raises(ValueError, match=r"checkpoint must end in \.npz"):
            self.mixture(tmp_path / "checkpoint").fit(rows)
        with pytest.raises(FileNotFoundError, match="no folder"):
            self.mixture(tmp_path / "no" / "checkpoint.npz").fit(rows)
        with pytest.raises(TypeError, match="GaussianMixture or BayesianGaussianMixture"):
            Mixture(Gaussian(), 3, checkpoint=tmp_path / "c.npz").fit(rows)
        with pytest.raises(ValueError, match="checkpoint_interval"):
            GaussianMixture(3, checkpoint_interval=-1.0).fit(rows)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_is_full(rows, path, monkeypatch, code):
    """It is warned of, the last file stays, and the fit goes on."""
    whole = GaussianMixture(3, random_state=0, tol=0.0, max_iter=6).fit(rows)
    synced, sync = [], os.fsync

    def fails_later(descriptor):
        synced.append(descriptor)
        if len(synced) > 3:  # two writings: each flushes the file and its folder
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_later)
    mixture = GaussianMixture(
        3, random_state=0, tol=0.0, max_iter=6, checkpoint=path, checkpoint_interval=0.0
    )
    with pytest.warns(RuntimeWarning, match=f"could not be written: {os.strerror(code)}") as caught:
        mixture.fit(rows)
    assert {warning.filename for warning in caught} == {__file__}
    assert_same(mixture, whole)
    assert list(path.parent.iterdir()) == [path]
    assert 0 < vbfast.load(path).n_iter_ < 6


class TestStream:
    @pytest.fixture
    def batches(self, rng):
        return [2.0 * rng.integers(3, size=(500, 1)) + rng.normal(size=(500, 3)) for _ in range(8)]

    @both_mixtures
    @pytest.mark.filterwarnings("ignore:total_samples is None")
    def test_it_is_gone_on_from(self, batches, path, make):
        whole = make(3, random_state=0)
        for batch in batches:
            whole.partial_fit(batch)
        mixture = make(3, random_state=0, checkpoint=path, checkpoint_interval=0.0)
        for batch in batches[:5]:
            mixture.partial_fit(batch)
        del mixture
        loaded = vbfast.load(path)
        assert loaded.n_batch_iter_ == 5
        for batch in batches[loaded.n_batch_iter_ :]:
            loaded.partial_fit(batch)
        assert loaded.n_batch_iter_ == 8
        assert np.array_equal(loaded.means_, whole.means_)
        assert np.array_equal(loaded.covariances_, whole.covariances_)
        assert vbfast.load(path).n_batch_iter_ == 8  # the path came with the file

    def test_interval(self, batches, path, monkeypatch):
        now, written = [0.0], []
        monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: now[0])
        mixture = GaussianMixture(3, random_state=0, checkpoint=path, checkpoint_interval=30.0)
        for batch in batches:
            mixture.partial_fit(batch)
            written.append(vbfast.load(path).n_batch_iter_)
            now[0] += 20.0
        assert written == [1, 1, 3, 3, 5, 5, 7, 7]

    def test_a_first_batch_does_not_replace_a_file(self, batches, path):
        GaussianMixture(3, random_state=0, checkpoint=path).partial_fit(batches[0])
        mixture = GaussianMixture(3, random_state=0, checkpoint=path)
        with pytest.raises(ValueError, match=r"is there already.*vbfast\.load"):
            mixture.partial_fit(batches[0])
        assert not hasattr(mixture, "means_")
        # A fit is no stream.
        with pytest.raises(ValueError, match="it is no checkpoint of a fit"):
            mixture.fit(batches[0])


def test_the_state_is_json_and_arrays(rows, path):
    with pytest.raises(StoppedError):
        GaussianMixture(3, random_state=0, checkpoint=path, checkpoint_interval=0.0).fit(
            rows, callback=stopping_after(2)
        )
    with np.load(path, allow_pickle=False) as arrays:
        read = {name: arrays[name] for name in arrays}
    fingerprint, state = (json.loads(str(read[name])) for name in ("fingerprint", "state"))
    assert fingerprint["shape of X"] == "2000 x 3"
    assert state[0] == "FitState"
    assert all(array.dtype.kind in "fiuU" or array.dtype == bool for array in read.values())
