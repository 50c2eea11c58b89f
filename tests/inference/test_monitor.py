from __future__ import annotations

import builtins
import io
import math
import sys
import types
import warnings

import pytest

from vbfast.inference import monitor as monitor_module
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
            for centre in range(1, 4):
                monitor.start_progressed(f"k-means++ centre {centre} of 3")
            monitor.iterations_begin()
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
        "  k-means++ centre 1 of 3",
        "  Iteration 10",
        "  Iteration 20",
        "Initialization converged.",
        "Initialization 1",
        "  k-means++ centre 1 of 3",
        "  Iteration 10",
        "  Iteration 20",
        "Initialization converged.",
    ]
    for figure in ("bound 8.500000 a row", "(+1.00e+00)", "rows/s", "left"):
        assert figure in lines[2]
    assert "time lapse" not in lines[2]
    assert lines[4] == "Initialization converged.\t bound 18.500000 a row after 20 iterations"


def test_a_fit_shorter_than_the_interval_shows_its_bound(capsys):
    watch(LineMonitor(WORKLOAD, verbose=1, interval=1000), converged=False)
    lines = capsys.readouterr().out.splitlines()
    assert not any("Iteration" in line for line in lines)
    assert lines[2].startswith("Initialization did not converge.\t bound 18.500000 a row")


def test_long_silence_is_broken(capsys, monkeypatch):
    monkeypatch.setattr(LineMonitor, "LONGEST_SILENCE", -1.0)
    watch(LineMonitor(WORKLOAD, verbose=1, interval=1000))
    shown = capsys.readouterr().out
    assert shown.count("k-means++ centre") == 6
    assert shown.count("  Iteration") == 40


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_first_iteration_has_changed_nothing(capsys, verbose):
    with LineMonitor(WORKLOAD, verbose=verbose, interval=1) as monitor:
        monitor.initialisation_begins(0)
        monitor.iterations_begin()
        monitor.iteration_done(IterationReport(1, -1.5, math.inf))
    shown = capsys.readouterr().out
    assert "bound -1.500000 a row  " in shown
    assert "inf" not in shown


@pytest.mark.parametrize(
    ("n_samples", "pace"),
    [(70, "7 rows/s"), (123_456, "12.3k rows/s"), (9 * 10**12, "900G rows/s")],
)
def test_pace_and_time_left(capsys, monkeypatch, n_samples, pace):
    now = [0.0]
    monkeypatch.setattr(monitor_module.time, "perf_counter", lambda: now[0])
    with LineMonitor(Workload(n_samples, max_iter=400, n_init=1), verbose=1, interval=1) as monitor:
        monitor.initialisation_begins(0)
        monitor.iterations_begin()
        now[0] += 10.0
        monitor.iteration_done(IterationReport(1, -1.5, math.inf))
    assert f"{pace}  at most 1:06:30 left" in capsys.readouterr().out


def test_lines_with_times(capsys):
    watch(LineMonitor(WORKLOAD, verbose=2, interval=20), converged=False)
    lines = capsys.readouterr().out.splitlines()
    assert "time lapse" in lines[2]
    assert "ll change 1.00000" in lines[2]
    assert "(+" not in lines[2]  # the change, once
    assert lines[3].startswith("Initialization did not converge. time lapse ")
    assert lines[3].endswith("\t lower bound 18.50000.")


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_first_bound_has_no_change(capsys, verbose):
    monitor = LineMonitor(WORKLOAD, verbose, interval=1)
    monitor.initialisation_begins(0)
    monitor.iterations_begin()
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
    assert "k-means++ centre 2 of 3" in shown
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


class ZMQInteractiveShell:
    """What rich knows a notebook by."""


@pytest.fixture
def notebook(monkeypatch):
    """A notebook, whose output is no terminal."""
    pytest.importorskip("rich")
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("missing", ["ipywidgets", "IPython.display"])
def test_lines_in_a_notebook_without_widgets(notebook, monkeypatch, capsys, missing):
    for name in ("IPython", "IPython.display", "ipywidgets"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, missing, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch(make_monitor(WORKLOAD, verbose=1, interval=10))
    assert "Iteration 20" in capsys.readouterr().out


def test_a_bar_in_a_notebook_with_widgets(notebook, monkeypatch, capsys):
    class Output:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def clear_output(self, wait):
            self.cleared = wait

    shown = []
    display = types.ModuleType("IPython.display")
    display.display = lambda *things, **options: shown.append(things)
    display.HTML = str
    widgets = types.ModuleType("ipywidgets")
    widgets.Output = Output
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    monitor = make_monitor(WORKLOAD, verbose=1, interval=1)
    assert type(monitor) is ProgressMonitor
    watch(monitor)
    assert any(isinstance(thing, Output) for things in shown for thing in things)


def test_lines_on_a_terminal_that_cannot_go_back(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert type(make_monitor(WORKLOAD, verbose=1, interval=1)) is LineMonitor


def test_lines_without_rich(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert type(make_monitor(WORKLOAD, verbose=1, interval=1)) is LineMonitor
