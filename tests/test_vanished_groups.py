"""What goes because somebody else removed it, while it is being used here: by who is in it, or asks for it, or by nobody."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.accounts import grants_on, nacos_account
from harness.fault_proxy import FaultProxy, asking_to_write, listening
from harness.inotify import Inotify
from harness.mounts import Mount, Mounts, Space
from harness.waiting import wait_until

REFRESH = 1  # seconds between comparisons of names
OTHER = "OTHER"  # a group that stays


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
    wait_until(lambda: whole.process.poll() is not None or not whole.status()["removals_pending"], 5, "the end of the grace")
    assert sorted(os.listdir(namespace / OTHER)) == ["last.txt~", "stays.txt"]
    (namespace / OTHER / "last.txt~").unlink()
    check_alive(space, whole)


def made_here(group: Path) -> None:
    group.mkdir()
    (group / "theirs.txt").write_text("1\n")


def removed_from_here(group: Path) -> None:
    (group / "ours.txt").unlink()
    wait_until(lambda: not (group / "ours.txt").exists(), 5, "the removal")


@pytest.mark.parametrize("before", [made_here, removed_from_here], ids=lambda before: before.__name__)
def test_group_that_was_changed_here(space: Space, mount: Mounts, before: Callable[[Path], None]) -> None:
    """Guards that a group is kept for its own sake only until there is something in it: emptied elsewhere, it goes."""
    if before is removed_from_here:
        space.publish("ours.txt", "1\n")
        space.publish("theirs.txt", "1\n")
    space.server.admin.publish(space.namespace, OTHER, "stays.txt", "stays\n")
    mounted = mount(space.server, space.namespace, refresh=REFRESH)
    mounted.wait_until_told()
    before(mounted.path / space.group)
    # Also with those who serve it: what comes and goes before they know of it is told to nobody.
    wait_until(lambda: space.names() == ["theirs.txt"] and space.get("theirs.txt"), 5, "what is done here to be on the server")
    assert (mounted.path / space.group / "theirs.txt").read_text() == "1\n"
    space.delete("theirs.txt")
    wait_until(lambda: os.listdir(mounted.path) == [OTHER] and not (mounted.path / space.group).exists(), 8, "the group to go")


def kill_toucher(space: Space, mounted: Mount) -> None:
    """And makes the daemon notice it."""
    (mounted.path / "two.txt").read_bytes()
    killed = mounted.touchers()
    os.kill(*killed, signal.SIGKILL)
    space.publish("two.txt", "two, changed\n")
    wait_until(lambda: not mounted.status()["watch"]["wakes"] or mounted.touchers() not in ([], killed), 10, "the end of the toucher")


@pytest.mark.parametrize("woken", [True, False], ids=["woken", "not woken"])
def test_looked_up_while_it_goes(space: Space, mount: Mounts, woken: bool) -> None:
    """Guards a name that goes while a LOOKUP of it asks what may be done with it. AddressSanitizer sees it used after that,
    if nobody has it in a queue of what is to be woken."""
    space.publish("one.txt", "one\n")
    space.publish("two.txt", "two\n")
    with FaultProxy(space.server.port) as proxy, ThreadPoolExecutor(1) as pool, \
            nacos_account(space.server, *grants_on(space, ("APP", "one.txt", "r"), ("APP", "two.txt", "r"))) as account:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, transport="http", user=account.login)
        mounted.wait_until_told()
        if not woken:
            kill_toucher(space, mounted)
        with proxy.hold(lambda request: asking_to_write(request) and b"dataId=one.txt" in request.body) as reached:
            looked_up = pool.submit((mounted.path / "one.txt").exists)
            assert reached.wait(10)
            space.delete("one.txt")
            looked_up.result(20)
        wait_until(lambda: not (mounted.path / "one.txt").exists(), 5, "the name to go")
        assert (mounted.path / "two.txt").read_text().startswith("two")
