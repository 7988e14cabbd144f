"""Groups that go because somebody else removed the last config in them, seen from whoever is inside, or by nobody."""

from __future__ import annotations

import os
import subprocess
from typing import Iterator

import pytest

from harness.fault_proxy import FaultProxy, Request
from harness.inotify import Inotify
from harness.mounts import Mount, Mounts, Space
from harness.waiting import wait_until

REFRESH = 1  # seconds between comparisons of names
OTHER = "OTHER"  # a group that stays


def listening(request: Request) -> bool:
    return "/listener" in request.path


@pytest.fixture
def whole(space: Space, mount: Mounts) -> Mount:
    """All namespaces shown; in that of the test a group with one config, and one that stays."""
    return mount_whole(space, mount)


def mount_whole(space: Space, mount: Mounts, **options: object) -> Mount:
    space.publish("last.txt", "last\n")
    space.server.admin.publish(space.namespace, OTHER, "stays.txt", "stays\n")
    if space.server.generation == "2.2.4":
        options["namespaces"] = space.namespace
    return mount(space.server, refresh=REFRESH, **options)


@pytest.fixture
def untold(space: Space, mount: Mounts) -> Iterator[Mount]:
    """The same, but nobody tells it of changes: it finds out by comparing."""
    with FaultProxy(space.server.port) as proxy, proxy.hold(listening):
        yield mount_whole(space, mount, port=proxy.port, transport="http")


def check_alive(space: Space, mounted: Mount) -> None:
    """The daemon goes on, and what has nothing to do with it all is as before."""
    namespace = mounted.path / space.namespace
    assert os.listdir(namespace) == [OTHER]
    assert (namespace / OTHER / "stays.txt").read_text() == "stays\n"
    assert mounted.process.poll() is None


def test_listed_from_inside(space: Space, whole: Mount) -> None:
    """Guards against asking a directory without a name what its name is: `ls .` in a group that went."""
    whole.wait_until_told()
    group = whole.path / space.namespace / space.group
    assert (group / "last.txt").read_text() == "last\n"
    shell = subprocess.Popen(["bash"], cwd=group, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    space.delete("last.txt")
    wait_until(lambda: not group.exists(), 10, "the group to go")
    said, _ = shell.communicate("ls .; ls -l . last.txt; cat last.txt; echo new > new.txt; echo ended\n", timeout=20)
    assert said.endswith("ended\n") and "last\n" not in said
    check_alive(space, whole)


def test_compared_when_nobody_is_there(space: Space, untold: Mount) -> None:
    """Guards the comparison of names in the background: it is to list the group that its listing of the namespace finds gone."""
    namespace = untold.path / space.namespace
    assert sorted(os.listdir(namespace)) == [space.group, OTHER]
    assert os.listdir(namespace / space.group) == ["last.txt"]
    with Inotify(namespace) as watch:
        space.delete("last.txt")
        wait_until(lambda: untold.process.poll() is not None or (space.group, "DELETE") in watch.events(0.02), 10,
                   "the group to go")
    check_alive(space, untold)


def test_grace_that_ends_after_its_group(space: Space, whole: Mount) -> None:
    """Guards what is put off for a moment: a name that was renamed away is to show again in a group that is gone by then."""
    namespace = whole.path / space.namespace
    os.rename(namespace / space.group / "last.txt", namespace / OTHER / "last.txt~")
    space.server.admin.delete(space.namespace, space.group, "last.txt", wait=False)
    wait_until(lambda: space.group not in os.listdir(namespace), 5, "the group to go")
    wait_until(lambda: whole.process.poll() is not None or "it stays on the server" in whole.log_text(), 5,
               "the end of the grace")
    assert sorted(os.listdir(namespace / OTHER)) == ["last.txt~", "stays.txt"]
    (namespace / OTHER / "last.txt~").unlink()
    check_alive(space, whole)
