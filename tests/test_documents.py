"""The README, docs/ and CONTRIBUTING hang together, and with the scripts that write them."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from vbfast.benchmark.cases import Case
from vbfast.benchmark.figure import fingerprint

ROOT = Path(__file__).parent.parent
README, BENCHMARKS = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WHOLE = re.MULTILINE | re.DOTALL
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)

pytestmark = pytest.mark.skipif(
    not BENCHMARKS.is_file() or not (ROOT / "bench").is_dir(),
    reason="docs/ or bench/ is not part of this distribution",
)


@pytest.fixture
def script(monkeypatch):
    """A function that imports a script of bench/."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


def anchors(text):
    """Return what links to the headings of a page are called."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), target


def test_contributing_names_files_that_are_there():
    folders = ("src", "csrc", "tests", "bench", "docs", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths = [f"/{path.relative_to(ROOT).as_posix()}" for path in [*files, *ROOT.glob("*.*")]]
    named = re.findall(r"`([\w.*/-]*(?:/|\.\w+)[\w.*/-]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 50
    # NAME and ROOM stand for what is to come.
    there = [name for name in named if not re.search(r"NAME|ROOM|^vbfast\.", name)]
    patterns = [re.compile(f"/{name.rstrip('/').replace('*', '[^/]*')}(/|$)") for name in there]
    for pattern in patterns:
        assert any(pattern.search(path) for path in paths), pattern.pattern


def test_every_page_is_reached_from_the_readme():
    linked = re.findall(r"\]\(docs/([\w-]+)\.md\)", README.read_text())
    # Lines of a table of contents are names, and nothing else.
    listed = [
        name
        for page in ("index", "guide")
        for name in re.findall(r"^([\w-]+)$", (ROOT / "docs" / f"{page}.md").read_text(), re.M)
    ]
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert "index" in linked
    assert pages == ({"index", *listed} & pages)
    assert set(linked) <= pages


def test_the_floor_is_that_of_the_benchmarks():
    page = (ROOT / "docs" / "how-it-is-fast.md").read_text()
    table = re.findall(r"^\| (full|diag|tied|spherical) \| ([^|]*)\|([^|]*)\|$", page, re.M)
    assert len(table) == 4
    exponential = float(re.search(r"at ([\d.]+) ns \(float64\)", page)[1]) * 1e-9

    def operations(formula, n_features):
        python = re.sub(r"(\d)D", r"\1*D", formula.replace("²", "**2")).strip() or "0"
        return eval(python, {"D": n_features})

    for kind, per_pair, per_row in table:
        N, D, K = 1000, 7, 5
        total = N * K * operations(per_pair, D) + N * operations(per_row, D)
        floor = Case("case", N, D, K, kind).floor(1e9, np.float64)
        assert np.isclose(floor, total / 1e9 + N * K * exponential)


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 130


def test_the_readmes_table_is_that_of_the_benchmarks(script):
    report = script("report")
    results = re.search(r"^`python bench/at_a_glance.*?(?=\n\n## )", BENCHMARKS.read_text(), WHOLE)[
        0
    ]
    readme = README.read_text()
    assert report.with_results(readme, results) == readme
    [table] = TABLE.findall(readme)
    assert len(table.splitlines()) == 2 + len(script("at_a_glance").ROWS)
    with pytest.raises(ValueError, match="no place"):
        report.with_results("# vbfast\n", results)


RECORD = ROOT / "docs" / "at_a_glance.json"


@pytest.mark.skipif(not RECORD.is_file(), reason="bench/report.py has not written the record yet")
def test_the_readmes_table_and_figure_are_of_the_record(script):
    record = json.loads(RECORD.read_text())
    readme = README.read_text()
    assert TABLE.findall(readme) == [f"{script('at_a_glance').table_of(record)}\n"]
    assert f"on {record['date']}, on {record['machine']}." in readme
    assert "](docs/at_a_glance.png)" in readme
    image = pytest.importorskip("PIL.Image")
    with image.open(RECORD.with_suffix(".png")) as figure:
        assert figure.text["Description"] == fingerprint(record)


def test_a_record_makes_a_table(script):
    row = {"name": "full_2d", "case": "full: 10 x 2, 3 components", "seconds": 0.5,
           "peer_seconds": 4.0, "extra_bytes": 2e6, "peer_extra_bytes": 3e9}  # fmt: skip
    table = script("at_a_glance").table_of({"rows": [row]})
    assert table.rows == [
        ["full: 10 x 2, 3 components", "4.00", "0.500", "8.0", "2 MB (3,000 MB)",
         "`python bench/at_a_glance.py --cases full_2d`"]
    ]  # fmt: skip


def test_pictures_of_the_readme_lie_in_docs(script):
    marked = "<!-- begin at_a_glance -->\n<!-- end at_a_glance -->"
    shown = script("report").with_results(marked, script("at_a_glance").picture_of("a.png"))
    assert "](docs/a.png)" in shown


def test_the_benchmarks_have_a_section_for_each_script(script):
    report = script("report")
    text = BENCHMARKS.read_text()
    assert text.startswith(report.PREFACE)
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0] for section in sections] == list(report.SECTIONS.values())
    for name, section in zip(report.SECTIONS, sections, strict=True):
        assert f"`python bench/{name}.py" in section
        assert re.search(r"on \d{4}-\d\d-\d\d,? on .+ threads, \w+; vbfast \d", section)
        assert TABLE.search(section)
    assert not re.search(r"\bnan\b", text)


def test_a_table_is_markdown(script):
    table = script("measure").Table(["case", "s"], [["one", "0.5"], ["two", "-"]])
    assert str(table) == "| case | s |\n| --- | --- |\n| one | 0.5 |\n| two | - |"


def test_a_cell_is_never_nan(script):
    cell = script("measure").cell
    assert cell(1234.5, 1) == "1,234.5"
    assert cell(None, 1) == cell(float("nan"), 2) == "-"
    assert cell(float("nan"), 2, "fails") == "fails"


def test_a_loss_is_said(script):
    speed_up = script("measure").speed_up
    assert speed_up(3.0, 2.0) == "1.5"
    assert speed_up(0.999, 1.0) == "1.0"
    assert speed_up(1.0, 2.0) == "0.50, slower"
    assert speed_up(1.0, 4.0, "slower than torch") == "0.25, slower than torch"
    assert speed_up(None, 2.0) == speed_up(float("nan"), 2.0) == speed_up(1.0, None) == "-"


def test_the_options_of_a_script_are_the_arguments_of_its_function(script, monkeypatch, capsys):
    measure = script("measure")

    def tables(cases=("one", "two"), *, repeats=5, peers="all", quick=False):
        return [f"{cases} {repeats} {peers} {quick}", measure.Table(["case"], [])]

    monkeypatch.setattr("sys.argv", ["script.py", "--cases", "two", "--repeats", "3", "--quick"])
    measure.run_script(tables)
    assert capsys.readouterr().out == "['two'] 3 all True\n\n| case |\n| --- |\n"
    assert measure.quick_arguments(tables) == {"quick": True, "repeats": 1}
