"""Promise: whatever somebody does or waits for, others are served at once from what is known.

What holds others up here is what one user can do (opens, failed saves, answers that don't come) or what lies outside (a slow
disk, a log that nobody reads). The others are programs of another user, which read a config that is in memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator, Sequence

import pytest

from harness.fault_proxy import FaultProxy, Request, reading
from harness.inotify import Inotify
from harness.mounts import Mount, Mounts, Space
from harness.saving import LATIN1
from harness.waiting import wait_until

AT_ONCE = 1  # seconds; who is held up here waits for 2 and more
GROUP = 54320  # the group of the files
ONE, OTHER = 54321, 54322  # users in it
SLOW_DISK = """
#include <stdio.h>
#include <unistd.h>
static int wait_for_disk(void)
{
	dprintf(STDERR_FILENO, "waiting for the disk\\n");
	sleep(1);
	return 0;
}
int fsync(int descriptor) { (void)descriptor; return wait_for_disk(); }
int fdatasync(int descriptor) { (void)descriptor; return wait_for_disk(); }
"""
# Says how long the slowest round took, when it is told to end.
READ_ON = """
import os, select, sys, time
slowest = rounds = 0
print("ready", flush=True)
while rounds < 20 or not select.select([0], [], [], 0)[0]:
    started = time.monotonic()
    os.stat(sys.argv[1])
    descriptor = os.open(sys.argv[1], os.O_RDONLY)
    assert os.read(descriptor, 100) == b"known: 1\\n"
    os.close(descriptor)
    slowest = max(slowest, time.monotonic() - started)
    rounds += 1
    time.sleep(0.01)
