"""A bench for trying tools: a mounted namespace in which every case gets a group of its own with one config in it, and
the judgement of what a case left on the server.

    def test_cp(bench):
        place = bench.place("cp")
        place.run(f"cp {place.work}/app.yaml app.yaml")
        place.check(SAVED_ONCE)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Mapping

import pytest

from harness.mounts import Mount, Mounts
from harness.nacos_admin import HistoryRow
from harness.servers import NacosServer
from harness.waiting import wait_until

CONFIG = "app.yaml"
START = b"server:\n  port: 8080\n  name: demo\n"
SAVED = b"server:\n  port: 9090\n  name: demo\n"
METADATA = {"type": "yaml", "desc": "the shop's settings", "tags": frozenset({"shop", "eu"}), "app": "shop"}
# What a config gets that is new under its name: the type by its extension, no more.
NEW = {"type": "yaml", "desc": "", "tags": frozenset(), "app": ""}


@dataclass(frozen=True)
class Left:
    """What a case leaves under one name: the content (None: no config), and its new history, oldest first (IUD)."""

    content: bytes | None
    ops: str
    metadata: Mapping[str, object] = field(default_factory=lambda: METADATA)


Result = Mapping[str, Left]
SAVED_ONCE: Result = {CONFIG: Left(SAVED, "U")}
UNTOUCHED: Result = {CONFIG: Left(START, "")}


def saved(content: bytes, ops: str = "U") -> Result:
    return {CONFIG: Left(content, ops)}


def need(*programs: str) -> None:
    """Skips the test when a program is missing."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


