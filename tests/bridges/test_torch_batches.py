"""Batches of mixtures for PyTorch: values and gradients against torch's own, and the edges."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install vbfast[torch]")
bridge = pytest.importorskip("vbfast.torch")


def textbook(covariance_type, x, logits, means, P):
    """Mixtures of a batch with rows of shape (batch, n, D), in torch."""
    D = means.shape[-1]
    if covariance_type in ("full", "tied"):
        P = P if covariance_type == "full" else P.unsqueeze(1).expand(*means.shape, D)
        y = torch.einsum("bnkd,bkde->bnke", x.unsqueeze(2) - means.unsqueeze(1), P.triu())
        log_det = P.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    else:
        scale = P if covariance_type == "diag" else P.unsqueeze(-1).expand(means.shape)
        y = (x.unsqueeze(2) - means.unsqueeze(1)) * scale.unsqueeze(1)
        log_det = scale.log().sum(-1)
    offset = torch.log_softmax(logits, -1) + log_det - 0.5 * D * np.log(2 * np.pi)
    return torch.logsumexp(offset.unsqueeze(1) - 0.5 * y.square().sum(-1), -1)


def leaves(arrays, dtype=torch.float64):
    return [torch.tensor(array, dtype=dtype, requires_grad=True) for array in arrays]


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_values_and_gradients(mixture_batch, rng, covariance_type):
    arrays = mixture_batch(covariance_type, n_mixtures=5, n_rows=3)
    ours, theirs = leaves(arrays), leaves(arrays)
    value = bridge.mixture_log_evidence(*ours, covariance_type)
    expected = textbook(covariance_type, *theirs)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    cotangent = torch.tensor(rng.normal(size=(5, 3)))
    value.backward(cotangent)
    expected.backward(cotangent)
    for actual, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(actual.grad, wanted.grad, rtol=1e-9, atol=1e-11)
    one_row = leaves([arrays[0][:, 0], *arrays[1:]])

    def function(*arguments):
        return bridge.mixture_log_evidence(*arguments, covariance_type)

    assert torch.autograd.gradcheck(function, one_row)
    torch.testing.assert_close(function(*one_row), value[:, 0])
    single = function(*leaves(arrays, torch.float32))
    torch.testing.assert_close(single, value.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_mixtures", [None, 3])
def test_components_far_from_each_other_in_float32(far_components, covariance_type, n_mixtures):
    arrays, evidence, expected = far_components(covariance_type)
    if n_mixtures is not None:
        arrays = [np.tile(a, (n_mixtures, *(1,) * a.ndim)) for a in arrays]
    ours = leaves(arrays, torch.float32)
    value = bridge.mixture_log_evidence(*ours, covariance_type)
    value.sum().backward()
    evidence = torch.tensor(evidence, dtype=torch.float32).expand(value.shape)
    torch.testing.assert_close(value.detach(), evidence, rtol=1e-6, atol=0)
    for tensor, wanted in zip(ours, expected, strict=True):
        wanted = torch.tensor(wanted, dtype=torch.float32).expand(tensor.shape)
        torch.testing.assert_close(tensor.grad, wanted, rtol=1e-5, atol=1e-5)


def test_views_and_parameters_that_are_shared(mixture_batch):
    x, logits, means, P = leaves(mixture_batch("full", n_mixtures=4, n_rows=3))
    shared = bridge.mixture_log_evidence(x, logits, means[0], P[:1], "full")
    expected = textbook("full", x, logits, means[:1].expand(4, 3, 2), P[:1].expand(4, 3, 2, 2))
    torch.testing.assert_close(shared, expected)
    gradients = [
        torch.autograd.grad(v.square().sum(), (x, logits, means, P)) for v in (shared, expected)
    ]
    for actual, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, wanted)
    strided = x.detach().transpose(0, 1).contiguous().transpose(0, 1)
    assert not strided.is_contiguous()
    torch.testing.assert_close(
        bridge.mixture_log_evidence(strided, logits.flip(-1), means.flip(1), P.flip(1)),
        bridge.mixture_log_evidence(x, logits, means, P),
    )
    two_axes = [a.detach().reshape(2, 2, *a.shape[1:]) for a in (x, logits, means, P)]
    torch.testing.assert_close(
        bridge.mixture_log_evidence(*two_axes).reshape(4, 3),
        bridge.mixture_log_evidence(x, logits, means, P),
    )


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("batched", [False, True])
def test_a_component_of_weight_zero(mixture_arrays, mixture_batch, covariance_type, batched):
    arrays = (mixture_batch if batched else mixture_arrays)(covariance_type)
    arrays[1][..., 1] = -np.inf
    ours = leaves(arrays)
    value = bridge.mixture_log_evidence(*ours, covariance_type)
    x, logits, means, P = arrays
    others = [x, logits[..., [0, 2]], means[..., [0, 2], :]]
    if covariance_type == "tied":
        others.append(P)
    else:
        others.append(np.take(P, [0, 2], axis=int(batched)))
    torch.testing.assert_close(value, bridge.mixture_log_evidence(*leaves(others), covariance_type))
    value.sum().backward()
    for tensor in ours:
        assert torch.isfinite(tensor.grad).all()
    assert not ours[1].grad[..., 1].any()
    assert not ours[2].grad[..., 1, :].any()
    if covariance_type != "tied":
        assert not ours[3].grad.select(int(batched), 1).any()


def test_empty_batches(mixture_batch):
    arrays = mixture_batch("diag")
    for nothing in (leaves([a[:0] for a in arrays]), leaves([arrays[0][:, :0], *arrays[1:]])):
        value = bridge.mixture_log_evidence(*nothing, "diag")
        assert value.numel() == 0
        value.sum().backward()
        assert [t.grad.shape for t in nothing] == [t.shape for t in nothing]
        assert not any(t.grad.any() for t in nothing)


def test_only_what_asks_for_a_gradient_gets_one(mixture_batch):
    arrays = mixture_batch("tied")
    for only in range(4):
        some = [torch.tensor(a, requires_grad=i == only) for i, a in enumerate(arrays)]
        bridge.mixture_log_evidence(*some, "tied").sum().backward()
        assert [a.grad is not None for a in some] == [i == only for i in range(4)]
    with torch.no_grad():
        assert not bridge.mixture_log_evidence(*leaves(arrays), "tied").requires_grad


def test_what_is_refused(mixture_batch):
    x, logits, means, P = (t.detach() for t in leaves(mixture_batch("diag", n_mixtures=4)))
    function = bridge.mixture_log_evidence
    with pytest.raises(ValueError, match=r"x must have shape \(4, ..., 2\) for a batch"):
        function(x[:3], logits, means, P, "diag")
    with pytest.raises(ValueError, match="weights_logits must have leading axes that broadcast"):
        function(x, logits[:3], means, P, "diag")
    with pytest.raises(ValueError, match=r"means must be on the CPU; got meta. Use means.cpu\(\)"):
        function(x, logits, means.to("meta"), P, "diag")
    with pytest.raises(ValueError, match="nor -inf for all components of a mixture"):
        function(x, torch.full_like(logits, -torch.inf), means, P, "diag")
    x[2, 1, 0] = torch.nan
    with pytest.raises(ValueError, match="row 13 has a value that is NaN or infinite"):
        function(x, logits, means, P, "diag")
