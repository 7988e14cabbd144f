"""Two hosts edit the configs of one namespace: who comes second is told, and nobody's text is lost.

What one mount makes of changes by an admin is in test_writing_beside_others.py. Here both sides are mounts, on each
generation. What can be promised depends on the server. 2.x and 3.x from 2.3.0 on compare before they write (CAS), so
nothing that was confirmed is overwritten unseen. 1.4 and 2.2 do not over HTTP: between the comparison of one host and its
publish, another host's publish may slip in, and then it is overwritten although it was confirmed. It is in the server's
history then, which is all that can be promised there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.mounts import Mount, Mounts, Space
from harness.saving import Edit, all_edits, edit_and_fsync, edit_and_rename, fails_with, write_all
from harness.servers import NacosServer
from harness.waiting import wait_until

CONFIG = "app.yaml"
OLD = b"a: old\n"
MINE = b"a: mine\n"
THEIRS = b"a: theirs\n"
METADATA = {"type": "yaml", "desc": "described", "tags": frozenset({"shop", "eu"}), "app": "shop"}
ROUNDS = 10
NAMES = 20


def has_cas(server: NacosServer) -> bool:
    return server.generation == "3.1.0"


# ----------------------------------------------------------------- two hosts


class Host:
    """One of the hosts, in the group of the test."""

    def __init__(self, mounted: Mount, group: str) -> None:
        self.mounted = mounted
        self.group = group
        self.path = mounted.path / group

    def file(self, name: str = CONFIG) -> Path:
        return self.path / name

    def kept(self) -> list[dict[str, bytes]]:
        """The texts of the failed saves in this group: what is in the directory of each, but for `why`."""
        found = [{file.name: file.read_bytes() for file in entry.iterdir()}
                 for entry in (self.mounted.path / ".nacosfs" / "unsaved").iterdir()]
        return [files for files in found if f"group={self.group}\n".encode() in files.pop("why")]

    def kept_texts(self) -> set[bytes]:
        return {files["yours"] for files in self.kept()}


@pytest.fixture(scope="module", params=["1.4.1", "2.2.4", "3.1.0"])
def two_mounts(request: pytest.FixtureRequest, nacos_of: Callable[[str], NacosServer]) -> Iterator[tuple[Space, list[Mount]]]:
    """Two mounts of one namespace for all tests of the module on that server."""
    server = nacos_of(request.param)
    space = Space(server, f"test-{uuid.uuid4().hex[:12]}")
    server.admin.create_namespace(space.namespace)
    mounts = Mounts()
    yield space, [mounts(server, space.namespace) for _ in range(2)]
    mounts.close()
    server.admin.delete_all(space.namespace)
    server.admin.delete_namespace(space.namespace)


@pytest.fixture
def space(two_mounts: tuple[Space, list[Mount]]) -> Space:
    """A group of the test's own, with one config."""
    space = dataclasses.replace(two_mounts[0], group=f"g-{uuid.uuid4().hex[:6]}")
    space.publish(CONFIG, OLD, **METADATA)
    return space


@pytest.fixture
def hosts(space: Space, two_mounts: tuple[Space, list[Mount]]) -> tuple[Host, Host]:
    """Two hosts; both have read the config."""
    here, there = (Host(mounted, space.group) for mounted in two_mounts[1])
    for host in (here, there):
        assert host.file().read_bytes() == OLD
    return here, there


def check_kept(host: Host, expected: dict[str, bytes]) -> None:
    (kept,) = host.kept()
    assert kept == expected


@all_edits
@pytest.mark.parametrize("how", ["write", "replace"])
def test_changed_elsewhere(space: Space, hosts: tuple[Host, Host], edit: Edit, how: str) -> None:
    here, there = hosts
    commit = edit(here.file(), MINE)
    if how == "write":
        write_all(there.file(), THEIRS)
    else:
        write_all(there.file(".x.tmp"), THEIRS)
        os.rename(there.file(".x.tmp"), there.file())
    with fails_with(errno.EBUSY):
        commit()
    assert space.detail(CONFIG).content == THEIRS
    check_kept(here, {"yours": MINE, "base": OLD, "theirs": THEIRS})
    assert there.kept() == []
    # Who loads it again and saves then has seen theirs.
    wait_until(lambda: here.file().read_bytes() == THEIRS, what="their text here")
    edit(here.file(), MINE)()
    wait_until(lambda: there.file().read_bytes() == MINE, what="our text there")
    assert here.kept() == []
    detail = space.detail(CONFIG)
    assert {name: getattr(detail, name) for name in METADATA} == METADATA
    assert [row.op for row in space.history(CONFIG)] == ["U", "U", "I"]


