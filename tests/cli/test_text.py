from __future__ import annotations

import bz2
import gzip
import lzma

import numpy as np
import pytest

from vbfast.cli.data import load_rows, load_weights
from vbfast.cli.text import TextFormat


@pytest.fixture
def read(tmp_path):
    """A function that writes a file and reads it."""

    def read_file(content, name="rows.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_rows(path, text=TextFormat(**options))

    return read_file


@pytest.mark.parametrize(
    ("content", "n_rows", "names"),
    [
        ("1,2\n3,4\n5,7\n", 3, None),
        (b"\xef\xbb\xbf1,2\n3,4\n5,7\n", 3, None),  # a byte order mark is no name
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4\r\n", 2, ("a", "b")),
        ("\n\na,b\n\n1,2\n3,4\n", 2, ("a", "b")),
        ('"a","b"\n1,2\n', 1, ("a", "b")),
        ('"a\nz","b"\n"1","2"\n', 1, ("a\nz", "b")),
        ("# written by hand\na,b\n1,2\n# the end\n", 1, ("a", "b")),
        ("größe,温度\n1,2\n", 1, ("größe", "温度")),
        ("a, b\n1, 2\n3, 4\n", 2, ("a", "b")),
        ("a,b\r1,2\r3,4\r", 2, ("a", "b")),
        ("a;b\n1;2\n3;4\n", 2, ("a", "b")),
        ("a|b\n1|2\n3|4\n", 2, ("a", "b")),
        ("a b\n1   2\n3 4\n", 2, ("a", "b")),
        ("a\tb\n1\t2\n3\t4\n".encode("utf-16"), 2, ("a", "b")),
        ("1,2\n3,4e3\n5,12345678901234567890\n", 3, None),
        ("a,a\n1,2\n", 1, None),
    ],
)
def test_rows_and_names(read, capsys, content, n_rows, names):
    table = read(content)
    assert table.values.shape == (n_rows, 2)
    assert table.names == names
    np.testing.assert_array_equal(table.values[0], [1, 2])
    if names is not None:
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_text(read, suffix, compress):
    content = compress(b"a\tb\n1\t2\n")
    assert read(content, f"rows.tsv.{suffix}").names == ("a", "b")
    with pytest.raises(ValueError, match=r"damaged, or of another kind"):
        read(content[:-4], f"rows.tsv.{suffix}")
    with pytest.raises(ValueError, match=r"damaged, or of another kind"):
        read(b"a\tb\n1\t2\n", f"rows.tsv.{suffix}")


@pytest.mark.parametrize(
    ("content", "names", "noted"),
    [
        ("2019,2020\n0.1,0.2\n0.3,0.4\n", ("2019", "2020"), "holds names; --no-header if not"),
        ("2019,2020\n1,2\n3,4\n", None, "is a row; --header if it has names"),
        ("1,4\n1,2\n3,4\n", None, ""),
        ("5,3\n0.5,4\n0.7,6.5\n", None, ""),  # one column for names and one against
        ("2019,2020,class\n0.1,0.2,1\n", ("2019", "2020", "class"), ""),
        ("0.5,2.5\n1,2\n", None, ""),
        ("1,2\n", None, ""),
    ],
)
def test_numbers_as_names(read, capsys, content, names, noted):
    table = read(content)
    assert table.names == names
    error = capsys.readouterr().err
    assert noted in error
    assert bool(error) is bool(noted)
    lines = content.count("\n")
    if lines > 1:
        assert len(read(content, header=True).values) == lines - 1
    if "class" not in content:
        assert len(read(content, header=False).values) == lines
    assert capsys.readouterr().err == ""


def test_an_index_is_left_out(read, capsys):
    for content in (
        ",2019,2020\n0,0.5,1.5\n1,2.5,3.5\n",
        ",a,b\n0,0.5,1.5\n1,2.5,3.5\n",
        '"",a,b\n"#1",0.5,1.5\n2020-01-01,2.5,3.5\n',
        "Unnamed: 0,a,b\n0,0.5,1.5\n1,2.5,3.5\n",
    ):
        table = read(content)
        np.testing.assert_array_equal(table.values, [[0.5, 1.5], [2.5, 3.5]])
        assert len(table.names) == 2
        assert (
            "the first column, without a name, is an index and left out" in capsys.readouterr().err
        )


def test_an_index_as_pandas_writes_it(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.5, 2.5], "b": [1, 2]}, index=["x", "y"])
    frame.to_csv(tmp_path / "rows.csv")
    table = load_rows(tmp_path / "rows.csv")
    assert table.names == ("a", "b")
    np.testing.assert_array_equal(table.values, frame.to_numpy())
    pytest.importorskip("pyarrow")
    frame.to_parquet(tmp_path / "rows.parquet")
    table = load_rows(tmp_path / "rows.parquet")
    assert table.names == ("a", "b")
    np.testing.assert_array_equal(table.rows.block(0, 2), frame.to_numpy())
    frame["a"] = [0.5, None]
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"rows\.parquet: column 'a' is empty in row 1 of row"):
        load_rows(tmp_path / "rows.parquet").rows.block(0, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("\n \n# nothing\n", "no rows"),
        ("1,\n2,3\n", r"row 0, column 1, counted from 0, is empty \(line 1\)$"),
        ("a,b\n1,2\n\n3,\n", r"row 1, column 1 \(b\), counted from 0, is empty \(line 4\)"),
        (",a,b\n0,1,2\n1,3,\n", r"row 1, column 1 \(b\), counted from 0, is empty \(line 3\)"),
        ("a,b\n1,nan\n", r"row 0, column 1 \(b\), .*'nan'; expected a finite number \(line 2\)"),
        ("a,b\n1,1e400\n", r"column 1 \(b\), .*'1e400'; expected a finite number \(line 2\)"),
        ("day,b\n2020-01-01,3\n", r"column 0 \(day\), .*'2020-01-01', not a number \(line 2\)"),
        ("1.5,2,x\n2.5,3,y\n", r"column 2, .*'x', not a number \(line 1\); if .* say --header"),
        ("1,x\n2,3\n", r"column 1, .*'x', not a number \(line 1\); if .* say --header"),
        ("a;b\n1,5;2\n", r"column 0 \(a\), .*'1,5'; expected a decimal point"),
        ("a;b\n1,5;2,5\n3,5;4,5\n", r"row 0, column 0 \(a\), .*'1,5'; expected a decimal point"),
        ("a,b\n1,2\n3\n", r"row 1, counted from 0, has 1 columns \(line 3\); .* has 2"),
        ("a,b\n1,2\n3,4,5\n", r"row 1, counted from 0, has 3 columns \(line 3\)"),
        (",a\n0,1\n1,2,3\n", r"row 1, counted from 0, has 3 columns \(line 3\)"),
        ("a,b\n1,1_0\n", r"column 1 \(b\), .*'1_0', not a number"),
        ("a,b\n1,\x002\n", r"column 1 \(b\), .*not a number"),
        ('a,b\n"1,2\n3,4\n', r"row 0, counted from 0, has 1 columns \(line 3\)"),
        (b"gr\xf6\xdfe,b\n1,2\n", r"not text in UTF-8: .* at byte 2"),
        ("a,b\n1," + 100 * "x", r"'x{37}\.\.\.', not a number"),
    ],
)
def test_faults_and_where_they_are(read, content, message):
    with pytest.raises(ValueError, match=rf"rows\.csv: .*{message}"):
        read(content)


def test_a_fault_beyond_the_first_lines(read):
    content = "a,b\n" + 5000 * "1,2\n" + "3,\n"
    with pytest.raises(ValueError, match=r"row 5000, column 1 \(b\), .* is empty \(line 5002\)"):
        read(content)


def test_what_the_user_says_counts(read):
    assert read("a:b\n1:2\n", delimiter=":").names == ("a", "b")
    with pytest.raises(ValueError, match="'1;2', not a number"):
        read("1;2\n3;4\n", delimiter=",")
    with pytest.raises(ValueError, match=r"column 0, .*'a', not a number \(line 1\)$"):
        read("a,b\n1,2\n", header=False)


def test_weights_of_a_data_frame(tmp_path):
    (tmp_path / "w.csv").write_text(",weight\n0,1.5\n1,2.5\n")
    np.testing.assert_array_equal(load_weights(tmp_path / "w.csv"), [1.5, 2.5])
