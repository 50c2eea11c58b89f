r"""
log p(x) = ELBO + KL, for any q
===============================

For every distribution :math:`q` over the components of a row

.. math::

    \log p(x) = \underbrace{E_q[\log p(x, z)] + H[q]}_{\mathrm{ELBO}(q)}
    + \mathrm{KL}\big(q \,\|\, p(z \mid x)\big).

The left side does not know :math:`q`. So whatever raises the bound lowers the divergence by as
much, and the highest bound, at the posterior, is the evidence.
"""

import matplotlib.pyplot as plt
import numpy as np

import vbfast

# %%
# A row has a log-joint for each of three components. Along the horizontal axis ``q`` moves from
# being sure of a wrong component, through the posterior, to the uniform distribution. The gap
# between the bound and the evidence is the divergence.

log_joint = np.log([0.06, 0.25, 0.10])
posterior = vbfast.softmax(log_joint)
wrong, uniform = np.array([0.98, 0.01, 0.01]), np.full(3, 1 / 3)
step = np.linspace(0, 1, 101)[:, np.newaxis]
path = np.concatenate(
    [(1 - step) * wrong + step * posterior, (1 - step) * posterior + step * uniform]
)
terms = vbfast.elbo(np.broadcast_to(log_joint, path.shape), q=path, per_sample=True)
print("the identity holds to", f"{np.abs(terms.log_evidence - terms.elbo - terms.kl).max():.1e}")

figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
t = np.linspace(0, 2, len(path))
ax.plot(t, terms.log_evidence, color="black", label=r"$\log p(x)$")
ax.fill_between(t, terms.elbo, terms.log_evidence, color="tab:orange", alpha=0.5, label="KL")
ax.plot(t, terms.elbo, color="tab:blue", label="ELBO")
ax.plot(t, terms.expected_log_joint, "--", color="tab:green", label=r"$E_q[\log p(x, z)]$")
ax.plot(t, terms.entropy, "--", color="tab:purple", label=r"$H[q]$")
ax.set_xticks([0, 1, 2], ["sure of a\nwrong component", "posterior", "uniform"])
ax.set_ylabel("nats")
figure.legend(loc="outside right upper")
plt.show()

# %%
# All distributions over three components make a triangle. The bound is concave on it, with its
# maximum at the posterior. Gradients in the logits of ``q`` lead there from anywhere.

corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
grid = np.stack(np.meshgrid(np.linspace(0, 1, 200), np.linspace(0, 1, 200)), axis=-1)
grid = grid[grid.sum(axis=-1) <= 1]
everywhere = np.column_stack([1 - grid.sum(axis=1), grid]).clip(1e-12)
everywhere /= everywhere.sum(axis=1, keepdims=True)
bounds = vbfast.elbo(np.broadcast_to(log_joint, everywhere.shape), q=everywhere, per_sample=True)

start = np.array([[0.96, 0.02, 0.02], [0.02, 0.02, 0.96], [0.02, 0.96, 0.02]])
logits, ascent = np.log(start), [start]
for _ in range(60):
    _, gradient = vbfast.elbo_and_grad(np.tile(log_joint, (3, 1)), q_logits=logits)
    logits = logits + 1.0 * gradient.q_logits
    ascent.append(vbfast.softmax(logits, axis=1))
figure, ax = plt.subplots(figsize=(5.5, 4.4), layout="constrained")
contours = ax.tricontourf(*(everywhere @ corners).T, bounds.elbo, levels=30)
figure.colorbar(contours, label="ELBO, nats", shrink=0.8)
for one in np.stack(ascent, axis=1) @ corners:
    ax.plot(*one.T, "w.-", markersize=3, linewidth=1)
ax.plot(*(posterior @ corners), "r*", markersize=14)
for number, (x, y) in enumerate(corners, start=1):
    ax.text(x, y + (0.03 if y else -0.07), f"z = {number}", ha="center")
ax.set_aspect("equal")
ax.set_axis_off()
plt.show()

# %%
# EM climbs by the same identity, here for all rows and with a ``q`` for each. Its local step sets
# ``q`` to the posterior, which closes the gap and leaves the evidence where it is. Its global step
# raises the bound at that ``q``; the evidence rises by at least as much, as a gap opens again.

rng = np.random.default_rng(0)
X = np.array([[-4.0], [4.0]])[rng.integers(2, size=500)] + rng.normal(size=(500, 1))
mixture = vbfast.GaussianMixture(
    2, weights_init=[0.5, 0.5], means_init=[[1.0], [4.0]], precisions_init=[[[0.1]], [[0.1]]]
).initialize(X)
n_steps = 6
evidence, bound = [mixture.score(X)], []
for _ in range(n_steps):
    resp = mixture.predict_proba(X)  # the local step
    mixture.maximize(mixture.summarize(X))  # the global step
    terms_of_rows = mixture.elbo(X, resp)
    evidence.append(terms_of_rows.log_evidence / len(X))
    bound.append(terms_of_rows.elbo / len(X))

figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
steps = np.arange(n_steps + 1)
ax.plot(steps, evidence, "ko-", label=r"$\log p(X)$ at the parameters")
for t in range(n_steps):
    label = "global step: the bound at a fixed q" if t == 0 else None
    ax.plot([t, t + 1], [evidence[t], bound[t]], ".-", color="tab:blue", label=label)
    label = "local step: KL" if t == 0 else None
    ax.plot([t + 1, t + 1], [bound[t], evidence[t + 1]], color="tab:orange", lw=4, label=label)
ax.set(xlabel="iteration", ylabel="nats a row")
ax.legend(loc="lower right")
plt.show()
