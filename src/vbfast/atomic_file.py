"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["linked_to", "remove_abandoned", "written_whole"]


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` when the block ends, and only then.

    What is written goes to a file beside it, which is flushed to the disk and renamed. If the block
    or the disk fails, what was there before stays as it was, and nothing is left beside it. Devices
    and pipes are written to directly.

    Parameters
    ----------
    path : Path
        A link is followed; the permissions of a file that is replaced are kept.

    Yields
    ------
    binary file, open for writing

    Raises
    ------
    OSError
        If it cannot be written; its ``filename`` is ``path``, never the file beside it.
    """
    try:
        target = linked_to(path)
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file
            return
        aside = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}")
        try:
            with aside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                aside.chmod(stat.S_IMODE(target.stat().st_mode))
            aside.replace(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_abandoned(path: Path) -> None:
    """Remove what a process has left beside a file that ended while it was writing it.

    Nobody else may be writing to ``path``.
    """
    target = linked_to(path)
    for aside in target.parent.glob(f"{_prefix(target)}*"):
        aside.unlink(missing_ok=True)


def _prefix(target: Path) -> str:
    """Return how the names begin of files that are to take the place of ``target``."""
    return f".vbfast-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}-"


def linked_to(path: Path) -> Path:
    """Return the absolute path that links lead to, whether or not there is a file.

    Raises
    ------
    OSError
        If links lead in a circle.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def _sync_folder(folder: Path) -> None:
    """Flush the new name to the disk, where the system and its files know of that."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
