"""Two builds side by side: this tree and another commit, for scripts that compare them."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which commit is compared with."""
    parser.add_argument("--commit", default="HEAD")
    parser.add_argument("--built", type=Path, help="a checkout of it that is built already")


@contextlib.contextmanager
def other_checkout(options: argparse.Namespace):
    """Build this tree and the other commit, in a temporary worktree unless it is built already."""
    with tempfile.TemporaryDirectory() as folder:
        other = options.built or Path(folder) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        if options.built is None:
            subprocess.run([*git, "add", "--detach", str(other), options.commit], check=True)
        try:
            for source in (ROOT,) if options.built else (ROOT, other):
                for step in (["--preset", "dev"], ["--build", "--preset", "dev"]):
                    subprocess.run(
                        ["cmake", *step], cwd=source, check=True, stdout=subprocess.DEVNULL
                    )
            yield other
        finally:
            if options.built is None:
                subprocess.run([*git, "remove", "--force", str(other)], check=False)


def environment(source: Path | None, level: str | None = None) -> dict[str, str]:
    """Return the environment in which a checkout's package is imported, or the one in use."""
    found = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    if source is not None:
        found["PYTHONPATH"] = str(source / "src")
    return found if level is None else {**found, "VBFAST_SIMD": level}
