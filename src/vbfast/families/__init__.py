"""Component families: their parameters, the kernel layout of those, and the global step."""