@all_edits
def test_changed_elsewhere_long_before_the_save(space: Space, hosts: tuple[Host, Host], edit: Edit) -> None:
    """What was cached of the old version is not fresh any more: the base is still that of the open."""
    here, there = hosts
    commit = edit(here.file(), MINE)
    write_all(there.file(), THEIRS)
    time.sleep(2.5)
    started = time.monotonic()
    with fails_with(errno.EBUSY):
        commit()
    assert time.monotonic() - started < 1.5  # there is nothing to wait for
    assert space.detail(CONFIG).content == THEIRS
    # A rename may notice the change by itself: what it finds then is theirs, and not what the temp file was made from.
    (kept,) = here.kept()
    assert kept["yours"] == MINE and kept["theirs"] == THEIRS and kept.get("base", OLD) == OLD
    assert "base" in kept or edit is edit_and_rename


@all_edits
def test_changed_elsewhere_and_changed_back(space: Space, hosts: tuple[Host, Host], edit: Edit) -> None:
    """The config is what the editor started from again: nothing gets lost."""
    here, there = hosts
    commit = edit(here.file(), MINE)
    write_all(there.file(), THEIRS)
    write_all(there.file(), OLD)
    with contextlib.suppress(OSError):  # where the change was noticed
        commit()
    assert space.detail(CONFIG).content in (OLD, MINE)
    assert space.detail(CONFIG).content == MINE or here.kept_texts() == {MINE}


@all_edits
def test_deleted_elsewhere(space: Space, hosts: tuple[Host, Host], edit: Edit) -> None:
    here, there = hosts
    space.publish("neighbour.txt", b"here to stay\n")  # a group goes with its last config
    commit = edit(here.file(), MINE)
    os.unlink(there.file())
    wait_until(lambda: space.detail(CONFIG) is None, what="the removal")
    with fails_with(errno.EBUSY):
        commit()
    assert space.detail(CONFIG) is None
    # What a temp file was made from may be forgotten once the config is gone.
    (kept,) = here.kept()
    assert kept["yours"] == MINE and kept.get("base", OLD) == OLD and "theirs" not in kept
    assert "base" in kept or edit is edit_and_rename
    wait_until(lambda: not here.file().exists(), what="the name to go here too")
    # Saving again is to create it.
    edit(here.file(), MINE)() if edit is edit_and_rename else write_all(here.file(), MINE)
    assert space.detail(CONFIG).content == MINE
    assert here.kept() == []


@all_edits
def test_moved_elsewhere(space: Space, hosts: tuple[Host, Host], edit: Edit) -> None:
    here, there = hosts
    commit = edit(here.file(), MINE)
    os.rename(there.file(), there.file("moved.yaml"))
    with fails_with(errno.EBUSY):
        commit()
    assert space.names() == ["moved.yaml"]
    assert here.kept_texts() == {MINE}


@all_edits
def test_created_elsewhere(space: Space, hosts: tuple[Host, Host], edit: Edit) -> None:
    here, there = hosts
    name = "new.yaml"
    assert not here.file(name).exists()
    if edit is edit_and_rename:
        commit = edit(here.file(name), MINE)
    else:
        descriptor = os.open(here.file(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, MINE)

        def commit() -> None:
            try:
                if edit is edit_and_fsync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)

    write_all(there.file(name), THEIRS)
    with fails_with(errno.EBUSY):
        commit()
    assert space.detail(name).content == THEIRS
    assert here.kept_texts() == {MINE}


@all_edits
def test_only_metadata_changed_elsewhere(space: Space, hosts: tuple[Host, Host], edit: Edit) -> None:
    """No conflict, and the new metadata stay."""
    here, there = hosts
    commit = edit(here.file(), MINE)
    metadata = {"type": "properties", "desc": "new words", "tags": frozenset({"us"}), "app": "bank"}
    space.publish(CONFIG, OLD, **metadata)
    commit()
    detail = space.detail(CONFIG)
    assert detail.content == MINE
    assert {name: getattr(detail, name) for name in metadata} == metadata
    assert here.kept() == []


