"""Starting parameters and priors that are refused: the message names the argument."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.estimators import BayesianGaussianMixture, GaussianMixture

NAN_MATRICES = np.full((2, 4, 4), np.nan)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights_init": [np.nan, 1.0]}, "Input weights_init contains NaN"),
        ({"weights_init": [0.5, 0.6]}, r"'weights' should be normalized, but got .* 1\.10000"),
        ({"weights_init": [0.5]}, r"'weights' should have the shape of \(2,\), but got \(1,\)"),
        ({"means_init": np.full((2, 4), np.inf)}, "Input means_init contains infinity"),
        ({"means_init": np.zeros((0, 4))}, r"shape of \(2, 4\), but got \(0, 4\)"),
        ({"means_init": np.zeros((2, 0))}, r"shape of \(2, 4\), but got \(2, 0\)"),
        ({"means_init": np.zeros((2, 4, 1))}, r"shape of \(2, 4\), but got \(2, 4, 1\)"),
        ({"means_init": np.zeros((2, 4), complex)}, "Complex data not supported"),
        ({"precisions_init": NAN_MATRICES}, "Input precisions_init contains NaN"),
        ({"precisions_init": np.ones(2)}, r"'full precision' should have the shape of \(2, 4, 4\)"),
    ],
)
def test_starts(clustered, given, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, **given).fit(clustered)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean_prior": [np.nan, 0.0, 0.0, 0.0]}, "Input mean_prior contains NaN"),
        ({"covariance_prior": NAN_MATRICES[0]}, "Input covariance_prior contains NaN"),
        ({"covariance_prior": 1.0}, r"'full covariance_prior' .* \(4, 4\), but got \(\)"),
        ({"covariance_prior": np.array(np.nan)}, "Input covariance_prior contains NaN"),
    ],
)
def test_priors(clustered, given, message):
    with pytest.raises(ValueError, match=message):
        BayesianGaussianMixture(2, **given).fit(clustered)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "Input covariance_prior contains NaN"),
        (np.inf, "Input covariance_prior contains infinity"),
        (1j, "Complex data not supported"),
        (-1.0, "'spherical precision' should be positive"),
    ],
)
def test_a_number_in_an_array_is_checked_as_arrays_are(clustered, value, message):
    mixture = BayesianGaussianMixture(
        2, covariance_type="spherical", covariance_prior=np.array(value)
    )
    with pytest.raises(ValueError, match=message):
        mixture.fit(clustered)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
@pytest.mark.parametrize("weights", ["dirichlet_process", "dirichlet_distribution"])
@pytest.mark.parametrize("degrees_of_freedom_prior", [1e308, 1.7e308])
def test_a_prior_beyond_what_can_be_computed_with_is_no_fit(
    clustered, degrees_of_freedom_prior, weights
):
    mixture = BayesianGaussianMixture(
        2,
        weight_concentration_prior_type=weights,
        degrees_of_freedom_prior=degrees_of_freedom_prior,
    )
    with pytest.raises(ValueError, match=r"a parameter of the prior|overflows float64"):
        mixture.fit(clustered)
    assert not hasattr(mixture, "weights_")


@pytest.mark.parametrize("weights", ["dirichlet_process", "dirichlet_distribution"])
def test_the_smallest_concentration_has_a_bound(clustered, weights):
    """Of two components that hold rows the prior takes log(5e-324) less, of their limit."""
    bounds = [
        BayesianGaussianMixture(
            2,
            weight_concentration_prior_type=weights,
            weight_concentration_prior=concentration,
            random_state=0,
            max_iter=500,
        )
        .fit(clustered)
        .elbo_
        for concentration in (1e-300, 5e-324)
    ]
    np.testing.assert_allclose(bounds[1] - bounds[0], np.log(5e-324) + 300 * np.log(10), rtol=1e-6)
