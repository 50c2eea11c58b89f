"""The functions for PyTorch inside torch.func: transforms against torch's functions."""

from __future__ import annotations

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install vbfast[torch]")
bridge = pytest.importorskip("vbfast.torch")
func = torch.func
# torch's own: its forward mode scripts functions, its compiler looks at tensors between graphs.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]
leaves = torch.utils._pytree.tree_leaves


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of torch's that wait for each other cost more than these small tensors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def number(function):
    """A number from a function's results, not linear in them."""
    return lambda *arguments: function(*arguments).sin().sum()


def everything(function, argnums):
    return {
        "value": function,
        "grad": func.grad(number(function), argnums),
        "jacrev": func.jacrev(function, argnums),
        "jacfwd": func.jacfwd(function, argnums),
        "hessian": func.hessian(number(function), argnums),
        "reverse twice": func.jacrev(func.jacrev(number(function), argnums), argnums),
        "reverse over forward": func.jacrev(func.jacfwd(number(function), argnums), argnums),
    }


DERIVATIVES = list(everything(len, 0))


def same(ours, theirs, arguments):
    for actual, expected in zip(leaves(ours(*arguments)), leaves(theirs(*arguments)), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def textbook_elbo(log_joint, q_logits):
    log_q = torch.log_softmax(q_logits, -1)
    return (log_q.exp() * (log_joint - log_q)).sum(-1)


def textbook_mixture(covariance_type, x, logits, means, P):
    """One mixture, in torch."""
    D = means.shape[-1]
    if covariance_type in ("full", "tied"):
        y = torch.einsum("...kd,...de->...ke" if P.dim() == 2 else "...kd,kde->...ke",
                         x.unsqueeze(-2) - means, P.triu())  # fmt: skip
        log_det = P.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    else:
        scale = P if covariance_type == "diag" else P.unsqueeze(-1).expand(means.shape)
        y, log_det = (x.unsqueeze(-2) - means) * scale, scale.log().sum(-1)
    log_joint = torch.log_softmax(logits, -1) + log_det - 0.5 * D * np.log(2 * np.pi)
    return torch.logsumexp(log_joint - 0.5 * y.square().sum(-1), -1)


@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_logsumexp(rng, derivative):
    values = torch.tensor(rng.normal(size=(4, 2, 3)))
    ours, theirs = (functools.partial(f, dim=(0, 2)) for f in (bridge.logsumexp, torch.logsumexp))
    same(everything(ours, 0)[derivative], everything(theirs, 0)[derivative], (values,))
    ours, theirs = (functools.partial(f, dim=-1) for f in (bridge.logsumexp, torch.logsumexp))
    of_rows = [
        func.vmap(everything(f, 0)[derivative], in_dims=2, out_dims=-1) for f in (ours, theirs)
    ]
    same(*of_rows, (values,))
    if derivative == "grad":
        outside = [func.grad(number(func.vmap(func.vmap(f, 1), 1))) for f in (ours, theirs)]
        same(*outside, (values,))


@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_elbo(rng, derivative):
    log_joint, q_logits = torch.tensor(rng.normal(size=(2, 3, 4)))
    ours, theirs = (everything(f, (0, 1))[derivative] for f in (bridge.elbo, textbook_elbo))
    same(ours, theirs, (log_joint, q_logits))
    for in_dims in ((0, 0), (0, None), (None, 0)):
        arguments = [
            a if dim == 0 else a[0] for a, dim in zip((log_joint, q_logits), in_dims, strict=True)
        ]
        same(func.vmap(ours, in_dims), func.vmap(theirs, in_dims), arguments)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_mixture_log_evidence(mixture_arrays, covariance_type, derivative):
    arguments = [torch.tensor(a) for a in mixture_arrays(covariance_type, n_rows=3)]

    def mixture(*arrays):
        return bridge.mixture_log_evidence(*arrays, covariance_type)

    textbook = functools.partial(textbook_mixture, covariance_type)
    ours, theirs = (everything(f, (0, 1, 2, 3))[derivative] for f in (mixture, textbook))
    same(ours, theirs, arguments)
    if derivative in ("reverse twice", "reverse over forward"):
        return
    over_rows = (0, None, None, None)
    same(func.vmap(ours, over_rows), func.vmap(theirs, over_rows), arguments)
    for which in range(4):
        in_dims = tuple(-1 if i == which else None for i in range(4))
        several = [
            torch.stack([a, 1.1 * a, 0.9 * a], -1) if i == which else a
            for i, a in enumerate(arguments)
        ]
        same(func.vmap(ours, in_dims), func.vmap(theirs, in_dims), several)


def test_a_batch_is_a_map_over_mixtures(mixture_batch):
    arguments = [torch.tensor(a) for a in mixture_batch("full", n_mixtures=3, n_rows=2)]
    argnums = (0, 1, 2, 3)
    for derivative in ("value", "grad", "jacrev", "hessian"):
        one_by_one = func.vmap(bridge.mixture_log_evidence)
        textbook = func.vmap(functools.partial(textbook_mixture, "full"))
        same(
            everything(bridge.mixture_log_evidence, argnums)[derivative],
            everything(textbook, argnums)[derivative],
            arguments,
        )
        same(
            everything(one_by_one, argnums)[derivative],
            everything(textbook, argnums)[derivative],
            arguments,
        )
    several = [torch.stack([a, 1.1 * a]) for a in arguments]  # a batch of batches
    same(func.vmap(bridge.mixture_log_evidence), func.vmap(textbook), several)
    rows = (1, None, None, None)  # along an axis of x behind the batch's
    same(
        func.vmap(func.grad(number(bridge.mixture_log_evidence), argnums), rows),
        func.vmap(func.grad(number(textbook), argnums), rows),
        [arguments[0].unsqueeze(2), *arguments[1:]],
    )


def test_the_gradient_in_x_is_made_with_the_value(passes, mixture_arrays):
    """Under transforms too: one pass for the value, none for the gradient in x."""
    x, *parameters = (torch.tensor(a) for a in mixture_arrays("diag"))

    def density(x):
        return bridge.mixture_log_evidence(x, *parameters, "diag")

    func.vmap(func.grad(density))(x)
    assert len(passes) == 1
    func.grad(lambda x: func.vmap(density)(x).sum())(x)
    assert len(passes) == 2
    func.vmap(density)(x.requires_grad_()).sum().backward()
    assert len(passes) == 3


def test_second_derivatives_by_autograd(rng, mixture_arrays):
    arguments = [torch.tensor(a, requires_grad=True) for a in mixture_arrays("full", n_rows=2)]
    assert torch.autograd.gradgradcheck(bridge.mixture_log_evidence, arguments)
    joint, logits = (torch.tensor(rng.normal(size=(2, 3)), requires_grad=True) for _ in range(2))
    assert torch.autograd.gradgradcheck(bridge.elbo, (joint, logits))
    assert torch.autograd.gradgradcheck(lambda a: bridge.logsumexp(a, None), joint)
    assert torch.autograd.gradcheck(bridge.elbo, (joint, logits), check_forward_ad=True)
    assert torch.autograd.gradcheck(bridge.logsumexp, joint, check_forward_ad=True)
    assert torch.autograd.gradcheck(bridge.mixture_log_evidence, arguments, check_forward_ad=True)


def test_impossible_components_have_no_second_derivatives(mixture_arrays):
    x, logits, means, P = (torch.tensor(a) for a in mixture_arrays("full"))
    logits[1] = -torch.inf
    hessian = func.hessian(lambda *a: bridge.mixture_log_evidence(*a).sum(), argnums=(0, 1, 2, 3))
    for row in hessian(x, logits, means, P):
        assert all(torch.isfinite(block).all() for block in row)
    in_logits = func.hessian(lambda a: bridge.logsumexp(a).sum())(
        torch.tensor([[0.0, -torch.inf], [-torch.inf, -torch.inf]])
    )
    assert not in_logits.any()


def test_forward_inside_forward_is_refused(mixture_arrays):
    x, *parameters = (torch.tensor(a) for a in mixture_arrays("diag"))
    functions = [
        bridge.logsumexp,
        lambda x: bridge.elbo(x, 2 * x),
        lambda x: bridge.mixture_log_evidence(x, *parameters, "diag"),
    ]
    for function in functions:
        with pytest.raises(NotImplementedError, match="no forward mode inside forward mode"):
            func.jacfwd(func.jacfwd(number(function)))(x)


def test_functions_stay_out_of_compiled_graphs(rng, mixture_arrays):
    arguments = [torch.tensor(a, requires_grad=True) for a in mixture_arrays("diag")]

    def function(x, *parameters):
        bound = bridge.elbo(2 * x, x.sin())
        evidence = bridge.mixture_log_evidence(x.sin(), *parameters, "diag")
        return (bound + evidence).exp().sum() + bridge.logsumexp(x, (0, 1))

    compiled = torch.compile(function, backend="eager")
    ours, theirs = (torch.autograd.grad(f(*arguments), arguments) for f in (compiled, function))
    for actual, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(actual, expected)
    slope = torch.compiler.disable(func.grad(lambda x: bridge.logsumexp(x.sin(), None)))
    doubled = torch.compile(lambda x: 2 * slope(x), backend="eager")
    torch.testing.assert_close(doubled(arguments[0].detach()), 2 * slope(arguments[0].detach()))
