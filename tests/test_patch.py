"""scikit-learn's mixtures replaced by ours: in a process, for a program, and in IPython."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.mixture
from packaging.version import Version
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture as TheirBayesian
from sklearn.mixture import GaussianMixture as Theirs
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import vbfast
from vbfast import patch
from vbfast.estimators import drop_in

SAID = (
    "vbfast: sklearn.mixture.GaussianMixture and sklearn.mixture.BayesianGaussianMixture "
    "are now vbfast's\n"
)
NAMES = ["GaussianMixture", "BayesianGaussianMixture"]
OURS_ALONE = {
    "accelerate",
    "annealing",
    "backend",
    "batch_method",
    "batch_size",
    "checkpoint",
    "checkpoint_interval",
    "compute_bound_gap",
    "final_pass",
    "init_size",
    "learning_decay",
    "learning_offset",
    "n_neighbors",
    "n_random",
    "reseeding",
    "step_size",
    "total_samples",
    "truncation",
    "truncation_state",
}


@pytest.fixture
def patched():
    """scikit-learn, patched for the test."""
    vbfast.patch_sklearn(verbose=False)
    yield sklearn.mixture
    vbfast.unpatch_sklearn()


@pytest.fixture
def rows(rng):
    return np.concatenate([rng.normal(size=(60, 2)), rng.normal(size=(40, 2)) + 6.0])


def python(*arguments, folder=None, patched=False, **variables):
    path = [str(Path(vbfast.__file__).parents[1]), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables}
    command = [sys.executable, *(["-m", "vbfast.patch"] if patched else []), *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_names_are_replaced_and_given_back(capsys):
    vbfast.patch_sklearn()
    try:
        assert capsys.readouterr().err == SAID
        for name in NAMES:
            ours = getattr(sklearn.mixture, name)
            assert issubclass(ours, getattr(vbfast, name))
            assert ours.__name__ == name
            assert ours.__module__ == "vbfast.estimators.drop_in"
            assert ours.__doc__ == getattr(vbfast, name).__doc__
        assert sklearn.mixture._gaussian_mixture.GaussianMixture is drop_in.GaussianMixture
        bayesian = sklearn.mixture._bayesian_mixture.BayesianGaussianMixture
        assert bayesian is drop_in.BayesianGaussianMixture
        vbfast.patch_sklearn()
        assert capsys.readouterr().err == ""
    finally:
        vbfast.unpatch_sklearn()
    vbfast.unpatch_sklearn()
    assert sklearn.mixture.GaussianMixture is sklearn.mixture._gaussian_mixture.GaussianMixture
    assert sklearn.mixture.GaussianMixture is Theirs
    assert sklearn.mixture.BayesianGaussianMixture is TheirBayesian
    assert capsys.readouterr() == ("", "")


def test_threads_that_patch_and_unpatch_leave_all_or_nothing():
    def toggle():
        for _ in range(50):
            patch.patch_sklearn(verbose=False)
            patch.unpatch_sklearn()

    threads = [threading.Thread(target=toggle) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sklearn.mixture.GaussianMixture is Theirs
    assert sklearn.mixture._bayesian_mixture.BayesianGaussianMixture is TheirBayesian


def test_either_class_takes_the_others_objects_for_its_own(patched):
    ours, theirs = patched.GaussianMixture(), Theirs()
    assert isinstance(ours, Theirs)
    assert isinstance(theirs, patched.GaussianMixture)
    assert issubclass(patched.GaussianMixture, Theirs)
    assert not isinstance(theirs, vbfast.GaussianMixture)
    assert not isinstance(vbfast.GaussianMixture(), patched.GaussianMixture)
    assert not isinstance(TheirBayesian(), patched.GaussianMixture)
    assert not isinstance(ours, TheirBayesian)
    assert not isinstance(1, Theirs)
    assert not isinstance(1, patched.GaussianMixture)

    class Derived(patched.GaussianMixture):
        pass

    assert not isinstance(theirs, Derived)


@pytest.mark.parametrize("name", NAMES)
def test_results_are_ours(patched, rows, name, caplog):
    parameters = {"n_components": 2, "random_state": 0}
    fitted = getattr(patched, name)(**parameters).fit(rows)
    ours = getattr(vbfast, name)(**parameters).fit(rows)
    assert fitted.score(rows) == ours.score(rows)
    np.testing.assert_array_equal(fitted.means_, ours.means_)
    np.testing.assert_array_equal(fitted.predict_log_proba(rows), ours.predict_log_proba(rows))
    assert repr(fitted) == f"{name}(n_components=2, random_state=0)"
    fitted.set_params(warm_start=True).fit(rows)
    assert fitted.n_iter_ <= 2
    assert not caplog.records


@pytest.mark.parametrize("name", NAMES)
def test_the_constructor_takes_what_scikit_learns_takes(patched, name):
    known = getattr(patched, name)().get_params()
    theirs = drop_in.SCIKIT_LEARN[name]().get_params()
    assert theirs.items() <= known.items()
    assert set(known) - set(theirs) == OURS_ALONE


def test_pipelines_searches_and_clones(patched, rows):
    pipeline = make_pipeline(StandardScaler(), patched.GaussianMixture(random_state=0))
    search = GridSearchCV(
        pipeline, {"gaussianmixture__n_components": [1, 2]}, cv=3, n_jobs=None
    ).fit(rows)
    assert search.best_params_ == {"gaussianmixture__n_components": 2}
    best = search.best_estimator_[-1]
    assert type(best) is type(clone(best)) is patched.GaussianMixture


def test_weights_are_routed_to_mixtures_that_ask(patched, rows):
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        weights = np.r_[np.ones(60), np.zeros(40)]
        mixture = patched.GaussianMixture(random_state=0)
        # scikit-learn's would not know of weights, which is no error.
        plain = make_pipeline(scaler, mixture).fit(rows, sample_weight=weights)
        asked = clone(mixture).set_fit_request(sample_weight=True)
        weighted = make_pipeline(scaler, asked).fit(rows, sample_weight=weights)
    assert abs(plain[-1].means_).max() > 0.1
    np.testing.assert_allclose(weighted[-1].means_, 0.0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_pickles_are_loaded_with_and_without_the_patch(rows, name):
    theirs = drop_in.SCIKIT_LEARN[name](n_components=2, random_state=0).fit(rows)
    before = pickle.dumps(theirs)
    vbfast.patch_sklearn(verbose=False)
    try:
        ours = getattr(sklearn.mixture, name)(n_components=2, random_state=0).fit(rows)
        made = pickle.dumps(ours)
        assert type(pickle.loads(made)) is type(ours)
        earlier = pickle.loads(before)
        assert type(earlier) is type(ours)
        assert earlier.get_params() == ours.get_params()
        np.testing.assert_allclose(earlier.score(rows), theirs.score(rows))
        copies = [copy.copy(theirs), copy.deepcopy(theirs), pickle.loads(pickle.dumps(theirs))]
        for one in copies:
            assert type(one) is type(theirs)
            assert one.score(rows) == theirs.score(rows)
        meanwhile = pickle.dumps(theirs)
    finally:
        vbfast.unpatch_sklearn()
    assert pickle.loads(made).score(rows) == ours.score(rows)
    assert type(pickle.loads(meanwhile)) is type(theirs)
    assert pickle.dumps(theirs) == before


@pytest.mark.parametrize("name", NAMES)
def test_conversions_and_files(patched, rows, name, tmp_path):
    fitted = getattr(patched, name)(n_components=2, random_state=0).fit(rows)
    assert type(fitted.to_sklearn()) is drop_in.SCIKIT_LEARN[name]
    own = getattr(vbfast, name).from_sklearn(fitted)
    assert type(own) is getattr(vbfast, name)
    assert type(type(fitted).from_sklearn(fitted.to_sklearn())) is type(fitted)
    fitted.save(tmp_path / "model.npz")
    loaded = vbfast.load(tmp_path / "model.npz")
    assert type(loaded) is getattr(vbfast, name)
    assert loaded.score(rows) == fitted.score(rows)


def reasons(caplog):
    assert {record.name for record in caplog.records} <= {"vbfast"}
    return [record.getMessage() for record in caplog.records]


def test_derived_classes_that_override_a_step_are_scikit_learns(patched, rows, caplog):
    class Counting(patched.GaussianMixture):
        steps = 0

        def _m_step(self, *args, **kwargs):
            self.steps += 1
            super()._m_step(*args, **kwargs)

    fitted = Counting(2, random_state=0).fit(rows)
    assert fitted.steps == fitted.n_iter_ > 0
    assert reasons(caplog) == [
        "Counting.fit falls back to scikit-learn: Counting overrides _m_step"
    ]
    theirs = Theirs(2, random_state=0).fit(rows)
    np.testing.assert_array_equal(fitted.means_, theirs.means_)
    np.testing.assert_array_equal(fitted.score_samples(rows), theirs.score_samples(rows))

    class Further(Counting):
        pass

    assert Further(2, random_state=0).fit(rows).steps == fitted.steps


def test_other_derived_classes_are_ours(patched, rows, caplog):
    class Named(patched.GaussianMixture):
        def __init__(self, n_components=1, *, name="mine", random_state=None):
            super().__init__(n_components, random_state=random_state)
            self.name = name

        def fit(self, X, y=None):
            return super().fit(np.asarray(X) + 1.0)

        def _n_parameters(self):
            return 0

    fitted = clone(Named(2, random_state=0)).fit(rows)
    ours = vbfast.GaussianMixture(2, random_state=0).fit(rows + 1.0)
    np.testing.assert_array_equal(fitted.means_, ours.means_)
    assert fitted.bic(rows) == fitted.aic(rows)
    assert not caplog.records


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_ours_refuse_by_type_are_scikit_learns(patched, rows, name, caplog, tmp_path):
    parameters = {"n_components": 2, "random_state": 0}
    text = rows.astype(str)
    fitted = getattr(patched, name)(**parameters).fit(text)
    theirs = drop_in.SCIKIT_LEARN[name](**parameters).fit(text)
    np.testing.assert_array_equal(fitted.means_, theirs.means_)
    assert fitted.lower_bound_ == theirs.lower_bound_
    [reason] = reasons(caplog)
    assert reason.startswith(f"{name}.fit falls back to scikit-learn: X must be numeric; got dtype")
    # The rest is there too.
    assert fitted.n_passes_ == fitted.n_iter_
    np.testing.assert_allclose(fitted.score(rows), theirs.score(rows))
    fitted.save(tmp_path / "model.npz")
    streamed = getattr(patched, name)(**parameters, total_samples=100.0).partial_fit(rows)
    assert not hasattr(streamed.fit(text), "n_batch_iter_")
    masked = np.ma.masked_less(rows, -1.0)
    assert getattr(patched, name)(**parameters).fit_predict(masked).shape == (100,)
    with pytest.raises(TypeError, match=r"^Sparse data was passed"):
        getattr(patched, name)(**parameters).fit(scipy.sparse.eye_array(100, 2))


def test_warnings_name_the_caller(patched, rows):
    with pytest.warns(ConvergenceWarning) as caught:
        patched.GaussianMixture(2, random_state=0, max_iter=1, tol=0.0).fit(rows)
    assert caught[0].filename == __file__


def test_what_is_ours_alone_does_not_fall_back(patched, rows, caplog):
    with pytest.raises(TypeError, match="sample_weight must be numeric"):
        patched.GaussianMixture().fit(rows, sample_weight=["a"] * 100)

    def start(X, n_components, random_state):
        raise TypeError("my own")

    with pytest.raises(TypeError, match="my own"):
        patched.GaussianMixture(init_params=start).fit(rows)
    with pytest.raises(ValueError, match="Got 0 instead"):
        patched.GaussianMixture(0).fit(rows)
    assert not caplog.records


@pytest.mark.parametrize("name", NAMES)
def test_steps_and_batches_are_ours(patched, rows, name, caplog):
    parameters = {"n_components": 2, "random_state": 0}
    if name == "BayesianGaussianMixture":
        parameters["total_samples"] = 100.0
    by_steps, by_batches = [], []
    for make in (getattr(patched, name), getattr(vbfast, name)):
        mixture = make(**parameters).initialize(rows)
        by_steps.append(mixture.maximize(mixture.summarize(rows)))
        by_batches.append(make(**parameters).partial_fit(rows).partial_fit(rows[:50]))
    for one, other in (by_steps, by_batches):
        np.testing.assert_array_equal(one.means_, other.means_)
    assert not caplog.records


ARRAY_API = """
import logging, numpy as np, sklearn, torch, vbfast
logging.basicConfig(level="INFO", format="%(message)s")
vbfast.patch_sklearn(verbose=False)
X = np.random.default_rng(0).normal(size=(60, 2))
mixture = sklearn.mixture.GaussianMixture(2, init_params="random", random_state=0)
with sklearn.config_context(array_api_dispatch=True):
    mixture.fit(torch.asarray(X))
    print(type(mixture.means_).__module__, type(mixture.predict(torch.asarray(X))).__module__)
    print(type(mixture.sample(2)[0]).__module__)
    print(type(mixture.fit(X).means_).__module__, type(mixture.sample(2)[0]).__module__)