print(slowest)
"""

pytestmark = pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)


@contextlib.contextmanager
def others_read_on(path: Path) -> Iterator[None]:
    """Another user reads the config all the while, and never waits for it."""
    reader = subprocess.Popen([sys.executable, "-c", READ_ON, path], user=OTHER, group=GROUP, extra_groups=[], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert reader.stdout.readline() == "ready\n"
        yield
        slowest, _ = reader.communicate("\n", timeout=15)
    finally:
        reader.kill()  # and no wait: it may be held up still
    assert float(slowest) < AT_ONCE


def start_as_one(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A program of the user who makes others wait; it says a line when it has come so far."""
    return subprocess.Popen([sys.executable, "-c", script, *arguments], user=ONE, group=GROUP, extra_groups=[], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def mount_known(space: Space, mount: Mounts, names: Sequence[str] = ("known.txt", "used.txt"), **options: object) -> Mount:
    """The group, with configs that are in memory."""
    for name in names:
        space.publish(name, "known: 1\n")
    mounted = mount(space.server, space.namespace, space.group, gid=GROUP, umask="007", **options)
    mounted.wait_until_told()
    for name in names:
        assert (mounted.path / name).read_text() == "known: 1\n"
    return mounted


def save_what_cannot_be_saved(path: Path) -> None:
    with pytest.raises(OSError, match="Invalid or incomplete multibyte"), path.open("wb", buffering=0) as file:
        file.write(LATIN1)


def test_while_a_text_is_kept_on_a_slow_disk(space: Space, mount: Mounts, tmp_path: Path) -> None:
    """Guards the tree's lock, which was held while the text of a failed save was written to the disk."""
    source, library = tmp_path / "disk.c", tmp_path / "disk.so"
    source.write_text(SLOW_DISK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    sanitizers = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    mounted = mount_known(space, mount, cache_dir=tmp_path / "cache", process={
        "env": {**os.environ, "LD_PRELOAD": str(library), "ASAN_OPTIONS": sanitizers}})
    with others_read_on(mounted.path / "known.txt"):
        save_what_cannot_be_saved(mounted.path / "used.txt")
        wait_until(lambda: [file.read_bytes() for file in (tmp_path / "cache").rglob("yours")] == [LATIN1], 10, "the text on disk")
    assert "waiting for the disk" in mounted.log_text()


def test_while_nobody_reads_the_log(space: Space, mount: Mounts) -> None:
    """Guards everything against a full pipe behind stderr: lines are lost then, but nobody waits to write them."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    mounted = mount_known(space, mount, log="debug", process={"stderr": writer})
    os.close(writer)
    with ThreadPoolExecutor(2) as pool, open(reader, "rb") as end_of_log:
        try:
            with others_read_on(mounted.path / "known.txt"):
                # That it stays on the server is logged in the end.
                os.rename(mounted.path / "used.txt", mounted.path / "used.txt~")
                looked_up = pool.submit(lambda: [(mounted.path / f"absent{number}").exists() for number in range(100)])
                time.sleep(2)
            assert not any(looked_up.result(5))
            assert (mounted.path / "used.txt").exists()
        finally:
            pool.submit(end_of_log.read)
            mounted.unmount()


OPEN_OFTEN = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
opens = [os.open(sys.argv[1], os.O_RDWR) for _ in range(1000)]
os.pwrite(opens[0], b"draft", 0)
print("open", flush=True)
sys.stdin.read()
os._exit(0)
"""
# From below many parents: who is a child of a writer sees what is being written.
STAT_ON = """
import os, sys, time
for _ in range(25):
    if child := os.fork():
        os.waitpid(child, 0)
        os._exit(0)
children = [os.fork(), os.fork()]
end = time.monotonic() + 2
while time.monotonic() < end:
    os.stat(sys.argv[1])
while children and children.pop():
    os.wait()
"""


def test_while_a_user_has_a_thousand_opens(space: Space, mount: Mounts) -> None:
    """Guards the tree's lock, which was held while /proc was asked about each writer."""
    mounted = mount_known(space, mount)
    with start_as_one(OPEN_OFTEN, mounted.path / "used.txt") as opener:
        assert opener.stdout.readline() == "open\n"
        with others_read_on(mounted.path / "known.txt"), start_as_one(STAT_ON, mounted.path / "used.txt"):
            pass  # that is, until it ends
        opener.kill()


@pytest.fixture
def hanging(space: Space, mount: Mounts) -> Iterator[Mount]:
    """A mount whose server does not answer when used.txt is asked for, which somebody has changed."""
    with FaultProxy(space.server.port) as proxy:
        mounted = mount_known(space, mount, ["known.txt", "used.txt", "other.txt"], port=proxy.port, transport="http", timeout=60)

        def reading_used(request: Request) -> bool:
            return reading(request) and "dataId=used.txt" in request.path

        with proxy.hold(reading_used) as reached:
            space.publish("used.txt", "known: 2\n")
            assert reached.wait(10)
            yield mounted


def test_while_all_opens_of_a_user_hang(hanging: Mount) -> None:
    """Guards the threads that receive requests: no user may have all of them wait for him."""
    script = """
import os, sys, threading
known = os.open(sys.argv[1], os.O_PATH)
for _ in range(300):
    # Not by its name: a LOOKUP that hangs would hold up the directory.
    threading.Thread(target=os.open, args=(f"/proc/self/fd/{known}", os.O_RDONLY), daemon=True).start()
print("waiting", flush=True)
sys.stdin.read()
os._exit(0)
"""
    with start_as_one(script, hanging.path / "used.txt") as opener:
        assert opener.stdout.readline() == "waiting\n"
        with others_read_on(hanging.path / "known.txt"):
            time.sleep(1)
        opener.kill()


def test_while_a_changed_config_cannot_be_fetched(space: Space, hanging: Mount) -> None:
    """Guards what others are told: one fetch that hangs must not hold up all that changed after it."""
    file = hanging.path / "other.txt"
    with Inotify(hanging.path) as watch:
        space.publish("other.txt", "other: 2\n")
        watch.wait_for("other.txt", "MODIFY", "CLOSE_WRITE", timeout=4)
        assert file.read_text() == "other: 2\n" and file.stat().st_size == 9
        space.delete("known.txt")
        watch.wait_for("known.txt", "DELETE", timeout=4)
