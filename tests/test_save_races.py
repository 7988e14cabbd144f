"""Saves that meet what the daemon does by itself: the waking of who watches, and the end of a grace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.fault_proxy import FaultProxy, publishing
from harness.mounts import Mounts, Space
from harness.saving import GRACE
from harness.waiting import wait_until


pytestmark = pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)


WRITE_ON = """
import os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_TRUNC)
size = 0
for number in range(100):
    size += os.write(descriptor, b"a: 1\\n")
    os.fsync(descriptor)
    size += os.write(descriptor, b"b: 2\\n")
    end = time.monotonic() + 0.01
    while time.monotonic() < end:  # watchers are woken meanwhile
        found = os.lseek(descriptor, 0, os.SEEK_END)
        assert found == size, f"{found} for {size} in round {number}"
"""


def test_end_of_a_file_that_is_written_on_after_a_save(space: Space, mount: Mounts) -> None:
    """Guards the size that the kernel has: of a file that its writer goes on writing it is not that of the text which was
    saved, although that is what is told to who wakes watchers."""
    space.publish("app.yaml", "a: 1\n")
    mounted = mount(space.server, space.namespace, space.group)
    mounted.wait_until_told()
    # Not this process: what wakes descends from it, like the daemon, and sees what it writes.
    done = subprocess.run([sys.executable, "-c", WRITE_ON, mounted.path / "app.yaml"], capture_output=True, text=True, timeout=25)
    assert not done.returncode, done.stderr
    assert space.detail("app.yaml").content == b"a: 1\nb: 2\n" * 100


def test_grace_that_ends_while_its_name_is_renamed(space: Space, mount: Mounts) -> None:
    """Guards a temp file that is being renamed onto its config when its grace ends: only the config is published."""
    space.publish("app.yaml", "a: 1\n")
    with FaultProxy(space.server.port) as proxy, ThreadPoolExecutor(1) as pool:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, transport="http", timeout=30)
        temp = mounted.path / "app.yamlX3fQ9a"
        assert (mounted.path / "app.yaml").read_text() == "a: 1\n"
        temp.write_text("a: 2\n")
        with proxy.hold(publishing) as reached:
            renamed = pool.submit(os.rename, temp, mounted.path / "app.yaml")
            assert reached.wait(10)
            time.sleep(GRACE + 0.5)
        renamed.result(20)
    assert (mounted.path / "app.yaml").read_text() == "a: 2\n"
    assert not temp.exists()
    mounted.unmount()
    assert space.names() == ["app.yaml"]
    assert space.detail("app.yaml").content == b"a: 2\n"
    assert not space.history(temp.name), "the temp file was on the server"


def test_written_by_a_child_while_what_another_wrote_is_saved(space: Space, mount: Mounts) -> None:
    """Guards a close that comes while a save in the background runs: what it leaves gets a save of its own, not that one."""
    space.publish("app.yaml", "a: 1\n")
    script = """
        exec 3>app.yaml
        (read -r line <"$go"; /bin/echo two >&3; touch "$go.done"; sleep 60) &
        /bin/echo one >&3
        exec 3>&-
        wait
    """
    with FaultProxy(space.server.port) as proxy:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, transport="http", timeout=30)
        go = mounted.path.parent / "go"
        os.mkfifo(go)
        with proxy.hold(publishing) as reached:
            writer = subprocess.Popen(["sh", "-c", script], cwd=mounted.path, env={**os.environ, "go": str(go)},
                                      start_new_session=True)
            assert reached.wait(10)
            go.write_text("now\n")
            wait_until(lambda: go.with_suffix(".done").exists(), what="the child to write")
            time.sleep(GRACE)  # until its close has been seen, too
        try:
            wait_until(lambda: space.detail("app.yaml").content == b"one\ntwo\n", 10, what="both on the server, while open")
        finally:
            os.killpg(writer.pid, signal.SIGKILL)
            writer.wait()
