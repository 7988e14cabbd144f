"""Random operations on one open config, compared with what a file would hold: contents and sizes, after each of them.

A seed repeats a run: NACOSFS_RANDOM_SEED=N NACOSFS_RANDOM_OPERATIONS=20000 pytest tests/test_random_operations.py
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from harness.mounts import Mount, Mounts, Space
from harness.waiting import wait_until

SIZE_MAX = 60_000
OPERATIONS = int(os.environ.get("NACOSFS_RANDOM_OPERATIONS", "2000"))
SEED = int(os.environ.get("NACOSFS_RANDOM_SEED", "1"))
LETTERS = bytes(range(ord("a"), ord("z") + 1)) + b"\n"


class Judge:
    """One open file, and what must be in it. What is written is text, and never nothing, as the server takes no other."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.expected = bytearray(path.read_bytes())
        self.log: list[str] = []
        self.file = os.open(path, os.O_RDWR)

    def text(self, size: int) -> bytes:
        return bytes(self.random.choices(LETTERS, k=size - 1)) + b"x"

    def write(self) -> None:
        offset = self.random.randrange(len(self.expected) + 1)
        text = self.text(self.random.randrange(1, min(9000, SIZE_MAX - offset)))
        assert os.pwrite(self.file, text, offset) == len(text)
        self.expected[offset:offset + len(text)] = text

    def append(self) -> None:
        """By another handle, which is closed again: that saves what is there."""
        if len(self.expected) > SIZE_MAX - 3000:
            return
        text = self.text(self.random.randrange(1, 3000))
        other = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            assert os.write(other, text) == len(text)
        finally:
            os.close(other)
        self.expected += text

    def truncate(self) -> None:
        size = self.random.randrange(1, len(self.expected) + 1)
        os.ftruncate(self.file, size)
        del self.expected[size:]
        if not bytes(self.expected).strip():
            self.write()

    def read(self) -> None:
        offset = self.random.randrange(len(self.expected))
        size = self.random.randrange(1, 20_000)
        assert os.pread(self.file, size, offset) == self.expected[offset:offset + size]

    def sync(self) -> None:
        os.fsync(self.file)

    def reopen(self) -> None:
        os.close(self.file)
        assert self.path.read_bytes() == self.expected
        self.file = os.open(self.path, os.O_RDWR)

    def check_size(self) -> None:
        assert os.lseek(self.file, 0, os.SEEK_END) == len(self.expected)
        assert os.fstat(self.file).st_size == len(self.expected)

    def run(self, count: int) -> None:
        steps = [self.write] * 6 + [self.read] * 6 + [self.truncate] * 3 + [self.append, self.sync, self.reopen]
        for number in range(count):
            step = self.random.choice(steps)
            self.log = [*self.log[-9:], f"{number}: {step.__name__}, then {len(self.expected)} bytes"]
            step()
            self.check_size()
        os.close(self.file)


@pytest.fixture
def watched(space: Space, mount: Mounts) -> Iterator[Mount]:
    """A mount that somebody watches, so that the daemon's own requests come in between."""
    space.publish("app.txt", "begin\n")
    mounted = mount(space.server, space.namespace, space.group)
    mounted.wait_until_told()
    watcher = subprocess.Popen(["inotifywait", "-q", "-m", mounted.path], stdout=subprocess.DEVNULL)
    yield mounted
    watcher.kill()
    watcher.wait()


def run_apart(path: Path, results: Path) -> bool:
    """In a process of its own: the toucher descends from this one, and so would see what this one writes."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    status = 1
    try:
        judge = Judge(path, SEED)
        try:
            judge.run(OPERATIONS)
            (results / "expected").write_bytes(judge.expected)
            status = 0
        finally:
            (results / "steps").write_text("\n".join(judge.log))
    except BaseException as error:
        (results / "failure").write_text(repr(error))
    finally:
        os._exit(status)


def test_contents_and_sizes(space: Space, watched: Mount, tmp_path: Path) -> None:
    if not run_apart(watched.path / "app.txt", tmp_path):
        pytest.fail("\n".join(file.read_text() for file in sorted(tmp_path.iterdir()) if file.name != "expected"))
    expected = (tmp_path / "expected").read_bytes()
    wait_until(lambda: space.detail("app.txt").content == expected, what="the last text")
