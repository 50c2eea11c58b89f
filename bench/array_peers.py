"""The array functions in other libraries: each as a user of that library would write it.

A maker takes the inputs and gives a call without arguments for every function that the library has.
All calls of a function return the same numbers.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from dataclasses import dataclass

import numpy as np

import vbfast

# Row-wise, then the same along the first axis. "out=" writes into arrays that are there already.
FUNCTIONS = (
    "logsumexp",
    "entropy",
    "elbo, posterior",
    "elbo, q logits",
    "softmax, out=",
    "softmax",
    "log_softmax, out=",
    "log_softmax",
    "elbo_and_grad, out=",
    "elbo_and_grad",
    "logsumexp, axis 0",
    "entropy, axis 0",
    "softmax, axis 0, out=",
    "softmax, axis 0",
)


@dataclass(frozen=True)
class Inputs:
    """A log-joint, logits of q, and arrays to write to, all of shape (n_samples, n_components)."""

    log_joint: np.ndarray
    q_logits: np.ndarray
    out: tuple[np.ndarray, np.ndarray]

    @classmethod
    def draw(cls, n_samples, n_components, dtype):
        rng = np.random.default_rng(0)
        shape, scale = (n_samples, n_components), np.dtype(dtype).type(3)
        log_joint = scale * rng.standard_normal(shape, dtype)
        q_logits = rng.standard_normal(shape, dtype)
        # Written to once, so that their pages are there.
        return cls(log_joint, q_logits, (np.zeros(shape, dtype), np.zeros(shape, dtype)))


def vbfast_calls(inputs):
    x, eta, out = inputs.log_joint, inputs.q_logits, inputs.out

    def three(terms):
        return terms.log_evidence, terms.entropy, terms.expected_log_joint

    def gradients(**keywords):
        terms, gradient = vbfast.elbo_and_grad(x, q_logits=eta, **keywords)
        return terms.elbo, gradient.q_logits, gradient.log_joint

    return {
        "logsumexp": lambda: vbfast.logsumexp(x, axis=1),
        "entropy": lambda: vbfast.entropy(logits=x),
        "elbo, posterior": lambda: three(vbfast.elbo(x)),
        "elbo, q logits": lambda: three(vbfast.elbo(x, q_logits=eta)),
        "softmax, out=": lambda: vbfast.softmax(x, axis=1, out=out[0]),
        "softmax": lambda: vbfast.softmax(x, axis=1),
        "log_softmax, out=": lambda: vbfast.log_softmax(x, axis=1, out=out[0]),
        "log_softmax": lambda: vbfast.log_softmax(x, axis=1),
        "elbo_and_grad, out=": lambda: gradients(out=out),
        "elbo_and_grad": gradients,
        "logsumexp, axis 0": lambda: vbfast.logsumexp(x, axis=0),
        "entropy, axis 0": lambda: vbfast.entropy(logits=x, axis=0),
        "softmax, axis 0, out=": lambda: vbfast.softmax(x, axis=0, out=out[0]),
        "softmax, axis 0": lambda: vbfast.softmax(x, axis=0),
    }


def scipy_calls(inputs):
    from scipy.special import entr, log_softmax, logsumexp, softmax

    x, eta = inputs.log_joint, inputs.q_logits

    def posterior():
        q = softmax(x, axis=1)
        return logsumexp(x, axis=1).sum(), entr(q).sum(), (q * x).sum()

    def bound(q):
        return logsumexp(x, axis=1).sum(), entr(q).sum(), (q * x).sum()

    def gradients():
        log_q = log_softmax(eta, axis=1)
        q, gap = np.exp(log_q), x - log_q
        rows = (q * gap).sum(axis=1)
        return rows.sum(), q * (gap - rows[:, np.newaxis]), q

    return {
        "logsumexp": lambda: logsumexp(x, axis=1),
        "entropy": lambda: entr(softmax(x, axis=1)).sum(axis=1),
        "elbo, posterior": posterior,
        "elbo, q logits": lambda: bound(softmax(eta, axis=1)),
        "softmax": lambda: softmax(x, axis=1),
        "log_softmax": lambda: log_softmax(x, axis=1),
        "elbo_and_grad": gradients,
        "logsumexp, axis 0": lambda: logsumexp(x, axis=0),
        "entropy, axis 0": lambda: entr(softmax(x, axis=0)).sum(axis=0),
        "softmax, axis 0": lambda: softmax(x, axis=0),
    }


def torch_calls(inputs):
    import torch

    torch.set_num_threads(vbfast.get_num_threads())
    x, eta = torch.from_numpy(inputs.log_joint), torch.from_numpy(inputs.q_logits)
    out = torch.from_numpy(inputs.out[0])
    tracked = eta.clone().requires_grad_(), x.clone().requires_grad_()

    def entropy(dim):
        return torch.special.entr(torch.softmax(x, dim)).sum(dim)

    def bound(logits):
        log_q = torch.log_softmax(logits, 1)
        q = log_q.exp()
        return torch.logsumexp(x, 1).sum(), -(q * log_q).sum(), (q * x).sum()

    def gradients():
        logits, joint = tracked
        log_q = torch.log_softmax(logits, 1)
        elbo = (log_q.exp() * (joint - log_q)).sum()
        return (elbo.detach(), *torch.autograd.grad(elbo, tracked))

    return {
        "logsumexp": lambda: torch.logsumexp(x, 1),
        "entropy": lambda: entropy(1),
        "elbo, posterior": lambda: bound(x),
        "elbo, q logits": lambda: bound(eta),
        "softmax, out=": lambda: torch.softmax(x, 1, out=out),
        "softmax": lambda: torch.softmax(x, 1),
        "log_softmax, out=": lambda: torch.log_softmax(x, 1, out=out),
        "log_softmax": lambda: torch.log_softmax(x, 1),
        "elbo_and_grad": gradients,
        "logsumexp, axis 0": lambda: torch.logsumexp(x, 0),
        "entropy, axis 0": lambda: entropy(0),
        "softmax, axis 0, out=": lambda: torch.softmax(x, 0, out=out),
        "softmax, axis 0": lambda: torch.softmax(x, 0),
    }


def jax_calls(inputs):
    import jax
    import jax.numpy as jnp
    from jax.nn import log_softmax, softmax
    from jax.scipy.special import entr, logsumexp

    jax.config.update("jax_enable_x64", True)
    x, eta = jnp.asarray(inputs.log_joint), jnp.asarray(inputs.q_logits)

    def bound(logits, joint):
        log_q = log_softmax(logits, axis=1)
        q = jnp.exp(log_q)
        return logsumexp(joint, axis=1).sum(), -(q * log_q).sum(), (q * joint).sum()

    def elbo(logits, joint):
        log_q = log_softmax(logits, axis=1)
        return (jnp.exp(log_q) * (joint - log_q)).sum()

    def compiled(function, *arguments):
        function = jax.jit(function)
        return lambda: jax.block_until_ready(function(*arguments))

    value_and_grad = compiled(jax.value_and_grad(elbo, argnums=(0, 1)), eta, x)

    def gradients():
        value, gradient = value_and_grad()
        return (value, *gradient)

    return {
        "logsumexp": compiled(lambda x: logsumexp(x, axis=1), x),
        "entropy": compiled(lambda x: entr(softmax(x, axis=1)).sum(axis=1), x),
        "elbo, posterior": compiled(lambda x: bound(x, x), x),
        "elbo, q logits": compiled(bound, eta, x),
        "softmax": compiled(lambda x: softmax(x, axis=1), x),
        "log_softmax": compiled(lambda x: log_softmax(x, axis=1), x),
        "elbo_and_grad": gradients,
        "logsumexp, axis 0": compiled(lambda x: logsumexp(x, axis=0), x),
        "entropy, axis 0": compiled(lambda x: entr(softmax(x, axis=0)).sum(axis=0), x),
        "softmax, axis 0": compiled(lambda x: softmax(x, axis=0), x),
    }


def numba_calls(inputs):
    import numba

    numba.set_num_threads(vbfast.get_num_threads())
    loops = importlib.import_module("numba_loops")
    x, eta, out = inputs.log_joint, inputs.q_logits, inputs.out
    rows, terms = np.empty(len(x), x.dtype), np.empty((len(x), 3))

    def over_rows(loop, *arguments):
        loop(*arguments)
        return arguments[-1]

    def total(loop, *arguments):
        return tuple(over_rows(loop, *arguments, terms).sum(axis=0))

    def gradients(first, second):
        loops.elbo_and_grad(eta, x, first, second, rows)
        return rows.sum(dtype=float), first, second

    return {
        "logsumexp": lambda: over_rows(loops.logsumexp, x, np.empty_like(rows)),
        "entropy": lambda: over_rows(loops.entropy, x, np.empty_like(rows)),
        "elbo, posterior": lambda: total(loops.elbo_at_posterior, x),
        "elbo, q logits": lambda: total(loops.elbo, eta, x),
        "softmax, out=": lambda: over_rows(loops.softmax, x, out[0]),
        "softmax": lambda: over_rows(loops.softmax, x, np.empty_like(x)),
        "log_softmax, out=": lambda: over_rows(loops.log_softmax, x, out[0]),
        "log_softmax": lambda: over_rows(loops.log_softmax, x, np.empty_like(x)),
        "elbo_and_grad, out=": lambda: gradients(*out),
        "elbo_and_grad": lambda: gradients(np.empty_like(x), np.empty_like(x)),
    }


MAKERS = {
    "vbfast": vbfast_calls,
    "SciPy": scipy_calls,
    "torch": torch_calls,
    "JAX": jax_calls,
    "numba": numba_calls,
}


@functools.cache
def installed():
    """Names of the libraries that are there, vbfast first."""
    return [name for name in MAKERS if importlib.util.find_spec(name.lower()) is not None]
