"""The loops of inference: starts, expectation-maximization, convergence and what watches them."""
