r"""
A mixture as the prior of a variational autoencoder
===================================================

A variational autoencoder has a prior over its latent variables, most often a single Gaussian. If
that is a mixture, trained with the network, its components become clusters of the data:
:func:`vbfast.torch.mixture_log_evidence` is a density that autograd differentiates, in the latent
variables and in the parameters of the mixture.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Ellipse
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_mutual_info_score

import vbfast.torch

digits, labels = load_digits(return_X_y=True)
torch.set_num_threads(1)  # the layers are small
pixels = torch.as_tensor(digits / 16.0, dtype=torch.float32)
training, held_out = pixels[:1500], pixels[1500:]


# %%
# The loss is minus the bound, a Monte Carlo estimate of
#
# .. math:: E_{q(z \mid x)}\big[\log p(x \mid z) + \log p(z) - \log q(z \mid x)\big],
#
# with the mixture as :math:`p(z)`. One component at the origin is the usual prior.


class Autoencoder(torch.nn.Module):
    """Two latent variables, and a mixture with diagonal covariances as their prior."""

    def __init__(self, n_components):
        super().__init__()
        self.encoder = torch.nn.Sequential(
            torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 4)
        )
        self.decoder = torch.nn.Sequential(
            torch.nn.Linear(2, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64)
        )
        learned = n_components > 1
        means = 2.0 * torch.randn(n_components, 2) if learned else torch.zeros(1, 2)
        self.logits = torch.nn.Parameter(torch.zeros(n_components), requires_grad=learned)
        self.means = torch.nn.Parameter(means, requires_grad=learned)
        self.log_scales = torch.nn.Parameter(torch.zeros(n_components, 2), requires_grad=learned)

    def bound(self, x):
        """Return an estimate of the bound of each row, nats."""
        location, log_scale = self.encoder(x).chunk(2, dim=1)
        noise = torch.randn_like(location)
        z = location + log_scale.exp() * noise
        log_prior = vbfast.torch.mixture_log_evidence(
            z, self.logits, self.means, (-self.log_scales).exp(), "diag"
        )
        log_posterior = (-0.5 * noise**2 - log_scale - 0.5 * np.log(2 * np.pi)).sum(dim=1)
        log_likelihood = -torch.nn.functional.binary_cross_entropy_with_logits(
            self.decoder(z), x, reduction="none"
        ).sum(dim=1)
        return log_likelihood + log_prior - log_posterior


def train(n_components, n_epochs=120):
    """Return an autoencoder, and its mean bound on the held-out rows after each epoch."""
    torch.manual_seed(0)
    model = Autoencoder(n_components)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    bounds = []
    for _ in range(n_epochs):
        for batch in training[torch.randperm(len(training))].split(250):
            optimiser.zero_grad()
            (-model.bound(batch).mean()).backward()
            optimiser.step()
        with torch.no_grad():
            bounds.append(model.bound(held_out.repeat(10, 1)).mean().item())
    return model, bounds


models, traces = zip(*(train(n_components) for n_components in (1, 20)), strict=True)
for name, trace in zip(("one Gaussian", "mixture"), traces, strict=True):
    print(f"{name}: {np.mean(trace[-10:]):.2f} nats a held-out digit")

# %%
# The bounds are about the same: two latent variables are little room. But the mixture has sorted
# the digits without being told what they are. The adjusted mutual information of most probable
# components and digits would be 0 for random labels, and 1 if each told the other.

_, model = models
with torch.no_grad():
    places = model.encoder(pixels)[:, :2]
    densities = torch.distributions.Normal(model.means, model.log_scales.exp())
    log_joint = model.logits + densities.log_prob(places[:, None]).sum(dim=2)
    prototypes = torch.sigmoid(model.decoder(model.means)).reshape(-1, 8, 8).numpy()
    means, scales = model.means.numpy(), model.log_scales.exp().numpy()
    weights = vbfast.softmax(model.logits.numpy())
information = adjusted_mutual_info_score(labels, log_joint.argmax(dim=1))
print(f"adjusted mutual information with the digits: {information:.2f}")

# %%
# On the left are the digits where the encoder puts them, with the components of the prior at two
# standard deviations. On the right is what the decoder makes of the components' means, the heaviest
# first.

figure = plt.figure(figsize=(11, 4.8), layout="constrained")
left, right = figure.subfigures(1, 2)
ax = left.subplots()
points = ax.scatter(*places.T, c=labels, cmap="tab10", s=6)
left.colorbar(points, ax=ax, ticks=range(10), label="digit")
for weight, centre, scale in zip(weights, means, scales, strict=True):
    ax.add_patch(Ellipse(centre, *(4 * scale), fill=False, linewidth=0.5 + 20 * weight, alpha=0.6))
ax.set(xlabel="first latent variable", ylabel="second latent variable")
for ax, k in zip(right.subplots(4, 5).flat, np.argsort(-weights), strict=True):
    ax.imshow(prototypes[k], cmap="gray_r", vmin=0, vmax=1)
    ax.set_axis_off()
plt.show()
