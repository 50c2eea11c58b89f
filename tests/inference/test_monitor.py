from __future__ import annotations

import io
import sys

import pytest

from vbfast.inference.monitor import (
    IterationReport,
    LineMonitor,
    Monitor,
    ProgressMonitor,
    Workload,
    make_monitor,
)

WORKLOAD = Workload(n_samples=1_000_000, max_iter=50, n_init=2)


def watch(monitor, *, converged=True):
    with monitor:
        for index in range(2):
            monitor.initialisation_begins(index)
            monitor.ascent_begins()
            for iteration in range(1, 21):
                monitor.iteration_done(IterationReport(iteration, -1.5 + iteration, 1.0))
            monitor.initialisation_ends(18.5, converged)


def test_silence(capsys):
    monitor = make_monitor(WORKLOAD, verbose=0, interval=1)
    assert type(monitor) is Monitor
    watch(monitor)
    assert capsys.readouterr().out == ""


def test_lines_begin_as_scikit_learns_and_carry_the_figures(capsys):
    watch(LineMonitor(WORKLOAD, verbose=1, interval=10))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        "Initialization 0",
        "  Iteration 10",
        "  Iteration 20",
        "Initialization converged.",
        "Initialization 1",
        "  Iteration 10",
        "  Iteration 20",
        "Initialization converged.",
    ]
    for figure in ("bound 8.500000 a row", "(+1.00e+00)", "rows/s", "left"):
        assert figure in lines[1]
    assert "time lapse" not in lines[1]


def test_lines_with_times(capsys):
    watch(LineMonitor(WORKLOAD, verbose=2, interval=20), converged=False)
    lines = capsys.readouterr().out.splitlines()
    assert "time lapse" in lines[1]
    assert "ll change 1.00000" in lines[1]
    assert "(+" not in lines[1]  # the change, once
    assert lines[2].startswith("Initialization did not converge. time lapse ")
    assert lines[2].endswith("\t lower bound 18.50000.")


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_first_bound_has_no_change(capsys, verbose):
    monitor = LineMonitor(WORKLOAD, verbose, interval=1)
    monitor.initialisation_begins(0)
    monitor.ascent_begins()
    monitor.iteration_done(IterationReport(1, -1.5, float("inf")))
    line = capsys.readouterr().out.splitlines()[1]
    assert "bound -1.500000 a row  " in line
    assert "inf" not in line


@pytest.fixture
def console():
    rich_console = pytest.importorskip("rich.console")
    return rich_console.Console(file=io.StringIO(), force_terminal=True, width=140)


def test_progress_bar(console):
    watch(ProgressMonitor(WORKLOAD, console))
    shown = console.file.getvalue()
    assert "fit 1/2" in shown
    assert "fit 2/2" in shown
    assert "converged, bound 18.500000 a row" in shown
    assert "20/50" in shown


def test_progress_bar_figures(console, monkeypatch):
    monkeypatch.setattr(ProgressMonitor, "REDRAW", -1.0)
    watch(ProgressMonitor(WORKLOAD, console))
    shown = console.file.getvalue()
    for figure in ("bound 8.500000 a row (+1.00e+00)", "rows/s", "at most 0:00 left"):
        assert figure in shown


def test_progress_bar_leaves_the_terminal_in_order_when_interrupted(console):
    def interrupted_fit():
        with ProgressMonitor(WORKLOAD, console) as monitor:
            monitor.initialisation_begins(0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_fit()
    show_cursor = "\x1b[?25h"
    assert console.file.getvalue().rstrip().endswith(show_cursor)


def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch):
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert type(make_monitor(WORKLOAD, verbose=1, interval=1)) is ProgressMonitor
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert type(make_monitor(WORKLOAD, verbose=1, interval=1)) is LineMonitor


def test_lines_without_rich(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert type(make_monitor(WORKLOAD, verbose=1, interval=1)) is LineMonitor