@all_edits
def test_changed_to_the_same_bytes_elsewhere(space: Space, hosts: tuple[Host, Host], edit: Edit) -> None:
    here, there = hosts
    commit = edit(here.file(), MINE)
    write_all(there.file(), MINE)
    commit()
    assert space.detail(CONFIG).content == MINE
    assert [row.op for row in space.history(CONFIG)] == ["U", "I"]
    assert here.kept() == []


@all_edits
def test_written_again_elsewhere_without_a_change(space: Space, hosts: tuple[Host, Host], edit: Edit) -> None:
    here, there = hosts
    commit = edit(here.file(), MINE)
    write_all(there.file(), OLD)
    commit()
    assert space.detail(CONFIG).content == MINE
    assert [row.op for row in space.history(CONFIG)] == ["U", "I"]


def test_nothing_to_save_is_no_conflict(space: Space, hosts: tuple[Host, Host]) -> None:
    """The file was opened for writing, and is as it was: the other's change stands."""
    here, there = hosts
    descriptor = os.open(here.file(), os.O_RDWR)
    os.pwrite(descriptor, OLD, 0)
    write_all(there.file(), THEIRS)
    os.close(descriptor)
    assert space.detail(CONFIG).content == THEIRS
    assert here.kept() == []
    wait_until(lambda: here.file().read_bytes() == THEIRS, what="their text here")


def test_removal_does_not_take_a_change_with_it(space: Space, hosts: tuple[Host, Host]) -> None:
    here, there = hosts
    os.unlink(here.file())
    write_all(there.file(), THEIRS)
    wait_until(here.file().exists, what="the name to show again")
    assert here.file().read_bytes() == THEIRS
    assert space.detail(CONFIG).content == THEIRS


def test_removed_by_both(space: Space, hosts: tuple[Host, Host]) -> None:
    for host in hosts:
        os.unlink(host.file())
    for host in hosts:
        status = host.mounted.path / ".nacosfs" / "status"
        wait_until(lambda: json.loads(status.read_text())["removals_pending"] == 0, what="the removal")
        assert not host.file().exists()
    assert CONFIG not in space.names()


def test_moved_by_both(space: Space, hosts: tuple[Host, Host]) -> None:
    """The second finds nothing to move; the config is under one name."""
    here, there = hosts
    os.rename(there.file(), there.file("there.yaml"))
    with pytest.raises(OSError) as refused:
        os.rename(here.file(), here.file("here.yaml"))
    assert refused.value.errno in (errno.ENOENT, errno.EBUSY)
    assert space.names() == ["there.yaml"]


def test_moved_onto_what_the_other_created(space: Space, hosts: tuple[Host, Host]) -> None:
    """mv asks not to replace anything: also not what this host has not seen yet."""
    here, there = hosts
    assert not here.file("new.yaml").exists()
    write_all(there.file("new.yaml"), THEIRS)
    done = subprocess.run(["mv", "-n", here.file(), here.file("new.yaml")], capture_output=True, text=True)
    assert space.detail("new.yaml").content == THEIRS, done
    assert space.detail(CONFIG).content == OLD


# --------------------------------------------------------------------- races

# Does what it reads line by line, each at the given time, and says how it went.
RACER = """
import errno, os, sys, time
for line in sys.stdin:
    how, when, path, content = line.rstrip("\\n").split("\\t")
    content = content.encode() + b"\\n"
    temp = os.path.join(os.path.dirname(path), ".temp-%d.swp" % os.getpid())
    base = b""
    try:
        if how == "rename":
            base = open(path, "rb").read()
            with open(temp, "wb") as file:
                file.write(content)
        elif how == "close":
            descriptor = os.open(path, os.O_RDWR)
            base = os.pread(descriptor, 1000, 0)
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
        while time.time() < float(when):
            pass
        if how == "rename":
            os.rename(temp, path)
        elif how == "close":
            os.close(descriptor)
        else:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(descriptor, content)
            os.close(descriptor)
        result = "saved"
    except OSError as error:
        result = errno.errorcode[error.errno]
    print(result, base.hex(), sep="\\t", flush=True)
"""