"""


def test_arrays_of_other_libraries_are_scikit_learns():
    pytest.importorskip("torch")
    # SciPy reads this variable when it is imported.
    done = python("-c", ARRAY_API, SCIPY_ARRAY_API="1")
    assert done.stdout == "torch torch\ntorch\nnumpy numpy\n", done.stderr
    of_torch = "the mixture was fitted to arrays that are not NumPy's"
    assert done.stderr.splitlines() == [
        "GaussianMixture.fit falls back to scikit-learn: array_api_dispatch is set and X is a "
        "torch array",
        f"GaussianMixture.predict falls back to scikit-learn: {of_torch}",
        f"GaussianMixture.sample falls back to scikit-learn: {of_torch}",
    ]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:covariance_prior is singular")
@pytest.mark.filterwarnings("ignore:total_samples is None")
@parametrize_with_checks([drop_in.GaussianMixture(), drop_in.BayesianGaussianMixture()])
def test_conventions(estimator, check):
    check(estimator)


def test_scikit_learns_own_tests_pass_under_the_patch(tmp_path):
    pytest.importorskip("sklearn.mixture.tests")
    left_out = "not test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters"
    if Version(sklearn.__version__) < Version("1.7"):
        left_out += " and not test_regularisation"  # the words of an error changed since
    done = python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull),
        *(f"--rootdir={tmp_path}", "-k", left_out),
        Path(sklearn.mixture.__file__).parent / "tests",
        folder=tmp_path,
        patched=True,
    )
    assert done.returncode == 0, done.stdout
    assert done.stderr.startswith(SAID)


# From scikit-learn's user guide, the example of density estimation.
EXAMPLE = """
import numpy as np
from sklearn import mixture

