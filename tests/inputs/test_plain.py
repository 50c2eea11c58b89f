"""What would lose its meaning as an array of numbers is refused, and what would not is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from vbfast.inputs.plain import check_plain

MATRIX = np.array([[1.0, 0.0], [0.0, 3.0]])
SPARSE = [
    make(MATRIX)
    for kind in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
    for make in (getattr(sparse, f"{kind}_matrix"), getattr(sparse, f"{kind}_array"))
]
RECORDS = np.array([(1.0, 2.0), (3.0, 4.0)], [("a", "f8"), ("b", "f8")])


def masked(values, mask):
    return np.ma.array(values, mask=mask)


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (masked([0.0, 1.0], [True, False]), r"X is a masked array with 1 masked entry.*X\.filled"),
        (masked(MATRIX, MATRIX == 0), r"with 2 masked entries.*Leave their rows out"),
        ([masked([0.0, 1.0], [True, False]), [1.0, 2.0]], "masked array with 1"),
        ([[0.0, 1.0], (1.0, np.ma.masked)], "masked array with 1"),
        (RECORDS, r"structured dtype .*structured_to_unstructured\(X\)"),
        (RECORDS[["a"]], "structured dtype"),
        (RECORDS.view(np.recarray), "structured dtype"),
        (list(RECORDS), "structured dtype"),
        (np.array(["2020-01-01"], "M8[D]"), r"must be numeric; got dtype datetime64\[D\]"),
        (np.array([1], "m8[s]"), r"must be numeric; got dtype timedelta64\[s\]"),
        ([np.timedelta64(1, "s")], "must be numeric"),
        (sparse.coo_array(np.array([0.0, 1.0])), "Sparse data was passed for X"),
        ([sparse.csr_array(MATRIX)], "Sparse data was passed for X"),
        *((a, r"Sparse data was passed for X.*Use X\.toarray\(\)") for a in SPARSE),
    ],
    ids=repr,
)
def test_refused(a, message):
    with pytest.raises(TypeError, match=message):
        check_plain(a, "X")


@pytest.mark.parametrize(
    "a",
    [
        1.0,
        None,
        MATRIX,
        MATRIX.tolist(),
        [MATRIX, [[1, 2], [3, 4]]],
        list(np.array([1.0, 2.0])),
        [np.float32(1), 2, True, np.bool_(False)],
        masked(MATRIX, False),
        masked(MATRIX, np.zeros((2, 2), bool)),
        np.asmatrix(MATRIX),
        np.array([1, "2"], object),
        range(3),
    ],
    ids=repr,
)
def test_passed(a):
    check_plain(a, "X")


def test_columns_of_data_frames():
    pandas = pytest.importorskip("pandas")
    check_plain(pandas.DataFrame({"a": [1, 2], "b": [0.5, np.nan]}), "X")
    check_plain(pandas.Series([1.0, 2.0]), "X")
    with pytest.raises(TypeError, match="X must be numeric; got dtype datetime64"):
        check_plain(pandas.DataFrame({"a": pandas.to_datetime(["2020-01-01"])}), "X")
