from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from vbfast.atomic_file import written_whole


def test_the_new_file_is_there_once_the_block_ends(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with written_whole(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ValueError("no"), OSError("no")])
@pytest.mark.parametrize("before", [None, b"before"])
def test_a_failure_leaves_what_was_there(tmp_path, failure, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)

    def write():
        with written_whole(path) as file:
            file.write(b"half")
            raise failure

    with pytest.raises(type(failure)) as caught:
        write()
    assert caught.value is failure
    assert list(tmp_path.iterdir()) == ([] if before is None else [path])
    assert before is None or path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="permissions and links are POSIX's")
def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"before")
    path.chmod(0o640)
    link.symlink_to(path)
    with written_whole(link) as file:
        file.write(b"after")
    assert link.is_symlink()
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(OSError, match=r"symbolic links.*circle"), written_whole(circle):
        pass
    assert circle.is_symlink()
    umask = os.umask(0o027)
    try:
        with written_whole(tmp_path / "new"):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_device_is_written_to_and_its_error_names_it():
    def write():
        with written_whole(Path("/dev/full")) as file:
            file.write(b"x")

    with pytest.raises(OSError) as caught:
        write()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "/dev/full"


def test_an_error_names_the_file_and_not_the_one_beside_it(tmp_path):
    path = tmp_path / "nowhere" / "file"
    with pytest.raises(FileNotFoundError) as caught, written_whole(path):
        pass
    assert caught.value.filename == str(path)
