"""The functions for PyTorch: values, gradients, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.contract import COVARIANCE_TYPES

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install vbfast[torch]")
bridge = pytest.importorskip("vbfast.torch")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of torch's that wait for each other cost more than these small tensors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor(array, requires_grad=True):
    return torch.tensor(array, requires_grad=requires_grad)


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_logsumexp(rng, dim, keepdim):
    values = rng.normal(size=(4, 5, 3))
    ours, theirs = tensor(values), tensor(values)
    result = bridge.logsumexp(ours, dim, keepdim)
    expected = torch.logsumexp(theirs, dim, keepdim)
    torch.testing.assert_close(result, expected)
    cotangent = torch.randn(expected.shape, dtype=torch.float64)
    result.backward(cotangent)
    expected.backward(cotangent)
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.autograd.gradcheck(lambda a: bridge.logsumexp(a, dim, keepdim), tensor(values))


def test_logsumexp_of_transposed_and_single_precision_tensors(rng):
    values = torch.tensor(rng.normal(size=(5, 4)).astype(np.float32)).T.requires_grad_()
    result = bridge.logsumexp(values)
    assert result.dtype == torch.float32
    result.sum().backward()
    torch.testing.assert_close(values.grad, torch.softmax(values.detach(), -1))


def test_logsumexp_of_numbers_and_negated_views():
    number = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bridge.logsumexp, (number,))
    negated = torch.tensor([1 + 2j, 3 - 1j]).conj().imag
    assert negated.is_neg()
    torch.testing.assert_close(bridge.logsumexp(negated), torch.logsumexp(negated, -1))


@pytest.mark.parametrize("dim", [(0, 1), (2, 0), [1, -1], (0, 1, 2), -3])
@pytest.mark.parametrize("keepdim", [False, True])
def test_logsumexp_over_several_dimensions(rng, dim, keepdim):
    values = tensor(rng.normal(size=(4, 5, 3))).transpose(0, 2)  # not contiguous
    torch.testing.assert_close(
        bridge.logsumexp(values, dim, keepdim), torch.logsumexp(values, dim, keepdim)
    )
    assert torch.autograd.gradcheck(lambda a: bridge.logsumexp(a, dim, keepdim), values)


def test_logsumexp_over_all_dimensions(rng):
    values = tensor(rng.normal(size=(4, 5)))
    expected = torch.logsumexp(values, (0, 1), keepdim=True)
    torch.testing.assert_close(bridge.logsumexp(values, None), expected[0, 0])
    torch.testing.assert_close(bridge.logsumexp(values, None, keepdim=True), expected)
    assert bridge.logsumexp(torch.zeros(0, 3), None) == -torch.inf


@pytest.mark.parametrize(
    "dtype",
    ["float16", "bfloat16", "float32", "float64", "int64", "uint8", "bool"],
)
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_types_are_torchs(rng, dtype, default):
    dtype = getattr(torch, dtype)
    values = torch.tensor(rng.integers(0, 2, size=(6, 5)) * 3).to(dtype)
    torch.set_default_dtype(default)
    try:
        result, expected = bridge.logsumexp(values), torch.logsumexp(values, -1)
        number = bridge.logsumexp(values[0, 0])
    finally:
        torch.set_default_dtype(torch.float32)
    assert result.dtype == expected.dtype == number.dtype
    exact = torch.logsumexp(values.double(), -1)
    torch.testing.assert_close(result, exact.to(result.dtype))
    if dtype.is_floating_point:
        values.requires_grad_()
        bridge.logsumexp(values).sum().backward()
        posterior = torch.softmax(values.detach().double(), -1)
        torch.testing.assert_close(values.grad, posterior.to(dtype))  # the nearest numbers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(rng, mixture_arrays, dtype):
    arguments = [
        tensor(array, False).to(dtype).requires_grad_() for array in mixture_arrays("full")
    ]
    single = [a.detach().float().requires_grad_() for a in arguments]
    value, expected = (bridge.mixture_log_evidence(*a) for a in (arguments, single))
    assert value.dtype == dtype
    torch.testing.assert_close(value, expected.to(dtype), rtol=0, atol=0)
    value.sum().backward()
    expected.sum().backward()
    for ours, theirs in zip(arguments, single, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad.to(dtype), rtol=0, atol=0)
    joint = torch.tensor(rng.normal(size=(4, 3))).to(dtype)
    bound = bridge.elbo(joint, joint)
    assert bound.dtype == dtype
    torch.testing.assert_close(bound, torch.logsumexp(joint.double(), -1).to(dtype))


def test_dimensions_that_are_refused():
    values = torch.zeros(2, 3)
    for dim, error, message in (
        (2, IndexError, r"dim must be in the range of \[-2, 1\]; got 2"),
        ((0, -3), IndexError, "dim must be in the range"),
        ((0, -2), ValueError, "dim must name each dimension once"),
        ((), ValueError, "dim must name a dimension, or be None"),
        (0.5, TypeError, "dim must be an integer, several or None; got 0.5"),
    ):
        with pytest.raises(error, match=message):
            bridge.logsumexp(values, dim)
    with pytest.raises(IndexError, match=r"dim must be in the range of \[-1, 0\]; got 1"):
        bridge.logsumexp(torch.zeros(()), 1)


def test_a_row_of_nothing_has_gradient_zero():
    values = torch.tensor([[-torch.inf, -torch.inf], [0.0, -torch.inf]], requires_grad=True)
    result = bridge.logsumexp(values)
    assert result.tolist() == [-torch.inf, 0.0]
    result.sum().backward()
    assert values.grad.tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_elbo(rng):
    log_joint, q_logits = tensor(rng.normal(size=(2, 4, 5))), tensor(rng.normal(size=(2, 4, 5)))
    log_q = torch.log_softmax(q_logits, -1)
    torch.testing.assert_close(
        bridge.elbo(log_joint, q_logits), (log_q.exp() * (log_joint - log_q)).sum(-1)
    )
    assert torch.autograd.gradcheck(bridge.elbo, (log_joint, q_logits))


def test_elbo_at_the_posterior_is_the_evidence(rng):
    log_joint = tensor(rng.normal(size=(4, 5)))
    bound = bridge.elbo(log_joint, log_joint.detach())
    torch.testing.assert_close(bound, bridge.logsumexp(log_joint))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_mixture_log_evidence(mixture_arrays, covariance_type):
    x, logits, means, P = mixture_arrays(covariance_type)
    arguments = [tensor(array) for array in (x, logits, means, P)]
    if covariance_type in ("full", "tied"):  # what is below the diagonal is not read
        with torch.no_grad():
            arguments[3] += torch.tril(torch.ones_like(arguments[3]), -1)
    value = bridge.mixture_log_evidence(*arguments, covariance_type)

    estimator = vbfast.GaussianMixture(len(means), covariance_type=covariance_type)
    estimator.weights_ = np.exp(logits) / np.exp(logits).sum()
    estimator.means_, estimator.precisions_cholesky_ = means, P
    estimator.n_features_in_ = means.shape[1]
    np.testing.assert_allclose(value.detach(), estimator.score_samples(x), rtol=1e-12)

    def function(*inputs):
        return bridge.mixture_log_evidence(*inputs, covariance_type)

    assert torch.autograd.gradcheck(function, arguments)
    for only in range(4):  # one at a time: the others' gradients are not made
        some = [a.detach().requires_grad_(i == only) for i, a in enumerate(arguments)]
        function(*some).sum().backward()
        assert [a.grad is not None for a in some] == [i == only for i in range(4)]


def test_rows_of_any_leading_shape_and_none(mixture_arrays):
    x, *parameters = mixture_arrays("full", n_rows=6)
    parameters = [tensor(array) for array in parameters]
    flat = bridge.mixture_log_evidence(tensor(x), *parameters)
    stacked = bridge.mixture_log_evidence(tensor(x.reshape(2, 3, 2)), *parameters)
    torch.testing.assert_close(stacked, flat.reshape(2, 3))
    torch.testing.assert_close(bridge.mixture_log_evidence(tensor(x[0]), *parameters), flat[0])
    empty = tensor(np.empty((0, 2)))
    bridge.mixture_log_evidence(empty, *parameters).sum().backward()
    assert empty.grad.shape == (0, 2)
    assert not parameters[0].grad.any()


def test_what_is_refused(mixture_arrays):
    x, logits, means, P = (tensor(array, requires_grad=False) for array in mixture_arrays("diag"))
    function = bridge.mixture_log_evidence
    with pytest.raises(TypeError, match=r"x must be a torch\.Tensor; got ndarray"):
        function(x.numpy(), logits, means, P, "diag")
    with pytest.raises(TypeError, match=r"log_joint must be real; got torch\.complex128"):
        bridge.logsumexp(x.to(torch.complex128))
    with pytest.raises(
        TypeError, match=r"log_joint must be dense; got a tensor that is torch\.spar"
    ):
        bridge.logsumexp(x.to_sparse())
    with pytest.raises(TypeError, match=r"x must be float32, .* or bfloat16; got torch\.int64"):
        function(x.long(), logits, means, P, "diag")
    with pytest.raises(TypeError, match="means must have the dtype of x"):
        function(x, logits, means.float(), P, "diag")
    with pytest.raises(ValueError, match="log_joint must be on the CPU; got meta"):
        bridge.logsumexp(x.to("meta"))
    with pytest.raises(ValueError, match="q_logits must have the shape of log_joint"):
        bridge.elbo(x, x[:1])
    with pytest.raises(ValueError, match="covariance_type must be one of"):
        function(x, logits, means, P, "diagonal")
    with pytest.raises(ValueError, match=r"precisions_cholesky must have shape \(3, 2, 2\)"):
        function(x, logits, means, P)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 2\)"):
        function(x[:, :1], logits, means, P, "diag")
    with pytest.raises(ValueError, match="positive numbers on its diagonal"):
        function(x, logits, means, -P, "diag")
    with pytest.raises(ValueError, match="means must be finite"):
        function(x, logits, means * torch.nan, P, "diag")


def test_an_autoencoder_with_a_mixture_prior_trains():
    generator = torch.Generator().manual_seed(0)
    centres = 3.0 * torch.randn(4, 6, generator=generator)
    X = centres[torch.randint(4, (300,), generator=generator)]
    X = X + 0.3 * torch.randn(300, 6, generator=generator)
    encoder, decoder = torch.nn.Linear(6, 4), torch.nn.Linear(2, 6)
    prior = [
        torch.zeros(4, requires_grad=True),
        torch.randn(4, 2, generator=generator).requires_grad_(),
        torch.zeros(4, 2, requires_grad=True),
    ]
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), *prior], lr=0.03)
    losses = []
    for _ in range(60):
        mean, log_scale = encoder(X).chunk(2, dim=1)
        z = mean + log_scale.exp() * torch.randn(mean.shape, generator=generator)
        log_prior = bridge.mixture_log_evidence(z, *prior[:2], prior[2].exp(), "diag")
        log_likelihood = -0.5 * (X - decoder(z)).square().sum(1)
        loss = -(log_likelihood + log_prior + log_scale.sum(1)).mean()  # + constants
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert all(parameter.grad.abs().max() > 0 for parameter in prior)


def test_weights_that_underflow(mixture_arrays):
    """A component whose weight is no positive number may still be all there is near a row."""
    x, _, means, P = mixture_arrays("diag", K=2)
    means[1] += 60.0
    x[:2] += 60.0
    logits = np.array([0.0, -800.0])
    ours = [tensor(a) for a in (x, logits, means, P)]
    theirs = [tensor(a) for a in (x, logits, means, P)]
    value = bridge.mixture_log_evidence(*ours, "diag")
    rows, eta, mu, root = theirs
    whitened = (rows[:, None] - mu) * root
    log_density = root.log().sum(-1) - 0.5 * whitened.square().sum(-1) - np.log(2 * np.pi)
    expected = torch.logsumexp(torch.log_softmax(eta, -1) + log_density, -1)
    torch.testing.assert_close(value, expected)
    value.sum().backward()
    expected.sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)
