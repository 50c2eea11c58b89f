"""What truncated posteriors cost."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BoundGap"]


@dataclass(frozen=True)
class BoundGap:
    """How far a truncated bound lies below the log-evidence: the mean over rows of their KL.

    For the posterior restricted to a set of components, ``KL(q || p(z|x))`` is minus the logarithm
    of the mass that the exact posterior has there, and log-evidence = bound + KL.

    Attributes
    ----------
    mean : float
        Nats a row; not negative.
    standard_error : float
        Of the mean, where it is that of a sample of rows; zero where it is that of all.
    n_samples : int
        The number of rows.

    Examples
    --------
    >>> import vbfast
    >>> gap = vbfast.BoundGap(mean=0.02, standard_error=0.001, n_samples=1000)
    >>> gap.mean
    0.02
    """

    mean: float
    standard_error: float
    n_samples: int
