"""Names that change while they are used: a config that is moved or hidden, and who opens or lists it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from harness.mounts import Mounts, Space


pytestmark = pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)

OPEN_OFTEN = """
import os, sys, time
end = time.monotonic() + 8
while time.monotonic() < end:
    try:
        os.close(os.open(sys.argv[1], os.O_RDWR))
    except FileNotFoundError:
        pass
"""

MOVE_OFTEN = """
import os, sys, time
name, hidden = sys.argv[1], os.path.join(os.path.dirname(sys.argv[1]), ".app.yaml.swp")
end = time.monotonic() + 8
while time.monotonic() < end:
    try:
        os.rename(name, hidden)
        os.rename(hidden, name)
    except FileNotFoundError:
        pass
"""


def test_opened_for_writing_while_it_is_hidden(space: Space, mount: Mounts) -> None:
    """Guards a node that gets a private name while the rights of who opens it are looked up: the daemon died of it."""
    space.publish("app.yaml", "a: 1\n")
    mounted = mount(space.server, space.namespace, space.group)
    programs = [MOVE_OFTEN] + 8 * [OPEN_OFTEN]
    running = [subprocess.Popen([sys.executable, "-c", program, mounted.path / "app.yaml"], stderr=subprocess.DEVNULL)
               for program in programs]
    for process in running:
        process.wait(60)
    assert (mounted.path / ".nacosfs").is_dir()


def read_names(descriptor: int, size: int) -> list[str]:
    """One getdents64 of that many bytes; os.listdir reads all at once."""
    names, buffer, at = [], ctypes.create_string_buffer(size), 0
    end = ctypes.CDLL(None, use_errno=True).syscall(217, descriptor, buffer, size)
    assert end >= 0
    while at < end:
        length = int.from_bytes(buffer.raw[at + 16:at + 18], "little")
        names.append(buffer.raw[at + 19:at + length].split(b"\0")[0].decode())
        at += length
    return names


def test_moved_to_another_group_while_its_own_is_read(space: Space, mount: Mounts) -> None:
    """Guards the entries of a directory stream: one that has moved away is not given out below its new name."""
    mounted = mount(space.server, space.namespace)
    here, there = mounted.path / "HERE", mounted.path / "THERE"
    for group in (here, there):
        group.mkdir()
    for number in range(60):
        (here / f"{number:03}-{'x' * 200}").write_text("a: 1\n")
    descriptor = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names = read_names(descriptor, 2000)
        os.rename(here / os.listdir(here)[-1], there / "moved")
        while more := read_names(descriptor, 2000):
            names += more
    finally:
        os.close(descriptor)
    assert "moved" not in names
    assert not (here / "moved").exists() and (there / "moved").read_text() == "a: 1\n"