class Racer:
    """A process that works on one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._process = subprocess.Popen([sys.executable, "-c", RACER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)

    def start(self, how: str, when: float, name: str, content: str) -> None:
        self._process.stdin.write(f"{how}\t{when}\t{self.host.file(name)}\t{content}\n")
        self._process.stdin.flush()

    def result(self) -> tuple[str, bytes]:
        """What came of it, and the text that it started from."""
        result, base = self._process.stdout.readline().rstrip("\n").split("\t")
        return result, bytes.fromhex(base)

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def racers(hosts: tuple[Host, Host]) -> Iterator[list[Racer]]:
    pair = [Racer(host) for host in hosts]
    yield pair
    for racer in pair:
        racer.end()


def race(racers: list[Racer], how: str, name: str, contents: list[str], lead: float) -> list[tuple[str, bytes]]:
    when = time.time() + lead
    for racer, content in zip(racers, contents):
        racer.start(how, when, name, content)
    return [racer.result() for racer in racers]


def contents_of(space: Space, name: str) -> list[bytes]:
    """All contents that the config ever had, oldest first."""
    before = [row.content for row in reversed(space.history(name)) if row.op != "I"]
    current = space.detail(name)
    return [*before, *([current.content] if current else [])]


def test_race_of_exclusive_creations(space: Space, racers: list[Racer]) -> None:
    for number in range(NAMES):
        name = f"new-{number}.yaml"
        contents = [f"n: {number}, host: {host}" for host in range(2)]
        results = [result for result, _ in race(racers, "create", name, contents, lead=0.05)]
        assert set(results) <= {"saved", "EEXIST", "EBUSY"}, results
        winners = [f"{content}\n".encode() for content, result in zip(contents, results) if result == "saved"]
        ever = contents_of(space, name)
        assert ever[-1] in winners
        assert set(winners) <= set(ever), "told that it is saved, and it never was"
        for racer, content, result in zip(racers, contents, results):
            if result == "EBUSY":
                assert f"{content}\n".encode() in racer.host.kept_texts()
        if has_cas(space.server):
            assert len(winners) == 1 and len(ever) == 1, results


@pytest.mark.parametrize("how", ["close", "rename"])
def test_race_of_saves(space: Space, racers: list[Racer], how: str) -> None:
    saved: list[tuple[bytes, bytes]] = []  # text and base
    refused = 0
    for number in range(ROUNDS):
        current = space.detail(CONFIG).content
        for racer in racers:
            wait_until(lambda: racer.host.file().read_bytes() == current, what="the text of the last round")
        contents = [f"n: {number}, host: {host}" for host in range(2)]
        results = race(racers, how, CONFIG, contents, lead=0.05)
        for racer, content, (result, base) in zip(racers, contents, results):
            text = f"{content}\n".encode()
            if result == "saved":
                saved.append((text, base))
                continue
            assert result == "EBUSY"
            refused += 1
            assert text in racer.host.kept_texts()
    ever = contents_of(space, CONFIG)
    assert {text for text, _ in saved} <= set(ever), "told that it is saved, and it never was"
    assert len(saved) >= ROUNDS
    if has_cas(space.server) and how == "close":
        assert refused == ROUNDS, "both were told that they saved the same version"
        for text, base in saved:
            assert ever[ever.index(text) - 1] == base, "a version that nobody saw was overwritten"


ADDER = """
import os, sys
path, name = sys.argv[1:]
for number in range(10):
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, f"{name}: {number}\\n".encode())
        try:
            os.close(descriptor)
            break
        except OSError:
            pass
"""


def test_race_with_reload_and_retry(space: Space, hosts: tuple[Host, Host]) -> None:
    """Each host adds lines to what is there, and tries again when it is told that it came second: no line gets lost."""
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, host.file(), f"host-{number}"])
              for number, host in enumerate(hosts)]
    assert [adder.wait(120) for adder in adders] == [0, 0]
    lines = sorted(f"host-{host}: {number}" for host in range(2) for number in range(10))
    ever = contents_of(space, CONFIG)
    if has_cas(space.server):
        assert sorted(ever[-1].decode().splitlines()[1:]) == lines
    assert set(lines) <= set(b"".join(ever).decode().splitlines())
