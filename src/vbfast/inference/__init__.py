"""The loops of inference: starts, expectation-maximisation, convergence and what watches them."""
