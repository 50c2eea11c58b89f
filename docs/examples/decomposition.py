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
# being sure of the wrong component, through the posterior, to the uniform distribution and beyond.

log_joint = np.log([0.06, 0.25, 0.10])
posterior = vbfast.softmax(log_joint)
wrong, uniform = np.array([0.98, 0.01, 0.01]), np.full(3, 1 / 3)
step = np.linspace(0, 1, 101)[:, np.newaxis]
path = np.concatenate(
    [(1 - step) * wrong + step * posterior, (1 - step) * posterior + step * uniform]
)
terms = vbfast.elbo(np.broadcast_to(log_joint, path.shape), q=path, per_sample=True)
print("the identity holds to", f"{np.abs(terms.log_evidence - terms.elbo - terms.kl).max():.1e}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
t = np.linspace(0, 2, len(path))
left.fill_between(t, terms.elbo, terms.log_evidence, color="tab:orange", alpha=0.5, label="KL")
left.plot(t, terms.elbo, color="tab:blue", label="ELBO")
left.plot(t, terms.expected_log_joint, color="tab:green", linestyle="dashed", label="E_q[log p(x, z)]")
left.plot(t, terms.entropy, color="tab:purple", linestyle="dashed", label="H[q]")
left.plot(t, terms.log_evidence, color="black", label="log p(x)")
left.set_xticks([0, 1, 2], ["sure of the\nwrong one", "posterior", "uniform"])
left.set_ylabel("nats")
left.legend(loc="center left", bbox_to_anchor=(0.0, 0.62))

# %%
# All distributions over three components make a triangle. The bound is concave on it, with its
# maximum at the posterior. Gradients in the logits of ``q`` lead there from anywhere.

corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
grid = np.stack(np.meshgrid(np.linspace(0, 1, 200), np.linspace(0, 1, 200)), axis=-1)
grid = grid[grid.sum(axis=-1) <= 1]
everywhere = np.column_stack([1 - grid.sum(axis=1), grid]).clip(1e-12)
everywhere /= everywhere.sum(axis=1, keepdims=True)
bounds = vbfast.elbo(np.broadcast_to(log_joint, everywhere.shape), q=everywhere, per_sample=True)
right.tricontourf(*(everywhere @ corners).T, bounds.elbo, levels=30)

start = np.array([[0.96, 0.02, 0.02], [0.02, 0.02, 0.96], [0.02, 0.96, 0.02]])
logits, ascent = np.log(start), [start]
for _ in range(60):
    _, gradient = vbfast.elbo_and_grad(np.tile(log_joint, (3, 1)), q_logits=logits)
    logits = logits + 1.0 * gradient.q_logits
    ascent.append(vbfast.softmax(logits, axis=1))
for one in np.stack(ascent, axis=1) @ corners:
    right.plot(*one.T, "w.-", markersize=3, linewidth=1)
right.plot(*(posterior @ corners), "r*", markersize=14)
for number, (x, y) in enumerate(corners, start=1):
    right.text(x, y + (0.03 if y else -0.07), f"z = {number}", ha="center")
right.set_aspect("equal")
right.set_axis_off()
right.set_title("ELBO(q), and ascents to the posterior", y=1.06)
plt.show()
