"""The contract of a pass: what it is given and what it returns, as plain typed data.

A *pass* visits every row once. For row ``n`` and component ``k`` it evaluates the log-joint, forms
the responsibilities ``q_nk`` (local step), and adds up the sufficient statistics (summary step).
Its caller says with a :class:`LogJoint` what is evaluated, and with a :class:`Request` how the
responsibilities come about, which moments are summed and what is written for each row. What comes
back is a :class:`PassResult`, a value: results of parts of the rows add up.

Nothing here visits rows; backends do (:mod:`vbfast.backends`), and :mod:`vbfast.passes` drives
them. This package is the ground floor: it imports NumPy and nothing of ours.
"""

from __future__ import annotations

from vbfast.contract.backend import (
    Backend,
    BoundingBackend,
    Pass,
    SeedingPass,
    offers_bounds,
)
from vbfast.contract.blocking import Blocking
from vbfast.contract.linear_algebra import LinearAlgebra, NotPositiveDefiniteError
from vbfast.contract.log_joint import (
    NEAR_LIMIT,
    Form,
    Identity,
    Linear,
    Link,
    LogJoint,
    Quadratic,
    StudentT,
    UserFunction,
    quadratic_form,
)
from vbfast.contract.loops import (
    Iterated,
    LikelihoodSteps,
    LoopingBackend,
    MovedCentres,
    Ordinary,
    Settling,
    Steps,
    VariationalSteps,
    offers_loops,
)
from vbfast.contract.merging import merge
from vbfast.contract.moment_shifts import subtract_symmetric
from vbfast.contract.posteriors import NormalWishartArrays, Posteriors
from vbfast.contract.request import Assignment, Request, RowOutputs
from vbfast.contract.result import PassResult
from vbfast.contract.rows import NonFiniteRowError, RowBlock, RowSource
from vbfast.contract.statistics import MOMENTS_OF, Moments, Statistics, second_shape
from vbfast.contract.truncation import (
    Cells,
    Components,
    NearnessSums,
    Search,
    TruncatedPass,
    TruncatingBackend,
    offers_truncation,
)
from vbfast.contract.types import (
    COVARIANCE_TYPES,
    CovarianceType,
    Float64Array,
    FloatArray,
    covariance_shape,
)

__all__ = [
    "COVARIANCE_TYPES",
    "MOMENTS_OF",
    "NEAR_LIMIT",
    "Assignment",
    "Backend",
    "Blocking",
    "BoundingBackend",
    "Cells",
    "Components",
    "CovarianceType",
    "Float64Array",
    "FloatArray",
    "Form",
    "Identity",
    "Iterated",
    "LikelihoodSteps",
    "Linear",
    "LinearAlgebra",
    "Link",
    "LogJoint",
    "LoopingBackend",
    "Moments",
    "MovedCentres",
    "NearnessSums",
    "NonFiniteRowError",
    "NormalWishartArrays",
    "NotPositiveDefiniteError",
    "Ordinary",
    "Pass",
    "PassResult",
    "Posteriors",
    "Quadratic",
    "Request",
    "RowBlock",
    "RowOutputs",
    "RowSource",
    "Search",
    "SeedingPass",
    "Settling",
    "Statistics",
    "Steps",
    "StudentT",
    "TruncatedPass",
    "TruncatingBackend",
    "UserFunction",
    "VariationalSteps",
    "covariance_shape",
    "merge",
    "offers_bounds",
    "offers_loops",
    "offers_truncation",
    "quadratic_form",
    "second_shape",
    "subtract_symmetric",
]
