"""Commit rules: which call saves, what it saves, and who sees what before that, where handles and processes share a file.

Single writes, kills and empty files are in test_writing.py; what tools do is in test_tools.py.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import multiprocessing
import os
import socket
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from harness.mounts import Mounts, Space
from harness.saving import LATIN1, fails_with, open_for, replace, write_all
from harness.tools import CONFIG, NEW, SAVED, SAVED_ONCE, START, UNTOUCHED, Left, Place, saved
from harness.waiting import wait_until

LIMIT = 10 << 20  # of a text over gRPC
PAGE = mmap.PAGESIZE


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


class Process:
    """Another process: process(os.open, ...) calls the function there, and returns or raises what it does there."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._pool.submit(function, *arguments).result(30)

    def end(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def process() -> Iterator[Callable[[], Process]]:
    processes: list[Process] = []

    def start() -> Process:
        processes.append(Process())
        return processes[-1]

    yield start
    for each in processes:
        each.end()


def stored(place: Place, data_id: str = CONFIG) -> bytes | None:
    detail = place.bench.server.admin.detail(place.bench.namespace, place.group, data_id)
    return detail.content if detail else None


def key_text(place: Place, data_id: str) -> str:
    return f"{place.bench.namespace}/{place.group}/{data_id}"


# ------------------------------------------------------------------ mapping


def pages_of(letter: bytes) -> bytes:
    return (letter * (PAGE - 1) + b"\n") * 4


@pytest.mark.parametrize("save", [write_all, replace], ids=["in place", "by rename"])
def test_private_mapping_keeps_the_version_of_its_open(place: Place, save: Callable[[Path, bytes], None]) -> None:
    """Also in pages that are first touched after the save."""
    old, new = pages_of(b"o"), pages_of(b"n")
    write_all(place.file, old)
    with open(place.file, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
        assert mapped[:10] == old[:10]
        save(place.file, new)
        assert place.file.read_bytes() == new
        assert mapped[:] == old
    place.check(saved(new, "UU"))


def test_changes_of_a_private_mapping_stay_private(place: Place) -> None:
    with open(place.file, "r+b") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as mapped:
        mapped[:6] = b"SERVER"
        assert mapped[:] == b"SERVER" + START[6:]
    place.check(UNTOUCHED)


@pytest.mark.parametrize("flags, protection", [(os.O_RDONLY, mmap.PROT_READ), (os.O_RDWR, mmap.PROT_READ),
                                               (os.O_RDWR, mmap.PROT_READ | mmap.PROT_WRITE)])
def test_shared_mapping_is_refused(place: Place, flags: int, protection: int) -> None:
    descriptor = open_for(place.file, flags)
    with fails_with(errno.ENODEV):
        mmap.mmap(descriptor, 0, mmap.MAP_SHARED, protection)
    os.close(descriptor)
    place.check(UNTOUCHED)


# ------------------------------------------------------------- ways to write


def test_direct_reads_and_writes(place: Place) -> None:
    """O_DIRECT wants aligned memory; mmap gives it."""
    old, new = pages_of(b"o"), pages_of(b"n")
    write_all(place.file, old)
    with mmap.mmap(-1, len(new)) as memory:
        descriptor = open_for(place.file, os.O_RDWR | os.O_DIRECT)
        assert os.readv(descriptor, [memory]) == len(old)
        assert memory[:] == old
        memory[:] = new
        assert os.pwritev(descriptor, [memory], 0) == len(new)
        os.close(descriptor)
    place.check(saved(new, "UU"))


def grow_by_descriptor(path: Path) -> None:
    descriptor = open_for(path, os.O_WRONLY)
    os.ftruncate(descriptor, len(START) + 5)
    assert os.fstat(descriptor).st_size == len(START) + 5
    os.close(descriptor)


def grow_by_path(path: Path) -> None:
    os.truncate(path, len(START) + 5)


def allocate(path: Path) -> None:
    descriptor = open_for(path, os.O_WRONLY)
    os.posix_fallocate(descriptor, len(START) - 3, 8)
    assert os.fstat(descriptor).st_size == len(START) + 5
    os.close(descriptor)


def allocate_within(path: Path) -> None:
    descriptor = open_for(path, os.O_RDWR)
    os.posix_fallocate(descriptor, 0, len(START))
    os.close(descriptor)


def allocate_then_fill(path: Path) -> None:
    """As downloads and databases do."""
    descriptor = open_for(path)
    os.posix_fallocate(descriptor, 0, len(SAVED))
    os.write(descriptor, SAVED)
    os.close(descriptor)


def write_beyond_the_end(path: Path) -> None:
    descriptor = open_for(path, os.O_WRONLY)
    os.pwrite(descriptor, b"end: 1\n", len(START) + 5)
    os.close(descriptor)


def seek_beyond_the_end(path: Path) -> None:
    descriptor = open_for(path, os.O_RDWR)
    os.lseek(descriptor, 5, os.SEEK_END)
    os.write(descriptor, b"end: 1\n")
    assert os.pread(descriptor, 100, len(START)) == b"\0" * 5 + b"end: 1\n"
    os.close(descriptor)


def write_the_end_first(path: Path) -> None:
    """As parallel downloads do: no hole is left."""
    descriptor = open_for(path)
    os.pwrite(descriptor, SAVED[20:], 20)
    os.pwrite(descriptor, SAVED[10:20], 10)
    os.pwrite(descriptor, SAVED[:10], 0)
    os.close(descriptor)


def shrink_and_grow(path: Path) -> None:
    """What was cut off does not come back."""
    descriptor = open_for(path, os.O_RDWR)
    os.ftruncate(descriptor, 7)
    os.ftruncate(descriptor, 12)
    assert os.pread(descriptor, 100, 0) == START[:7] + b"\0" * 5
    os.close(descriptor)


HOLE = b"\0" * 5
SIZES = [
    (grow_by_descriptor, saved(START + HOLE)),
    (grow_by_path, saved(START + HOLE)),
    (allocate, saved(START + HOLE)),
    (allocate_within, UNTOUCHED),
    (allocate_then_fill, SAVED_ONCE),
    (write_beyond_the_end, saved(START + HOLE + b"end: 1\n")),
    (seek_beyond_the_end, saved(START + HOLE + b"end: 1\n")),
    (write_the_end_first, SAVED_ONCE),
    (shrink_and_grow, saved(START[:7] + HOLE)),
]


@pytest.mark.parametrize("write, result", SIZES, ids=[write.__name__ for write, _ in SIZES])
def test_size(place: Place, write: Callable[[Path], None], result: dict[str, Left]) -> None:
    """A hole reads as NULs, and is stored as such."""
    write(place.file)
    place.check(result)


def test_size_beyond_the_limit(place: Place) -> None:
    descriptor = open_for(place.file, os.O_WRONLY)
    for grow in (lambda: os.ftruncate(descriptor, LIMIT + 1),
                 lambda: os.posix_fallocate(descriptor, LIMIT, 1),
                 lambda: os.ftruncate(descriptor, 1 << 50)):
        with fails_with(errno.EFBIG):
            grow()
    with contextlib.suppress(OSError):
        os.close(descriptor)
    place.check(UNTOUCHED)


def test_holes_are_not_punched(place: Place) -> None:
    done = subprocess.run(["fallocate", "--punch-hole", "-l", "5", place.file], capture_output=True, text=True)
    assert done.returncode and "supported" in done.stderr
    place.check(UNTOUCHED)


def copy_file_range(source: int, target: int) -> None:
    while os.copy_file_range(source, target, 1000):
        pass


def sendfile(source: int, target: int) -> None:
    while os.sendfile(target, source, None, 1000):
        pass


def splice(source: int, target: int) -> None:
    reader, writer = os.pipe()
    while (length := os.splice(source, writer, 1000)) > 0:
        while length:
            length -= os.splice(reader, target, length)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("copy", [copy_file_range, sendfile, splice], ids=lambda copy: copy.__name__)
def test_copy_in_the_kernel(place: Place, copy: Callable[[int, int], None]) -> None:
    """Out of a config, into one, and from one to another."""
    outside, other = place.work / "new", place.path / "other.yaml"
    outside.write_bytes(SAVED)

    def copy_over(source: Path, target: Path) -> None:
        with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
            try:
                copy(reader.fileno(), writer.fileno())
            except OSError as refused:
                # Kernels do not copy_file_range() between file systems: cp reads and writes then.
                assert copy is copy_file_range and refused.errno in (errno.EXDEV, errno.EOPNOTSUPP)
                writer.write(reader.read())

    copy_over(place.file, place.work / "out")
    assert (place.work / "out").read_bytes() == START
    copy_over(outside, place.file)
    copy_over(place.file, other)
    place.check({CONFIG: Left(SAVED, "U"), "other.yaml": Left(SAVED, "I", NEW)})


def test_anonymous_temp_files_are_refused(place: Place) -> None:
    """Programs that try O_TMPFILE fall back to a named one."""
    with fails_with(errno.EOPNOTSUPP):
        os.open(place.path, os.O_WRONLY | os.O_TMPFILE)
    place.check(UNTOUCHED)


# --------------------------------------------------------------------- locks


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf], ids=lambda lock: lock.__name__)
def test_locks_between_processes(place: Place, process: Callable[[], Process], lock: Callable[[int, int], None]) -> None:
    other = process()
    ours, theirs = open_for(place.file, os.O_RDWR), other(os.open, place.file, os.O_RDWR)
    lock(ours, fcntl.LOCK_EX)
    with fails_with(errno.EWOULDBLOCK):
        other(lock, theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.pwrite(ours, b"9090", 16)
    os.fsync(ours)
    with fails_with(errno.EWOULDBLOCK):
        other(lock, theirs, fcntl.LOCK_SH | fcntl.LOCK_NB)
    lock(ours, fcntl.LOCK_UN)
    other(lock, theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with fails_with(errno.EWOULDBLOCK):
        lock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
    other(os.close, theirs)
    lock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(ours)
    place.check(SAVED_ONCE)


def test_counter_under_a_lock(place: Place) -> None:
    """Processes that read, change and write under a lock don't lose each other's changes."""
    write_all(place.file, b"0\n")
    script = ("import fcntl, os, sys\n"
              "for _ in range(10):\n"
              "    with open('lock.swp', 'a') as lock:\n"
              "        fcntl.flock(lock, fcntl.LOCK_EX)\n"
              "        number = int(open('app.yaml').read())\n"
              "        open('app.yaml', 'w').write(f'{number + 1}\\n')\n")
    counters = [subprocess.Popen([sys.executable, "-c", script], cwd=place.path) for _ in range(3)]
    assert [counter.wait(60) for counter in counters] == [0, 0, 0]
    (place.path / "lock.swp").unlink()
    place.check(saved(b"30\n", "U" * 31))


# ------------------------------------------------------- descriptors that move

RECEIVER = """
import os, socket, sys
channel = socket.socket(fileno=0)
while True:
    message, descriptors, _, _ = socket.recv_fds(channel, 1000, 1)
    if not message:
        break
    if descriptors:
        received = descriptors[0]
    else:
        os.write(received, message)
    channel.send(b"done")
os._exit(0)
"""


class Receiver:
    """A process that gets a descriptor over a socket, writes what it is told to, and exits without closing it."""

    def __init__(self) -> None:
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen([sys.executable, "-c", RECEIVER], stdin=other)

    def take(self, descriptor: int) -> None:
        socket.send_fds(self._channel, [b"take"], [descriptor])
        assert self._channel.recv(4) == b"done"

    def write(self, content: bytes) -> None:
        self._channel.send(content)
        assert self._channel.recv(4) == b"done"

    def exit(self) -> None:
        self._channel.close()
        assert self._process.wait(20) == 0


def sent_before_anything_is_written(path: Path) -> None:
    receiver = Receiver()
    descriptor = open_for(path)
    receiver.take(descriptor)
    os.close(descriptor)
    receiver.write(SAVED)
    receiver.exit()


def sender_closes_last(path: Path) -> None:
    receiver = Receiver()
    descriptor = open_for(path)
    receiver.take(descriptor)
    receiver.write(SAVED)
    receiver.exit()
    os.close(descriptor)


def sent_when_half_is_written(path: Path) -> None:
    receiver = Receiver()
    descriptor = open_for(path)
    os.write(descriptor, SAVED[:10])
    receiver.take(descriptor)
    os.close(descriptor)
    receiver.write(SAVED[10:])
    receiver.exit()


def lost_on_its_way(path: Path) -> None:
    """The last reference is in a message that nobody receives: it ends without a close."""
    here, there = socket.socketpair()
    descriptor = open_for(path)
    os.write(descriptor, SAVED)
    socket.send_fds(here, [b"x"], [descriptor])
    os.close(descriptor)
    here.close()
    there.close()


def closed_by_exec(path: Path) -> None:
    """Python's descriptors are closed by exec."""
    script = (f"import os; os.write(os.open({str(path)!r}, os.O_WRONLY | os.O_TRUNC), {SAVED!r}); "
              "os.execv('/bin/true', ['true'])")
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def kept_over_exec(path: Path) -> None:
    script = f"exec 3> '{path}'; printf 'server:\\n  ' >&3; exec cat >&3"
    subprocess.run(["bash", "-c", script], input=SAVED[10:], check=True)


def daemonized(path: Path) -> None:
    """The writer's parent and grandparent are gone when it writes."""
    script = f"exec 3> '{path}'; (setsid bash -c 'sleep 0.3; printf %s \"$0\" >&3' \"$0\" &) ; exit 0"
    subprocess.run(["bash", "-c", script, SAVED.decode()], check=True)


MOVES = [sent_before_anything_is_written, sender_closes_last, lost_on_its_way, closed_by_exec, kept_over_exec,
         daemonized]


@pytest.mark.parametrize("write", MOVES, ids=lambda write: write.__name__)
def test_descriptor_that_moves_is_saved_once(place: Place, write: Callable[[Path], None]) -> None:
    write(place.file)
    wait_until(lambda: place.file.read_bytes() == SAVED, what="the save")
    place.check(SAVED_ONCE)


def test_descriptor_sent_half_written_is_saved_whole(place: Place) -> None:
    """Nobody can know that a descriptor is with another process: the sender's close saves what there is so far."""
    sent_when_half_is_written(place.file)
    wait_until(lambda: place.file.read_bytes() == SAVED, what="the save")
    ops = place.new_ops(CONFIG)
    assert ops in ("U", "UU")
    place.check(saved(SAVED, ops))


# ------------------------------------------------------------ fsync and close


def fsync_again_and_again(path: Path) -> None:
    descriptor = open_for(path)
    os.write(descriptor, SAVED)
    for _ in range(3):
        os.fsync(descriptor)
        os.fdatasync(descriptor)
    os.close(descriptor)
    fsync(path)
    fsync(path.parent)


def save_twice_through_one_handle(path: Path) -> None:
    """As an editor that keeps its file open."""
    descriptor = open_for(path, os.O_RDWR)
    for content in (b"first: 1\n", SAVED):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
        os.fsync(descriptor)
    os.close(descriptor)


def save_twice(path: Path) -> None:
    write_all(path, b"first: 1\n")
    write_all(path, SAVED)


def save_there_and_back(path: Path) -> None:
    write_all(path, SAVED)
    write_all(path, START)


@pytest.mark.parametrize("write, result", [
    (fsync_again_and_again, SAVED_ONCE),
    (save_twice_through_one_handle, saved(SAVED, "UU")),
    (save_twice, saved(SAVED, "UU")),
    (save_there_and_back, saved(START, "UU")),
], ids=lambda value: getattr(value, "__name__", ""))
def test_each_save_is_published_once(place: Place, write: Callable[[Path], None], result: dict[str, Left]) -> None:
    write(place.file)
    place.check(result)




def test_failed_fsync_stays_failed(place: Place) -> None:
    """Whatever the handle and its duplicates do then, even when the text would be good again."""
    descriptor = open_for(place.file)
    other = os.dup(descriptor)
    os.write(descriptor, LATIN1)
    for _ in range(2):
        with fails_with(errno.EILSEQ):
            os.fsync(descriptor)
    with fails_with(errno.EILSEQ):
        os.ftruncate(descriptor, 5)
    with fails_with(errno.EILSEQ):
        os.pwrite(descriptor, SAVED, 0)
    for each in (descriptor, other):
        with fails_with(errno.EILSEQ):
            os.close(each)
    assert place.file.read_bytes() == START
    place.check(UNTOUCHED)


def test_failed_close_of_a_duplicate_stays_failed(place: Place) -> None:
    """The last close of the process fails; that of a child which has it still fails too."""
    descriptor = open_for(place.file)
    os.write(descriptor, LATIN1)
    with fails_with(errno.EILSEQ):
        os.fsync(descriptor)
    child = subprocess.run(["bash", "-c", "echo more >&3"], pass_fds=[descriptor], capture_output=True,
                           preexec_fn=lambda: os.dup2(descriptor, 3))
    assert child.returncode, "a child's write to the failed handle"
    with fails_with(errno.EILSEQ):
        os.close(descriptor)
    place.check(UNTOUCHED)


def failed_too_large(path: Path) -> int:
    """An open descriptor with much written, whose last write was refused."""
    descriptor = open_for(path)
    os.write(descriptor, b"lost: 1\n")
    with fails_with(errno.EFBIG):
        os.pwrite(descriptor, b"x", LIMIT)
    return descriptor


def test_rest_of_a_failed_write_is_not_published(place: Place) -> None:
    descriptor = failed_too_large(place.file)
    for call in (lambda: os.write(descriptor, SAVED), lambda: os.fsync(descriptor), lambda: os.close(descriptor)):
        with fails_with(errno.EFBIG):
            call()
    assert place.file.read_bytes() == START
    place.check(UNTOUCHED)


def test_rest_of_a_failed_write_is_not_published_by_another_writer(place: Place) -> None:
    """What a failed handle wrote is not published later, by nobody."""
    descriptor = failed_too_large(place.file)
    write_all(place.file, b"more: 1\n", os.O_WRONLY | os.O_APPEND)
    with fails_with(errno.EFBIG):
        os.close(descriptor)
    place.check(saved(START + b"more: 1\n"))


# ------------------------------------------------------- renamed while open


def other_group(place: Place) -> Path:
    group = place.bench.mounted.path / f"{place.group}-b"
    group.mkdir()
    return group


def test_renamed_while_open_then_written(place: Place) -> None:
    descriptor = open_for(place.file, os.O_RDWR)
    os.rename(place.file, place.path / "moved.yaml")
    os.pwrite(descriptor, b"9090", 16)
    assert os.pread(descriptor, 100, 0) == SAVED
    os.close(descriptor)
    place.check({CONFIG: Left(None, "D"), "moved.yaml": Left(SAVED, "IU")})


def test_renamed_while_half_written(place: Place) -> None:
    """The rename saves what there is so far, under the new name only."""
    descriptor = open_for(place.file, os.O_RDWR)
    os.pwrite(descriptor, b"90", 16)
    os.rename(place.file, place.path / "moved.yaml")
    os.pwrite(descriptor, b"90", 18)
    os.close(descriptor)
    place.check({CONFIG: Left(None, "D"), "moved.yaml": Left(SAVED, "IU")})


def test_renamed_when_all_is_written_before_the_close(place: Place) -> None:
    descriptor = open_for(place.file)
    os.write(descriptor, SAVED)
    os.rename(place.file, place.path / "moved.yaml")
    os.close(descriptor)
    place.check({CONFIG: Left(None, "D"), "moved.yaml": Left(SAVED, "I")})


def test_new_file_renamed_before_its_close(place: Place) -> None:
    """The name that it was made under never gets to the server."""
    descriptor = open_for(place.path / "new.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, SAVED)
    os.rename(place.path / "new.yaml", place.path / "moved.yaml")
    os.close(descriptor)
    place.check({CONFIG: Left(START, ""), "moved.yaml": Left(SAVED, "I", NEW), "new.yaml": Left(None, "")})


def test_new_empty_file_renamed_then_written(place: Place) -> None:
    place.run("touch new.yaml; mv new.yaml moved.yaml; echo 'a: 1' > moved.yaml")
    place.check({CONFIG: Left(START, ""), "moved.yaml": Left(b"a: 1\n", "I", NEW), "new.yaml": Left(None, "")})


def test_renamed_over_another_config_while_open(place: Place) -> None:
    place.add("other.yaml", b"other: 1\n")
    descriptor = open_for(place.file, os.O_RDWR)
    reader = os.open(place.path / "other.yaml", os.O_RDONLY)
    os.rename(place.file, place.path / "other.yaml")
    os.pwrite(descriptor, b"9090", 16)
    os.close(descriptor)
    assert os.pread(reader, 100, 0) == b"other: 1\n"
    os.close(reader)
    place.check({CONFIG: Left(None, "D"), "other.yaml": Left(SAVED, "UU")})


def test_renamed_to_another_group_while_open(place: Place) -> None:
    group = other_group(place)
    descriptor = open_for(place.file, os.O_RDWR)
    os.rename(place.file, group / CONFIG)
    os.pwrite(descriptor, b"9090", 16)
    os.close(descriptor)
    place.check({CONFIG: Left(None, "D")}, other_writes=2)
    admin, namespace = place.bench.server.admin, place.bench.namespace
    assert admin.detail(namespace, group.name, CONFIG).content == SAVED
    assert [row.op for row in admin.history(namespace, group.name, CONFIG)] == ["U", "I"]


def test_renamed_to_a_backup_name_while_open(place: Place) -> None:
    """What is written then goes to the backup, which is in memory; the config shows again as it was."""
    descriptor = open_for(place.file, os.O_RDWR)
    os.rename(place.file, place.path / f"{CONFIG}~")
    os.pwrite(descriptor, b"9090", 16)
    os.close(descriptor)
    assert (place.path / f"{CONFIG}~").read_bytes() == SAVED
    wait_until(place.file.exists, what="the config to show again")
    place.check(UNTOUCHED)


def test_emptied_file_is_not_renamed(place: Place) -> None:
    """A config can't be empty under a new name either. Nothing is lost by the attempt."""
    descriptor = open_for(place.file)
    with fails_with(errno.EINVAL):
        os.rename(place.file, place.path / "moved.yaml")
    os.write(descriptor, SAVED)
    os.close(descriptor)
    place.check({CONFIG: Left(SAVED, "U"), "moved.yaml": Left(None, "")})


# ------------------------------------------------------ unlinked while open


def test_unlinked_while_open_is_read_on(place: Place) -> None:
    content = pages_of(b"o")
    write_all(place.file, content)
    reader = os.open(place.file, os.O_RDONLY)
    assert os.read(reader, 10) == content[:10]
    os.unlink(place.file)
    wait_until(lambda: stored(place) is None, what="the removal")
    assert os.fstat(reader).st_nlink == 0
    assert os.pread(reader, len(content), 0) == content
    os.close(reader)
    place.check({CONFIG: Left(None, "UD")})


@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "dirty"])
def test_unlinked_file_does_not_get_into_the_one_that_took_its_name(place: Place, dirty: bool) -> None:
    descriptor = open_for(place.file, os.O_RDWR)
    if dirty:
        os.pwrite(descriptor, b"lost", 0)
    os.unlink(place.file)
    write_all(place.file, SAVED, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.pwrite(descriptor, b"LOST", 0)
    assert os.pread(descriptor, 100, 0) == b"LOST" + START[4:]
    os.fsync(descriptor)
    os.close(descriptor)
    place.check(SAVED_ONCE)


# -------------------------------------------------------- several processes


def test_two_processes_write_one_file(place: Place, process: Callable[[], Process]) -> None:
    """Both see what POSIX says; a close that returned has its text on the server."""
    one, two = process(), process()
    first, second = one(os.open, place.file, os.O_RDWR), two(os.open, place.file, os.O_RDWR)
    one(os.pwrite, first, b"9090", 16)
    two(os.pwrite, second, b"shop", 29)
    both = SAVED.replace(b"demo", b"shop")
    assert one(os.pread, first, 100, 0) == two(os.pread, second, 100, 0) == both
    assert place.file.read_bytes() == START
    one(os.close, first)
    assert stored(place) == both
    two(os.pwrite, second, b"SHOP", 29)
    assert place.file.read_bytes() == both
    two(os.close, second)
    place.check(saved(both.replace(b"shop", b"SHOP"), "UU"))


def test_second_writer_has_nothing_left_to_save(place: Place, process: Callable[[], Process]) -> None:
    """The first close saved what both wrote: the second publishes nothing more."""
    one, two = process(), process()
    first, second = one(os.open, place.file, os.O_RDWR), two(os.open, place.file, os.O_RDWR)
    two(os.pwrite, second, b"9090", 16)
    one(os.pwrite, first, b"demo", 29)
    one(os.close, first)
    two(os.close, second)
    place.check(SAVED_ONCE)


def test_writer_that_truncates_the_other(place: Place, process: Callable[[], Process]) -> None:
    """As two shells that say `>` at once: the one that opens later wins, and what it closes is on the server."""
    one, two = process(), process()
    first = one(os.open, place.file, os.O_WRONLY | os.O_TRUNC)
    one(os.write, first, b"first: 1\n")
    second = two(os.open, place.file, os.O_WRONLY | os.O_TRUNC)
    two(os.write, second, SAVED)
    one(os.close, first)
    two(os.close, second)
    assert place.file.read_bytes() == SAVED
    place.check(saved(SAVED, "U"))


def test_reader_and_writer_across_another_ones_save(place: Place, process: Callable[[], Process]) -> None:
    """Who has the file open for writing goes on from what others here saved."""
    other = process()
    descriptor = open_for(place.file, os.O_RDWR)
    other(write_all, place.file, SAVED)
    os.pwrite(descriptor, b"shop", 29)
    assert os.pread(descriptor, 100, 0) == SAVED.replace(b"demo", b"shop")
    os.close(descriptor)
    place.check(saved(SAVED.replace(b"demo", b"shop"), "UU"))


@pytest.mark.parametrize("with_fsync", [False, True], ids=["close", "fsync each"])
def test_appends_of_two_processes_that_hold_the_file_open(place: Place, with_fsync: bool) -> None:
    script = ("import os, sys\n"
              "descriptor = os.open('app.yaml', os.O_WRONLY | os.O_APPEND)\n"
              "for number in range(20):\n"
              "    os.write(descriptor, f'{sys.argv[1]}: {number}\\n'.encode())\n"
              "    if sys.argv[2] == 'True':\n"
              "        os.fsync(descriptor)\n"
              "os.close(descriptor)\n")
    writers = [subprocess.Popen([sys.executable, "-c", script, name, str(with_fsync)], cwd=place.path)
               for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    lines = place.file.read_text().splitlines()
    assert "\n".join(lines[:3]) + "\n" == START.decode()
    for name in ("one", "two"):
        assert [line for line in lines[3:] if line.startswith(name)] == [f"{name}: {number}" for number in range(20)]
    assert len(lines) == 43
    assert stored(place) == place.file.read_bytes()


@pytest.mark.parametrize("save", [write_all, replace], ids=["in place", "by rename"])
def test_readers_from_before_and_after_a_save(place: Place, save: Callable[[Path, bytes], None]) -> None:
    """Each sees its version whole, however it is read."""
    old, new = pages_of(b"o") * 8, pages_of(b"n") * 5
    write_all(place.file, old)
    before = os.open(place.file, os.O_RDONLY)
    assert os.read(before, 100) == old[:100]
    save(place.file, new)
    after = os.open(place.file, os.O_RDONLY)
    assert os.pread(before, len(old), PAGE) == old[PAGE:]
    assert os.pread(after, len(old), PAGE) == new[PAGE:]
    assert b"".join(iter(lambda: os.read(before, 1000), b"")) == old[100:]
    assert b"".join(iter(lambda: os.read(after, 1000), b"")) == new
    os.close(before)
    os.close(after)
    place.check(saved(new, "UU"))


def test_half_done_save_shows_in_nobody_elses_stat(place: Place, process: Callable[[], Process]) -> None:
    other = process()
    reader = os.open(place.file, os.O_RDONLY)
    descriptor = other(os.open, place.file, os.O_WRONLY | os.O_TRUNC)

    def sizes() -> list[int]:
        listed = [entry.stat().st_size for entry in os.scandir(place.path) if entry.name == CONFIG]
        return [place.file.stat().st_size, os.fstat(reader).st_size, *listed]

    for length in (0, 10, 100):
        other(os.pwrite, descriptor, b"x" * length, 0)
        assert other(os.path.getsize, place.file) == length
        assert sizes() == [len(START)] * 3
        assert other(os.path.getsize, place.file) == length
        assert os.pread(reader, 200, 0) == place.file.read_bytes() == START
    other(os.close, descriptor)
    assert sizes() == [100] * 3
    os.close(reader)
    place.check(saved(b"x" * 100))


# --------------------------------------------------------- another mount


@pytest.mark.parametrize("name", ["mnt", "mount point", "tab\tand\\040"])
def test_same_file_of_another_mount_is_no_other_writer(space: Space, mount: Mounts, name: str) -> None:
    """Guards the last close, which says what came of the save: files of other mounts have the same names and numbers, and are
    told apart by what the kernel says of mounts, where blanks in paths are escaped."""
    space.publish(CONFIG, START)
    mounted = mount(space.server, space.namespace, space.group, process={"name": name})
    other = mount(space.server, space.namespace, space.group)
    assert (mounted.path / CONFIG).stat().st_ino == (other.path / CONFIG).stat().st_ino
    with open(other.path / CONFIG, "r+b"), fails_with(errno.EILSEQ):
        write_all(mounted.path / CONFIG, LATIN1)
    subprocess.run(["bash", "-c", "{ printf 'a: 1\\n'; sleep 0.1; printf 'b: 2\\n'; } > app.yaml"], cwd=mounted.path, check=True)
    assert [row.op for row in space.history(CONFIG)] == ["U", "I"]
    assert space.detail(CONFIG).content == b"a: 1\nb: 2\n"


# -------------------------------------------------------------------- status


def test_status_tells_what_is_pending(place: Place) -> None:
    place.run("touch new.yaml; : > app.yaml")
    empty = {key_text(place, "new.yaml"), key_text(place, CONFIG)}
    assert empty <= set(place.bench.mounted.status()["empty_pending"])
    place.run("echo 'a: 1' > new.yaml; echo 'b: 1' > app.yaml")
    assert not empty & set(place.bench.mounted.status()["empty_pending"])
    descriptor = open_for(place.file)
    os.write(descriptor, SAVED)
    assert key_text(place, CONFIG) in place.bench.mounted.status()["being_written"]
    os.close(descriptor)
    assert key_text(place, CONFIG) not in place.bench.mounted.status()["being_written"]
    place.check({CONFIG: Left(SAVED, "UU"), "new.yaml": Left(b"a: 1\n", "I", NEW)})


def test_status_tells_what_failed(place: Place) -> None:
    before = place.bench.mounted.status()["unsaved"]
    with fails_with(errno.EILSEQ):
        write_all(place.file, LATIN1 + place.group.encode())
    assert key_text(place, CONFIG) in place.bench.mounted.status()["failed"]
    assert place.bench.mounted.status()["unsaved"] == before + 1
    write_all(place.file, SAVED)
    assert key_text(place, CONFIG) not in place.bench.mounted.status()["failed"]
    place.check(SAVED_ONCE)


def test_status_cannot_be_changed(place: Place) -> None:
    path = place.bench.mounted.path / ".nacosfs" / "status"
    with fails_with(errno.EACCES):
        os.open(path, os.O_WRONLY)
    with fails_with(errno.EPERM):
        path.unlink()
    assert place.bench.mounted.status()["server"]
