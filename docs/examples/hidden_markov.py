r"""
The forward pass of a hidden Markov model
=========================================

A mixture takes its rows to be independent. If they come in sequences, the component of a row
depends on that of the row before. What a hidden Markov model needs of a row are the log-densities
of its states, which are the log-joint without the weights; the rest is :func:`vbfast.logsumexp`,
one step in time for all sequences at once.
"""

import matplotlib.pyplot as plt
import numpy as np

import vbfast

rng = np.random.default_rng(0)
S, T, K, STAY = 200, 300, 3, 0.95  # sequences, steps, states, and the chance to stay in a state


def transitions(stay):
    """Return the matrix of a chain that leaves for any other state alike."""
    return np.full((K, K), (1 - stay) / (K - 1)) + (stay - (1 - stay) / (K - 1)) * np.eye(K)


states = np.empty((S, T), dtype=int)
states[:, 0] = rng.integers(K, size=S)
for t in range(1, T):
    leaves = rng.uniform(size=S) > STAY
    states[:, t] = (states[:, t - 1] + leaves * rng.integers(1, K, size=S)) % K
centres = np.array([[0.0, 0.0], [1.5, 0.0], [0.7, 1.4]])
X = centres[states] + rng.normal(size=(S, T, 2))

# %%
# The states overlap: a mixture without memory confuses them. Its log-joint less its log weights
# are the log-densities of the states.

mixture = vbfast.GaussianMixture(K, means_init=centres, random_state=0, max_iter=300)
mixture.fit(X.reshape(-1, 2))
log_joint = mixture.log_joint(X.reshape(-1, 2)).reshape(S, T, K)
log_density = log_joint - np.log(mixture.weights_)


def forward(log_density, stay):
    """Return log p(x_1 ... x_t, z_t) of shape (S, T, K)."""
    log_transitions = np.log(transitions(stay))
    alpha = np.empty_like(log_density)
    alpha[:, 0] = log_density[:, 0] - np.log(K)
    for t in range(1, T):
        arrivals = alpha[:, t - 1, :, np.newaxis] + log_transitions
        alpha[:, t] = vbfast.logsumexp(arrivals, axis=1) + log_density[:, t]
    return alpha


def backward(log_density, stay):
    """Return log p(x_{t+1} ... x_T | z_t) of shape (S, T, K)."""
    log_transitions = np.log(transitions(stay))
    beta = np.zeros_like(log_density)
    for t in range(T - 2, -1, -1):
        departures = log_transitions + (beta[:, t + 1] + log_density[:, t + 1])[:, np.newaxis]
        beta[:, t] = vbfast.logsumexp(departures, axis=2)
    return beta


# %%
# The evidence of the sequences, as a function of the chance to stay, has its maximum near the value
# that they were drawn with. At 1/3 there is no memory, and the model is a mixture of equal weights.

stays = np.array([1 / 3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.99])
evidence = [vbfast.logsumexp(forward(log_density, s)[:, -1], axis=1).sum() / (S * T) for s in stays]
best = stays[np.argmax(evidence)]
posterior = vbfast.softmax(forward(log_density, best) + backward(log_density, best), axis=2)
alone = (mixture.predict(X.reshape(-1, 2)) == states.ravel()).mean()
together = (posterior.argmax(axis=2) == states).mean()
print(f"right states: {alone:.1%} row by row, {together:.1%} with the sequence")

# %%
# One sequence: the states that it was drawn with, and their probabilities without memory and with.

figure = plt.figure(figsize=(10, 4.2), layout="constrained")
grid = figure.add_gridspec(3, 2, width_ratios=(2, 1))
rows = (
    ("drawn", np.eye(K)[states[0]]),
    ("mixture", vbfast.softmax(log_joint[0], axis=1)),
    ("hidden\nMarkov", posterior[0]),
)
for number, (name, probabilities) in enumerate(rows):
    ax = figure.add_subplot(grid[number, 0])
    ax.stackplot(np.arange(T), probabilities.T, colors=("tab:blue", "tab:orange", "tab:green"))
    ax.set(ylabel=name, xlim=(0, T - 1), ylim=(0, 1), yticks=[])
    if number < 2:
        ax.set_xticks([])
ax.set_xlabel("time")
right = figure.add_subplot(grid[:, 1])
right.plot(stays, evidence, "o-")
right.axvline(STAY, color="gray", linestyle="dashed", label="drawn with")
right.set(xlabel="chance to stay", ylabel="log evidence, nats a row")
right.legend(loc="upper left")
plt.show()
