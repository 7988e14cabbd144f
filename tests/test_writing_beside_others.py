"""Saves while somebody else, an admin or another mount, changes the same configs."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from harness.mounts import Mounts, Space
from harness.saving import GRACE, fails_with, open_for, write_all
from harness.tools import CONFIG, METADATA, SAVED, SAVED_ONCE, START, Left, Place, Result
from harness.waiting import wait_until


# ---------------------------------------------------------------- conflicts

THEIRS = b"theirs: 1\n"


def check_conflict(place: Place, theirs: bytes | None, ops: str, beside: Result | None = None) -> None:
    """The server keeps theirs, and so do readers here; the next save works. `beside` is what else is in the group."""
    if theirs is not None:
        assert place.file.read_bytes() == theirs
        assert os.getxattr(place.file, "user.nacos.error")
    assert place.new_ops(CONFIG) == ops
    write_all(place.file, SAVED)
    assert place.file.read_bytes() == SAVED
    with fails_with(errno.ENODATA):
        os.getxattr(place.file, "user.nacos.error")
    place.check({CONFIG: Left(SAVED, ops + ("U" if theirs is not None else "I"), {"type": "yaml"}), **(beside or {})},
                other_writes=-len(ops))


@pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_TRUNC, os.O_RDWR], ids=["truncated", "in place"])
@pytest.mark.parametrize("commit", [os.close, os.fsync], ids=["close", "fsync"])
def test_changed_on_the_server_while_open(place: Place, flags: int, commit: Callable[[int], None]) -> None:
    descriptor = open_for(place.file, flags)
    os.write(descriptor, b"mine: 1\n")
    place.publish(CONFIG, THEIRS)
    with fails_with(errno.EBUSY):
        commit(descriptor)
    if commit is os.fsync:
        with fails_with(errno.EBUSY):
            os.close(descriptor)
    check_conflict(place, THEIRS, "U")


def test_changed_on_the_server_between_open_and_write(place: Place) -> None:
    descriptor = open_for(place.file, os.O_RDWR)
    place.publish(CONFIG, THEIRS)
    os.write(descriptor, b"mine: 1\n")
    with fails_with(errno.EBUSY):
        os.close(descriptor)
    check_conflict(place, THEIRS, "U")


def test_changed_on_the_server_and_seen_here_while_open(place: Place) -> None:
    """Somebody reads the new version through the mount: that does not make the writer's base newer."""
    descriptor = open_for(place.file, os.O_RDWR)
    place.publish(CONFIG, THEIRS)
    wait_until(lambda: place.file.read_bytes() == THEIRS, what="the remote change")
    os.write(descriptor, b"mine: 1\n")
    with fails_with(errno.EBUSY):
        os.close(descriptor)
    check_conflict(place, THEIRS, "U")


def test_deleted_on_the_server_while_open(place: Place) -> None:
    place.add("neighbour.yaml", START)  # a group goes with its last config
    descriptor = open_for(place.file)
    os.write(descriptor, b"mine: 1\n")
    place.bench.server.admin.delete(place.bench.namespace, place.group, CONFIG)
    with fails_with(errno.EBUSY):
        os.close(descriptor)
    wait_until(lambda: not place.file.exists(), what="the name to go")
    check_conflict(place, None, "D", {"neighbour.yaml": Left(START, "")})