n_samples = 300
np.random.seed(0)
shifted_gaussian = np.random.randn(n_samples, 2) + np.array([20, 20])
C = np.array([[0.0, -0.7], [3.5, 0.7]])
stretched_gaussian = np.dot(np.random.randn(n_samples, 2), C)
X_train = np.vstack([shifted_gaussian, stretched_gaussian])
clf = mixture.GaussianMixture(n_components=2, covariance_type="full")
clf.fit(X_train)
x = np.linspace(-20.0, 30.0)
y = np.linspace(-20.0, 40.0)
X, Y = np.meshgrid(x, y)
XX = np.array([X.ravel(), Y.ravel()]).T
Z = -clf.score_samples(XX)
Z = Z.reshape(X.shape)
print(type(clf).__module__.split(".")[0], Z.sum().round(3))
"""


def test_an_example_of_scikit_learns_runs_unchanged(tmp_path):
    (tmp_path / "example.py").write_text(EXAMPLE)
    plain = python("example.py", folder=tmp_path).stdout.split()
    done = python("example.py", folder=tmp_path, patched=True)
    assert done.stderr == SAID
    assert plain[0] == "sklearn"
    name, total = done.stdout.split()
    assert name == "vbfast"
    assert float(total) == pytest.approx(float(plain[1]), rel=1e-6)


PROGRAM = """
import sys
names = [type(__builtins__).__name__, *sorted(set(globals()) - {"sys"})]
print(sys.argv, sys.path[0], names, __name__, globals().get("__file__"), __spec__ and __spec__.name)

