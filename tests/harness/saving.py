"""Single system calls of programs that save, and what is said of saves that fail."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from pathlib import Path
from typing import Callable, Iterator

import pytest

AT_FDCWD = -100
GRACE = 1.5  # seconds in which a removed name, or a temp file, may be renamed back
LATIN1 = b"name: caf\xe9\n"  # no server can store it: EILSEQ


@contextlib.contextmanager
def fails_with(*codes: int) -> Iterator[None]:
    with pytest.raises(OSError) as failure:
        yield
    assert errno.errorcode[failure.value.errno] in [errno.errorcode[code] for code in codes]


def open_for(path: Path, flags: int = os.O_WRONLY | os.O_TRUNC) -> int:
    return os.open(path, flags, 0o644)


def write_all(path: Path, content: bytes, flags: int = os.O_WRONLY | os.O_CREAT | os.O_TRUNC) -> None:
    """As most programs save; raises what write or close says."""
    descriptor = open_for(path, flags)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes) -> None:
    """As careful programs save: what is there is whole at any time."""
    temp = path.with_name(path.name + ".tmp")
    write_all(temp, content)
    temp.chmod(stat.S_IMODE(path.stat().st_mode))
    os.rename(temp, path)


def renameat2(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


# An edit in two halves: what is done while all is well, and the commit.

Commit = Callable[[], None]
Edit = Callable[[Path, bytes], Commit]


def edit_and_close(path: Path, content: bytes) -> Commit:
    descriptor = open_for(path)
    os.write(descriptor, content)
    return lambda: os.close(descriptor)


def edit_and_fsync(path: Path, content: bytes) -> Commit:
    descriptor = open_for(path, os.O_RDWR)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)

    def commit() -> None:
        try:
            os.fsync(descriptor)
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    return commit


def edit_and_rename(path: Path, content: bytes) -> Commit:
    temp = path.with_name(f".{path.name}.tmp")
    write_all(temp, content)

    def commit() -> None:
        try:
            os.rename(temp, path)
        except OSError:
            temp.unlink()  # as sed does
            raise

    return commit


EDITS = {edit.__name__.removeprefix("edit_and_"): edit for edit in (edit_and_close, edit_and_fsync, edit_and_rename)}
all_edits = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