def test_created_on_the_server_while_new(place: Place) -> None:
    descriptor = open_for(place.path / "new.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, b"mine: 1\n")
    place.publish("new.yaml", THEIRS)
    with fails_with(errno.EBUSY):
        os.close(descriptor)
    assert (place.path / "new.yaml").read_bytes() == THEIRS
    place.check({CONFIG: Left(START, ""), "new.yaml": Left(THEIRS, "I")}, other_writes=-1)


def test_changed_to_the_same_bytes_is_no_conflict(place: Place) -> None:
    descriptor = open_for(place.file)
    os.write(descriptor, SAVED)
    place.publish(CONFIG, SAVED)
    os.close(descriptor)
    place.check(SAVED_ONCE, other_writes=-1)


def test_changed_on_the_server_while_a_temp_file_is_written(place: Place) -> None:
    """The temp file was made from the version that was shown; the change is seen here before the rename."""
    temp = place.path / "app.yaml.tmp"
    write_all(temp, b"mine: 1\n")
    place.publish(CONFIG, THEIRS)
    wait_until(lambda: place.file.read_bytes() == THEIRS, what="the remote change")
    with fails_with(errno.EBUSY):
        os.rename(temp, place.file)
    assert temp.read_bytes() == b"mine: 1\n"
    check_conflict(place, THEIRS, "U")


def test_changed_on_the_server_while_a_temp_file_is_written_and_nobody_looks(place: Place) -> None:
    assert place.file.read_bytes() == START
    temp = place.path / "app.yaml.tmp"
    write_all(temp, b"mine: 1\n")
    place.publish(CONFIG, THEIRS)
    with fails_with(errno.EBUSY):
        os.rename(temp, place.file)
    check_conflict(place, THEIRS, "U")


def test_changed_on_the_server_before_a_removal(place: Place) -> None:
    """Who removes a file removes the version that was shown; a newer one must not go with it."""
    os.unlink(place.file)
    place.publish(CONFIG, THEIRS)
    wait_until(place.file.exists, GRACE + 5, "the name to show again")
    assert place.file.read_bytes() == THEIRS
    place.check({CONFIG: Left(THEIRS, "U")}, other_writes=-1)


@pytest.mark.parametrize("remove", [os.unlink, lambda path: os.rename(path, f"{path}~")], ids=["unlink", "backup"])
def test_changed_on_the_server_between_the_halves_of_a_save(place: Place, remove: Callable[[Path], None]) -> None:
    assert place.file.read_bytes() == START
    remove(place.file)
    place.publish(CONFIG, THEIRS)
    with fails_with(errno.EBUSY):
        write_all(place.file, b"mine: 1\n", os.O_WRONLY | os.O_CREAT)
    wait_until(place.file.exists, GRACE + 5, "the name to show again")
    check_conflict(place, THEIRS, "U")


WRITER = """
import errno, os, sys
descriptor = os.open(sys.argv[1], int(sys.argv[2]), 0o644)
os.write(descriptor, sys.argv[3].encode())
print("written", flush=True)
sys.stdin.read()
try:
    os.close(descriptor)
    print("closed")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


class Writer:
    """A process that has opened and written a file; it closes it when told."""

    def __init__(self, file: Path, content: bytes, flags: int) -> None:
        self._process = subprocess.Popen(["python3", "-c", WRITER, file, str(flags), content], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == "written\n"

    def close(self) -> str:
        """"closed", or the name of the error."""
        return self._process.communicate()[0].strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def writer() -> Iterator[Callable[..., Writer]]:
    """writer(file, content, flags) -> Writer; none outlives the test."""
    writers: list[Writer] = []

    def start(*arguments: Any) -> Writer:
        writers.append(Writer(*arguments))
        return writers[-1]

    yield start
    for each in writers:
        each.kill()


def test_save_while_a_child_has_the_file_open_too(place: Place, writer: Callable[..., Writer]) -> None:
    """The child's descriptor is its own: our close is the last of ours."""
    child = writer(place.file, START, os.O_WRONLY)
    write_all(place.file, SAVED)
    admin, key = place.bench.server.admin, (place.bench.namespace, place.group, CONFIG)
    assert admin.detail(*key).content == SAVED
    assert child.close() == "closed"
    place.check(SAVED_ONCE)


def two_mounts(space: Space, mount: Mounts) -> list[Path]:
    return [mount(space.server, space.namespace, space.group).path / CONFIG for _ in range(2)]


def test_two_mounts_that_save_the_same_config(space: Space, mount: Mounts, writer: Callable[..., Writer]) -> None:
    space.publish(CONFIG, START, **METADATA)
    here, there = two_mounts(space, mount)
    mine, theirs = writer(here, b"mine: 1\n", os.O_WRONLY | os.O_TRUNC), writer(there, THEIRS, os.O_WRONLY | os.O_TRUNC)
    assert [theirs.close(), mine.close()] == ["closed", "EBUSY"]
    wait_until(lambda: here.read_bytes() == THEIRS, what="the other's text")
    write_all(here, SAVED)
    wait_until(lambda: there.read_bytes() == SAVED, what="the other's text")
    assert [row.op for row in space.history(CONFIG)] == ["U", "U", "I"]


def test_two_mounts_that_create_the_same_config(space: Space, mount: Mounts, writer: Callable[..., Writer]) -> None:
    writers = [writer(file, b"from: %d\n" % number, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
               for number, file in enumerate(two_mounts(space, mount))]
    assert [each.close() for each in writers] == ["closed", "EBUSY"]
    assert space.detail(CONFIG).content == b"from: 0\n"
    assert len(space.history(CONFIG)) == 1


def test_two_mounts_in_one_process(space: Space, mount: Mounts) -> None:
    """A descriptor of the same file in another mount is no duplicate."""
    descriptors = [open_for(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL) for file in two_mounts(space, mount)]
    for number, descriptor in enumerate(descriptors):
        os.write(descriptor, b"from: %d\n" % number)
    os.close(descriptors[0])
    with fails_with(errno.EBUSY):
        os.close(descriptors[1])
    assert space.detail(CONFIG).content == b"from: 0\n"
    assert len(space.history(CONFIG)) == 1