def end(how):
    if how == "error":
        raise ValueError("wrong")
    if how == "interrupt":
        raise KeyboardInterrupt
    sys.exit({"seven": 7, "none": None}.get(how, how))

end(*sys.argv[1:2] or [None])
"""


@pytest.mark.parametrize(
    ("program", "how"),
    [
        *((("folder/program.py",), how) for how in ("none", "seven", "said", "error", "interrupt")),
        *((("-m", "folder.program"), how) for how in ("seven", "error")),
        *((("-c", PROGRAM), how) for how in ("said", "error")),
        (("folder",), "error"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_program_runs_as_by_python_itself(tmp_path, program, how):
    (tmp_path / "folder").mkdir()
    for name in ("program.py", "__main__.py"):
        (tmp_path / "folder" / name).write_text(PROGRAM)
    plain = python(*program, how, "-x", folder=tmp_path)
    done = python(*program, how, "-x", folder=tmp_path, patched=True)
    assert done.returncode == plain.returncode
    assert done.stdout == plain.stdout
    assert done.stderr == SAID + plain.stderr


@pytest.mark.parametrize(
    "program", [("none.py",), ("-m", "none"), ("bad.py",), ("-m", "bad"), ("-c", "1 +"), ("odd",)]
)
def test_a_program_that_cannot_run_fails_as_by_python_itself(tmp_path, program):
    (tmp_path / "bad.py").write_text("def f(:\n")
    (tmp_path / "odd").mkdir()
    plain = python(*program, folder=tmp_path)
    done = python(*program, folder=tmp_path, patched=True)
    assert done.returncode == plain.returncode
    assert done.stdout == plain.stdout == ""
    # The interpreter's name is as it was called there, the whole path here.
    assert done.stderr.splitlines()[1:] == plain.stderr.splitlines()


def test_the_hook_of_a_program_reports_its_errors(tmp_path):
    (tmp_path / "hook.py").write_text(
        "import sys, traceback\n"
        "sys.excepthook = lambda kind, error, tb: print(len(traceback.extract_tb(tb)), error)\n"
        "raise ValueError('wrong')\n"
    )
    done = python("hook.py", folder=tmp_path, patched=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "1 wrong\n", SAID)


def test_a_program_can_pickle_its_classes_and_unpatch(tmp_path):
    (tmp_path / "own.py").write_text(
        "import pickle, sklearn.mixture, vbfast\n"
        "class Own(sklearn.mixture.GaussianMixture):\n"
        "    pass\n"
        "print(type(pickle.loads(pickle.dumps(Own()))) is Own)\n"
        "vbfast.unpatch_sklearn()\n"
        "print(sklearn.mixture.GaussianMixture.__module__)\n"
    )
    done = python("own.py", folder=tmp_path, patched=True)
    assert done.stdout == "True\nsklearn.mixture._gaussian_mixture\n", done.stderr


@pytest.mark.parametrize("arguments", [[], ["-m"], ["-c"], ["-x", "script.py"]])
def test_usage(arguments, capsys):
    assert patch.main(arguments) == 2
    assert capsys.readouterr() == ("", patch.USAGE)
    assert sklearn.mixture.GaussianMixture is Theirs


def test_help(capsys):
    assert patch.main(["--help"]) == 0
    assert capsys.readouterr() == (patch.USAGE, "")


def test_ipython_extension(capsys):
    patch.load_ipython_extension(None)
    try:
        assert sklearn.mixture.GaussianMixture is drop_in.GaussianMixture
    finally:
        patch.unload_ipython_extension(None)
    assert sklearn.mixture.GaussianMixture is Theirs
    assert capsys.readouterr() == ("", SAID)


def test_ipython_loads_the_extension(tmp_path):
    pytest.importorskip("IPython", reason="IPython is not installed")
    cell = (
        "%load_ext vbfast.patch\n"
        "from sklearn.mixture import GaussianMixture\n"
        "print(GaussianMixture.__module__)\n"
        "%unload_ext vbfast.patch\n"
        "from sklearn.mixture import GaussianMixture\n"
        "print(GaussianMixture.__module__)\n"
    )
    (tmp_path / "cell.ipy").write_text(cell)
    arguments = ("-m", "IPython", "--no-banner", "--colors=NoColor", "cell.ipy")
    done = python(*arguments, folder=tmp_path, IPYTHONDIR=str(tmp_path))
    assert done.stdout == "vbfast.estimators.drop_in\nsklearn.mixture._gaussian_mixture\n"
    assert SAID in done.stderr
