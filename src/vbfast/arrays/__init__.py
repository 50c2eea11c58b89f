"""The array functions: evidence, softmax, entropy, divergence and bounds of arrays of any shape."""
