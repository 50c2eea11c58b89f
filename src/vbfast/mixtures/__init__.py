"""Evidence of Gaussian mixtures as a function of arrays, with its gradients."""
