"""Array functions of arrays that claim to be on a CUDA device, whose memory is the host's."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import vbfast
from exporters import Exporter, OlderExporter, view_of
from vbfast.backends.cuda.extension import DeviceError, load_extension, require_device

pytestmark = pytest.mark.one_level


@pytest.fixture(autouse=True)
def emulated():
    """Only where device pointers are host pointers."""
    try:
        name = require_device()["name"]
    except (ImportError, DeviceError) as error:
        pytest.skip(str(error))
    if "emulated" not in name:
        pytest.skip("the device's memory is its own")


class InterfaceExporter:
    """An array of a library that has no DLPack, whose work is in the legacy stream."""

    def __init__(self, array, typestr=None, **more):
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "strides": array.strides,
            "typestr": typestr or array.dtype.str,
            "data": (array.__array_interface__["data"][0], False),
            "version": 3,
            "stream": 1,
            **more,
        }


class OnOther(Exporter):
    device = 1


EXPORTERS = [Exporter, OlderExporter, InterfaceExporter]


def on_host(array):
    """Return a copy, which is there when the array is gone."""
    if isinstance(array, Exporter):
        return array.array.copy()
    return view_of(array.__cuda_array_interface__).copy()


@pytest.fixture(params=["float32", "float64"])
def logits(request, rng):
    return rng.normal(scale=3.0, size=(37, 11)).astype(request.param)


@pytest.fixture(params=EXPORTERS)
def exporter(request):
    return request.param


def probabilities(rng, like):
    return rng.dirichlet(np.ones(like.shape[-1]), like.shape[:-1]).astype(like.dtype)


def assert_bits_of_host(call, *arrays, exporter):
    """Assert that a call gives the numbers that NumPy arrays give under the backend."""
    with vbfast.config_context(backend="cuda"):
        expected = call(*arrays)
    actual = call(*map(exporter, arrays))
    if not isinstance(expected, tuple):
        actual, expected = (actual,), (expected,)
    for one, other in zip(actual, expected, strict=True):
        assert type(one) is (exporter if issubclass(exporter, Exporter) else type(one))
        found = on_host(one)
        assert found.shape == np.shape(other)
        assert_array_equal(found, other)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
def test_functions_of_one_array(logits, exporter, axis, rng):
    for function in (vbfast.logsumexp, vbfast.softmax, vbfast.log_softmax):
        assert_bits_of_host(lambda a, f=function: f(a, axis=axis), logits, exporter=exporter)
    assert_bits_of_host(
        lambda a: vbfast.entropy(logits=a, axis=axis, keepdims=True), logits, exporter=exporter
    )
    if axis in (1, -1):
        q = probabilities(rng, logits)
        assert_bits_of_host(lambda a: vbfast.entropy(a, axis=axis), q, exporter=exporter)


def test_functions_of_two_arrays(logits, exporter, rng):
    q = probabilities(rng, logits)
    b = rng.normal(size=logits.shape).astype(logits.dtype)
    calls = [
        lambda a, q, b: vbfast.logsumexp(a, -1, b, return_sign=True),
        lambda a, q, b: vbfast.kl_divergence(q, p_logits=a),
        lambda a, q, b: vbfast.kl_divergence(q_logits=b, p_probs=q),
        lambda a, q, b: vbfast.kl_divergence(q, q, keepdims=True),
    ]
    for call in calls:
        assert_bits_of_host(call, logits, q, b, exporter=exporter)


def test_arrays_that_broadcast(logits, exporter):
    row = logits[:1]
    assert_bits_of_host(
        lambda a, b: vbfast.kl_divergence(q_logits=a, p_logits=b), logits, row, exporter=exporter
    )
    assert_bits_of_host(lambda a: vbfast.logsumexp(a, 1, 2.5), logits, exporter=exporter)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("kind", ["posterior", "q", "q_logits"])
def test_the_bound_and_its_gradients(logits, exporter, kind, per_sample, rng):
    weights = rng.uniform(size=len(logits))
    weights[3] = 0.0
    q = probabilities(rng, logits) if kind == "q" else logits[::-1].copy()

    def call(a, q, w):
        given = {} if kind == "posterior" else {kind: q}
        options = {"sample_weight": w, "per_sample": per_sample}
        terms, gradient = vbfast.elbo_and_grad(a, **given, **options)
        alone = vbfast.elbo(a, **given, **options)
        names = ("elbo", "expected_log_joint", "entropy", "log_evidence", "kl")
        return (
            *(getattr(each, name) for each in (terms, alone) for name in names),
            gradient.q_logits,
            gradient.log_joint,
        )

    assert_bits_of_host(call, logits, q, weights, exporter=exporter)


def test_rows_with_gaps_are_not_copied(logits, exporter):
    wide = np.full((37, 20), np.nan, logits.dtype)
    wide[:, 3:14] = logits
    assert_array_equal(
        on_host(vbfast.logsumexp(exporter(wide[:, 3:14]), axis=1)),
        on_host(vbfast.logsumexp(exporter(logits), axis=1)),
    )


def test_columns_and_transposes(logits, exporter):
    assert_array_equal(
        on_host(vbfast.logsumexp(exporter(logits.T), axis=0)),
        on_host(vbfast.logsumexp(exporter(logits), axis=1)),
    )
    soft = on_host(vbfast.softmax(exporter(np.asfortranarray(logits)), axis=1))
    np.testing.assert_allclose(soft, on_host(vbfast.softmax(exporter(logits), axis=1)), rtol=1e-5)


def test_an_array_is_kept_until_it_is_computed_and_no_longer(logits, exporter):
    before = sys.getrefcount(logits)
    for _ in range(3):
        vbfast.softmax(exporter(logits), axis=1)
    gc.collect()
    assert sys.getrefcount(logits) == before


def test_capsules_nobody_takes_are_given_back(logits):
    before = sys.getrefcount(logits)
    for versioned in (False, True):
        Exporter(logits).capsule(versioned)
    gc.collect()
    assert sys.getrefcount(logits) == before


def test_a_capsule_is_taken_once(logits):
    for versioned in (False, True):
        capsule = Exporter(logits).capsule(versioned)
        load_extension().DeviceArray.from_capsule(capsule)
        with pytest.raises(ValueError, match="name"):
            load_extension().DeviceArray.from_capsule(capsule)


def test_the_library_is_told_the_stream(logits):
    for kind in (Exporter, OlderExporter):
        array = kind(logits)
        vbfast.logsumexp(array)
        (stream,) = array.streams
        assert stream > 2  # none of the default ones


def test_results_by_dlpack(logits):
    result = vbfast.logsumexp(InterfaceExporter(logits), axis=1)
    for versions, name in ((None, '"dltensor"'), ((1, 1), '"dltensor_versioned"')):
        assert name in repr(result.__dlpack__(stream=1, max_version=versions))
    again = load_extension().DeviceArray.from_capsule(result.__dlpack__())
    assert again.shape == (37,)
    assert again.data == result.__cuda_array_interface__["data"][0]
    with pytest.raises(BufferError, match="asked for"):
        result.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match="without a copy"):
        result.__dlpack__(copy=True)


def test_mixed_devices(logits):
    there = Exporter(logits)
    with pytest.raises(TypeError, match=r"q_logits on cuda:0 .*Exporter.* p_logits on the host"):
        vbfast.kl_divergence(q_logits=there, p_logits=logits)
    with pytest.raises(TypeError, match=r"a on the host \(numpy.ndarray\) and b on cuda:0"):
        vbfast.logsumexp(logits, b=there)
    with pytest.raises(TypeError, match=r"log_joint on cuda:0 .* q_logits on cuda:1"):
        vbfast.elbo(there, q_logits=OnOther(logits))
    with pytest.raises(TypeError, match="sample_weight on the host"):
        vbfast.elbo(there, sample_weight=np.ones(37))


def test_wrong_types(logits):
    with pytest.raises(TypeError, match=r"a: .*float32 or float64; got the type <i4"):
        vbfast.logsumexp(InterfaceExporter(logits.astype(np.int32)))
    with pytest.raises(TypeError, match="mask"):
        vbfast.softmax(InterfaceExporter(logits, mask=InterfaceExporter(logits)))
    other = np.dtype("float32" if logits.dtype == np.float64 else "float64")
    with pytest.raises(TypeError, match="one dtype; got"):
        vbfast.elbo(Exporter(logits), q_logits=Exporter(logits.astype(other)))
    host = OnHost(logits)
    assert vbfast.logsumexp(host) == vbfast.logsumexp(logits)


class OnHost(np.ndarray):
    """A subclass that says where it is."""

    def __new__(cls, array):
        return array.view(cls)

    def __dlpack_device__(self):
        return 1, 0


def test_wrong_shapes_and_values(logits):
    there = Exporter(logits)
    with pytest.raises(ValueError, match="q must have the shape of log_joint"):
        vbfast.elbo(there, q=Exporter(logits[:3]))
    with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
        vbfast.elbo(there, sample_weight=Exporter(np.full(37, -1.0)))
    with pytest.raises(ValueError, match="sample_weight must have shape"):
        vbfast.elbo(there, sample_weight=Exporter(np.ones(36)))
    with pytest.raises(ValueError, match=r"q at row 0 has a negative entry|q at row 0 sums to"):
        vbfast.elbo(there, q=there)
    with pytest.raises(np.exceptions.AxisError):
        vbfast.softmax(there, axis=2)


def test_what_is_left_out(logits):
    cube = np.zeros((3, 4, 5), logits.dtype)
    with pytest.raises(NotImplementedError, match="one stride"):
        vbfast.logsumexp(Exporter(cube), axis=(0, 2))
    with pytest.raises(NotImplementedError, match="out is for NumPy arrays"):
        vbfast.softmax(Exporter(logits), out=np.empty_like(logits))


@pytest.mark.parametrize("shape", [(40, 3), (5, 3000), (70_001,), (9000, 3)], ids=str)
@pytest.mark.parametrize("axis", [0, -1])
def test_the_same_bits_in_every_order_of_threads(shape, axis, monkeypatch, rng):
    a = rng.normal(size=shape)
    results = []
    for order in ("forward", "backward", "shuffled", "forward"):
        monkeypatch.setenv("VBFAST_CUDA_ORDER", order)
        there = Exporter(a)
        results.append(
            (
                on_host(vbfast.logsumexp(there, axis)),
                on_host(vbfast.entropy(logits=there, axis=axis)),
                on_host(vbfast.softmax(there, axis)),
            )
        )
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            assert_array_equal(one, same)


def test_the_bound_has_the_same_bits_in_every_order_of_threads(monkeypatch, rng):
    joint, q = rng.normal(size=(2, 700, 9))
    results = []
    for order in ("forward", "backward", "shuffled"):
        monkeypatch.setenv("VBFAST_CUDA_ORDER", order)
        with vbfast.config_context(backend="cuda"):
            results.append(vbfast.elbo(joint, q_logits=q))
    assert results[0] == results[1] == results[2]


def test_borrowed_rows(logits):
    extension = load_extension()
    wide = np.full((37, 20), np.inf, logits.dtype)
    wide[:, 3:14] = logits
    rows = wide[:, 3:14]
    stream = extension.Stream(0)
    there = extension.DeviceArray.from_capsule(Exporter(rows).capsule(True))
    before = sys.getrefcount(rows)
    borrowed = extension.DeviceRows.borrow(there, stream)
    del there
    assert sys.getrefcount(rows) == before
    del borrowed
    gc.collect()
    assert sys.getrefcount(rows) == before - 1
    columns = extension.DeviceArray.from_capsule(Exporter(logits.T).capsule(True))
    with pytest.raises(ValueError, match="features side by side"):
        extension.DeviceRows.borrow(columns, stream)