class Place:
    """A group with one config, and a work directory outside of the mount with the new text in various forms."""

    def __init__(self, bench: Bench, group: str, work: Path) -> None:
        self.bench = bench
        self.group = group
        self.path = bench.mounted.path / group
        self.file = self.path / CONFIG
        self.work = work
        self.publish(CONFIG, START)
        self._before = {CONFIG: len(self.history(CONFIG))}
        self._stat_before = self.file.stat()
        self._writes_before = bench.write_count()

    def publish(self, data_id: str, content: bytes) -> None:
        """An admin makes a config, with metadata."""
        self.bench.server.admin.publish(self.bench.namespace, self.group, data_id, content, **METADATA)

    def add(self, data_id: str, content: bytes) -> None:
        """One more config that the case starts from."""
        self.publish(data_id, content)
        self._before[data_id] = len(self.history(data_id))

    def history(self, data_id: str) -> list[HistoryRow]:
        return self.bench.server.admin.history(self.bench.namespace, self.group, data_id)

    def new_ops(self, data_id: str) -> str:
        """The operations that the server recorded since the case began, oldest first."""
        rows = self.history(data_id)
        return "".join(row.op for row in reversed(rows[:len(rows) - self._before.get(data_id, 0)]))

    def run(self, command: str, shell: str = "bash") -> None:
        """Runs a shell command in the directory; it must succeed and say nothing."""
        assert self.try_run(command, shell) == (0, "")

    def try_run(self, command: str, shell: str = "bash") -> tuple[int, str]:
        """Exit status and what it complains of."""
        done = subprocess.run([shell, "-c", command], cwd=self.path, capture_output=True, timeout=60,
                              env={**os.environ, "work": str(self.work), "LC_ALL": "C.UTF-8"})
        return done.returncode, done.stderr.decode(errors="replace")

    # ------------------------------------------------------------ judgement

    def check(self, result: Result, other_writes: int = 0) -> None:
        """What the case did is on the server as it should be, and nothing else, as far as can be seen at once.

        Each recorded operation is to be one request of the mount; `other_writes` more were sent (for other groups), or
        less (when an admin did some).
        """
        for data_id, left in result.items():
            self._check_local(data_id, left)
        # Of a move the old name goes with the move, so all is done by now.
        for data_id, left in result.items():
            self._check_server(data_id, left)
        writes = self.bench.write_count() - self._writes_before
        assert writes == sum(len(left.ops) for left in result.values()) + other_writes, "number of requests that change"
        self.check_names(result)
        self.bench.results[self] = result

    def check_names(self, result: Result) -> None:
        """No other name exists, or was ever written."""
        admin = self.bench.server.admin
        expected = sorted(name for name, left in result.items() if left.content is not None)
        assert [entry.data_id for entry in admin.list(self.bench.namespace, self.group)] == expected
        log = self.bench.mounted.log_text()
        written = set(re.findall(rf"{re.escape(self.group)}/(\S+): (?:saved|removed)", log))
        assert written <= {name for name, left in result.items() if left.ops}
        for name in self.suspicious_names():
            if name not in result:
                assert not self.history(name), f"{name} was on the server"

    def suspicious_names(self) -> set[str]:
        """What tools make beside the config, as far as a server can hold it (no `~`, `#`)."""
        made = {f".{CONFIG}.swp", "4913", CONFIG + ".bak", CONFIG + ".orig", CONFIG + ".tmp"}
        here = os.listdir(self.path) if self.path.exists() else []
        return made | {name for name in here if re.fullmatch("[A-Za-z0-9_.:-]+", name)}

    def _check_local(self, data_id: str, left: Left) -> None:
        path = self.path / data_id
        if left.content is None:
            assert not path.exists()
            return
        stat = path.stat()
        assert stat.st_size == len(left.content)
        before = self._stat_before
        assert (stat.st_mode, stat.st_uid, stat.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert path.read_bytes() == left.content

    def _check_server(self, data_id: str, left: Left) -> None:
        admin, key = self.bench.server.admin, (self.bench.namespace, self.group, data_id)
        assert self.new_ops(data_id) == left.ops
        detail = admin.detail(*key)
        if left.content is None:
            assert detail is None
            return
        assert detail.content == left.content
        wait_until(lambda: admin.get(*key) == left.content, what="clients to be served the saved text")
        assert {name: getattr(detail, name) for name in left.metadata} == left.metadata


class Bench:
    def __init__(self, server: NacosServer, namespace: str, mounts: Mounts) -> None:
        self.server = server
        self.namespace = namespace
        self.mounted: Mount = mounts(server, namespace, options={"log": "debug"})
        self.results: dict[Place, Result] = {}
        self._directory = Path(tempfile.mkdtemp(prefix="nacosfs-tools-", dir="/var/tmp"))

    def place(self, case: str) -> Place:
        group = re.sub(r"[^A-Za-z0-9]+", "-", case).strip("-") + "-" + uuid.uuid4().hex[:6]
        work = self._directory / group
        work.mkdir()
        return Place(self, group, work)

    def write_count(self) -> int:
        """How many requests that change something were answered with 200. (Refused ones ask for rights.)"""
        changes = re.compile(r"POST|PUT|DELETE|gRPC Config(Publish|Remove)Request")
        return sum(bool(changes.match(line)) for line in self.mounted.server_requests(": 200 ") if "/login" not in line)

    def check_afterwards(self) -> None:
        """What is put off for a moment is done when the mount ends: still nothing else may be on the server then."""
        self.mounted.unmount()
        for place, result in self.results.items():
            for data_id, left in result.items():
                assert place.new_ops(data_id) == left.ops, f"{place.group}: {data_id}"
            place.check_names(result)

    def close(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)


@pytest.fixture(scope="module")
def bench(nacos: NacosServer) -> Iterator[Bench]:
    """One mount for all tests of the module on that server; in the end nothing may have come after their saves."""
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    nacos.admin.create_namespace(namespace)
    mounts = Mounts()
    bench = Bench(nacos, namespace, mounts)
    try:
        yield bench
        bench.check_afterwards()
    finally:
        bench.close()
        mounts.close()
        nacos.admin.delete_all(namespace)
        nacos.admin.delete_namespace(namespace)


@pytest.fixture
def place(bench: Bench, request: pytest.FixtureRequest) -> Place:
    return bench.place(request.node.name.split("[")[0].removeprefix("test_"))
