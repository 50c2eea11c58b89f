"""The peers: each that is here comes to our parameters; one that fails does so by itself."""

from __future__ import annotations

import math
import os
import sys

import numpy as np
import pytest

from vbfast.benchmark.cases import Case
from vbfast.benchmark.peers import process, registry
from vbfast.benchmark.peers.entrants import PeerEntrant, Task, entered
from vbfast.benchmark.peers.process import PeerError, PeerProcess
from vbfast.benchmark.peers.registry import OURS, PEERS, PRODUCT, Absent
from vbfast.benchmark.side_by_side import AGREEMENT, bound_of

# oneDAL has an environment of its own.
ONEDAL = os.environ.get("VBFAST_ONEDAL_PYTHON")
INTERPRETERS = {"oneDAL": ONEDAL} if ONEDAL else {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tasks")


def small_case(covariance_type):
    return Case("small", 600, 4, 3, covariance_type)


def bounds(peer, tasks):
    """Return the bound of every task that a peer does not lack."""
    entrant = PeerEntrant(peer, INTERPRETERS, 120.0, 1)
    try:
        found = {}
        for key, task in tasks.items():
            if entrant.lacks(task) is None:
                assert entrant.warm_up(task) == 1
                assert math.isfinite(entrant.turn())
                found[key] = bound_of(task.rows, entrant.parameters(), task.case.covariance_type)
        return found
    finally:
        entrant.close()


@pytest.fixture(scope="module")
def tasks(folder):
    """A task of every type and dtype."""
    found = {}
    for covariance_type in registry.ALL:
        for dtype in ("float64", "float32"):
            place = folder / f"{covariance_type}-{dtype}"
            place.mkdir()
            key = (covariance_type, dtype)
            found[key] = Task.write(small_case(covariance_type), dtype, place)
    return found


@pytest.fixture(scope="module")
def our_bounds(tasks):
    return bounds(OURS, tasks)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PEERS))
def test_a_peer_comes_to_our_bound(name, tasks, our_bounds):
    peer = PEERS[name]
    try:
        peer.find(INTERPRETERS)
    except Absent as reason:
        pytest.skip(f"{name}: {reason}")
    found = bounds(peer, tasks)
    wanted = {(kind, dtype) for kind in peer.covariance_types for dtype in peer.dtypes}
    assert set(found) == wanted
    for key, bound in found.items():
        assert bound == pytest.approx(our_bounds[key], abs=AGREEMENT), key


def test_what_a_peer_lacks(tasks):
    entrant = PeerEntrant(
        registry.Peer("x", "x:X", lambda _: sys.executable, ("full",)), {}, 1.0, 1
    )
    assert entrant.lacks(tasks["diag", "float64"]) == "has no diag covariances"
    assert entrant.lacks(tasks["full", "float32"]) is None
    assert PEERS["gmmx"].lacks("full", "float64") == "has no float64"


def test_why_a_peer_is_absent(monkeypatch, tmp_path):
    with pytest.raises(Absent, match="no_such_package is not installed"):
        registry._here("no_such_package")({})
    find = registry._elsewhere("oneDAL", "no_such_package")
    with pytest.raises(Absent, match="no interpreter of an environment with no_such_package"):
        find({})
    with pytest.raises(Absent, match="No module named 'no_such_package'"):
        find({"oneDAL": sys.executable})
    with pytest.raises(Absent, match="No such file"):
        find({"oneDAL": str(tmp_path / "python")})
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Absent, match="no C\\+\\+ compiler"):
        registry._compiled("vector")({})


def test_a_header_is_looked_for():
    try:
        assert registry._compiled("vector")({}) == sys.executable
    except Absent as reason:
        pytest.skip(str(reason))
    with pytest.raises(Absent, match="no header <no_such_header>"):
        registry._compiled("no_such_header")({})


def test_absent_peers_are_named_and_others_enter(monkeypatch):
    monkeypatch.setitem(
        PEERS, "scikit-learn", registry.Peer("scikit-learn", OURS.adapter, OURS.find)
    )
    absent = registry.Peer("gone", "gone:Gone", registry._here("no_such_package"))
    monkeypatch.setitem(PEERS, "gone", absent)
    with entered(["gone", "scikit-learn"], most_processors=1) as field:
        assert [entrant.name for entrant in field.entrants] == ["vbfast", "scikit-learn"]
        assert field.absent == {"gone": "no_such_package is not installed"}
        assert field.product.name == PRODUCT.name


class TestProcess:
    """What becomes of an adapter that does what it should not."""

    @pytest.fixture
    def ask(self, monkeypatch, tmp_path):
        """A function that asks an adapter whose ``version`` has a given body."""
        monkeypatch.setattr(process, "ADAPTERS", tmp_path)
        started = []

        def ask(body, limit=60.0):
            head = "import os, sys, time\nclass A:\n    @staticmethod\n    def version():\n"
            (tmp_path / "odd.py").write_text(f"{head}        {body}\n")
            started.append(PeerProcess(sys.executable, "odd:A", 1))
            return started[-1].ask("version", limit=limit)

        yield ask
        for each in started:
            each.close()

    def test_it_answers(self, ask):
        assert ask("return '1.2'") == "1.2"

    def test_it_raises(self, ask):
        with pytest.raises(PeerError, match="ValueError: of two lines"):
            ask("raise ValueError('of\\ntwo lines')")

    def test_it_prints(self, ask):
        assert ask("os.write(1, b'noise\\n'); print('more'); return '1'") == "1"

    def test_it_ends(self, ask):
        with pytest.raises(PeerError, match="ended with status 7: last words"):
            ask("print('last words', file=sys.stderr, flush=True); os._exit(7)")

    def test_it_hangs(self, ask):
        with pytest.raises(PeerError, match="no end within 2 s"):
            ask("time.sleep(1000)", limit=2.0)

    def test_settings_for_other_programs_are_not_its_own(self, ask, monkeypatch):
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        answer = ask("return ' '.join(os.environ)").split()
        assert "PATH" in answer
        assert not {"OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"} & set(answer)

    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes cannot be confined")
    def test_it_sees_some_processors(self, ask):
        assert ask("return str(len(os.sched_getaffinity(0)))") == "1"

    @pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
    def test_it_gets_no_more_memory_than_there_is(self, ask):
        with pytest.raises(PeerError, match="MemoryError"):
            ask("import resource; bytearray(resource.getrlimit(resource.RLIMIT_DATA)[0] + 1)")


def test_a_process_that_ended_is_started_again(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "ADAPTERS", tmp_path)
    (tmp_path / "odd.py").write_text(
        "import os\nclass A:\n    @staticmethod\n    def version():\n        os._exit(1)\n"
    )
    peer = registry.Peer("odd", "odd:A", lambda _: sys.executable)
    entrant = PeerEntrant(peer, {}, 60.0, 1)
    for _ in range(2):
        with pytest.raises(PeerError, match="status 1"):
            entrant.version()
    entrant.close()


def test_the_faster_number_of_processors_is_taken(monkeypatch):
    class Recorded:
        """A process that is faster alone."""

        def __init__(self, interpreter, adapter, processors):
            self.processors = processors

        def ask(self, request, *arguments, limit):
            if request == "run":
                return float(self.processors * arguments[0])
            return None

        def alive(self):
            return True

        def close(self):
            pass

    monkeypatch.setattr("vbfast.benchmark.peers.entrants.PeerProcess", Recorded)
    task = Task(small_case("full"), np.zeros((1, 4)), "task.npz")
    entrant = PeerEntrant(OURS, {}, 60.0, 4)
    assert entrant.warm_up(task) == 1
    assert entrant.turn() == 1.0
