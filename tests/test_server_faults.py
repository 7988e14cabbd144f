"""A server that hangs, dies and comes back, and a machine that runs out of room, while something is being saved.

The server is a real one of the module's own. What single requests can suffer is in test_faults.py.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Iterator

import pytest

from harness.fault_proxy import FaultProxy, publishing
from harness.mounts import Mounts, Space, is_mounted
from harness.proxy import TcpProxy
from harness.saving import EDITS, GRACE, Edit, all_edits, edit_and_close, fails_with, write_all
from harness.servers import NacosServer
from harness.waiting import wait_until

CONFIG = "app.yaml"
OLD = b"a: old\n"
NEW = b"a: new\n"
TIMEOUT = 3  # of the mounts
BACK = 15  # seconds in which a mount finds its server again
# Another key for its tokens: the old ones are refused after the restart.
NEW_KEY = {"nacos.core.auth.plugin.nacos.token.secret.key": "b3RoZXItc2VjcmV0LWtleS1vZi10aGUtdGVzdHMtMDEyMzQ1Njc4OQ=="}


# ------------------------------------------------------------ a server that hangs


class OwnServer:
    """A server that may be stopped, killed and restarted, and a mount of it."""

    def __init__(self, server: NacosServer, mounts: Mounts) -> None:
        self.server = server
        self.space = Space(server, "test-faults")
        self.space.server.admin.create_namespace(self.space.namespace)
        self.mounted = mounts(server, self.space.namespace, self.space.group,
                              options={"timeout": TIMEOUT, "log": "debug"})
        self._number = 0

    @property
    def pid(self) -> int:
        return json.loads((self.server.dir / "server.json").read_text())["pid"]

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        os.kill(self.pid, signal.SIGSTOP)
        try:
            # Until the thread that gets the signal has run, the others still serve.
            wait_until(lambda: all(" T " in stat.read_text().rpartition(")")[2][:4]
                                   for stat in Path(f"/proc/{self.pid}/task").glob("*/stat")), what="the server to stand still")
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def config(self) -> Path:
        """A new config that the mount has read."""
        self._number += 1
        path = self.mounted.path / f"app-{self._number}.yaml"
        self.space.publish(path.name, OLD, type="yaml")
        wait_until(lambda: path.exists() and path.read_bytes() == OLD, BACK, "the config in the mount")
        return path

    def content(self, path: Path) -> bytes | None:
        detail = self.space.detail(path.name)
        return detail.content if detail else None


@pytest.fixture(scope="module", params=["2.2.4", "3.1.0"])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """One server of each generation for the tests of this module."""
    server = NacosServer.start(request.param, tmp_path_factory.mktemp("own-nacos"))
    mounts = Mounts()
    yield OwnServer(server, mounts)
    mounts.close()
    server.stop()


@all_edits
def test_hanging_server_ends_a_save_in_time(own: OwnServer, edit: Edit) -> None:
    path = own.config()
    commit = edit(path, NEW)
    with own.hanging():
        started = time.monotonic()
        with fails_with(errno.ETIMEDOUT):
            commit()
        assert time.monotonic() - started < TIMEOUT + 2
        assert NEW in own.mounted.kept_texts()
        assert path.read_bytes() == OLD
    # It did not get as far as to the publish. (One that was under way would come later, and the next save would be refused.)
    wait_until(lambda: path.read_bytes() == own.content(path), BACK, "the mount to come back")
    assert own.content(path) == OLD
    again = f"again: {path.name}\n".encode()
    edit(path, again)()
    assert own.content(path) == again


def test_hanging_server_makes_a_removal_fail_or_happen_later(own: OwnServer) -> None:
    """The unlink has succeeded by then: what can't be removed shows again."""
    path = own.config()
    with own.hanging():
        try:
            path.unlink()
        except OSError as refused:
            assert refused.errno == errno.ETIMEDOUT
        time.sleep(GRACE + 0.5)
    wait_until(lambda: path.exists() == (own.content(path) is not None), BACK + 30, "the mount to know")
    own.mounted.path.stat()


# -------------------------------------------------------------- a server that dies


class Saver(threading.Thread):
    """Saves new texts all the time, and remembers what it was told."""

    def __init__(self, own: OwnServer, path: Path, edit: Edit) -> None:
        super().__init__()
        self.own, self.path, self.edit = own, path, edit
        self.saved: list[bytes] = []
        self.refused: list[bytes] = []
        self.errors: Counter[str] = Counter()
        self.done = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.done.wait(0.05 if len(self.refused) < 20 else 0.5):
            number += 1
            content = f"number: {number}\nby: {self.path.name}\n".encode() * (number % 5 + 1)
            try:
                commit = self.edit(self.path, content)
            except OSError as error:
                self.errors[f"open: {errno.errorcode[error.errno]}"] += 1
                continue
            try:
                commit()
                self.saved.append(content)
            except OSError as error:
                self.errors[errno.errorcode[error.errno]] += 1
                self.refused.append(content)


def contents_of(own: OwnServer, path: Path) -> list[bytes]:
    """All contents that the config ever had, oldest first."""
    before = [row.content for row in reversed(own.space.history(path.name)) if row.op != "I"]
    return [*before, own.content(path)]


def test_server_that_dies_in_a_series_of_saves(own: OwnServer) -> None:
    """It is restarted, and does not know its tokens any more. The mount finds it again, and logs in again."""
    savers = [Saver(own, own.config(), edit) for edit in EDITS.values()]
    for saver in savers:
        saver.start()
    try:
        wait_until(lambda: all(len(saver.saved) >= 3 for saver in savers), 30, "some saves")
        logins = own.mounted.server_request_count("/login")
        os.kill(own.pid, signal.SIGKILL)
        wait_until(lambda: all(saver.errors for saver in savers), 30, "saves to fail")
        own.server.restart(NEW_KEY)
        own.server.admin.login()
        before = [len(saver.saved) for saver in savers]
        wait_until(lambda: all(len(saver.saved) >= count + 3 for saver, count in zip(savers, before)), 30,
                   "saves to work again")
    finally:
        for saver in savers:
            saver.done.set()
        for saver in savers:
            saver.join()
    assert own.mounted.server_request_count("/login") > logins
    kept = own.mounted.kept_texts()
    for saver in savers:
        ever = contents_of(own, saver.path)
        assert set(saver.saved) <= set(ever), "told that it is saved, and it is not there after the restart"
        positions = [ever.index(content) for content in saver.saved]
        assert positions == sorted(positions)
        assert set(ever) <= {OLD, *saver.saved, *saver.refused}, "a text that nobody wrote"
        assert all(content in kept or content in ever for content in saver.refused), "a text is gone"
        wait_until(lambda: saver.path.read_bytes() == own.content(saver.path), BACK, "the mount to show it")


# ----------------------------------------------------- a server that is away for a moment


WRITER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
path, how, content = sys.argv[1], sys.argv[2], sys.argv[3].encode()
temp = f"{os.path.dirname(path)}/.{os.path.basename(path)}.tmp"
descriptor = os.open(temp if how == "rename" else path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(descriptor, content)
if how == "rename":
    os.close(descriptor)
print("written", flush=True)
sys.stdin.readline()
if how == "fsync":
    os.fsync(descriptor)
elif how == "close":
    os.close(descriptor)
else:
    os.rename(temp, path)
print("saved", flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
@pytest.mark.parametrize("how", EDITS)
def test_save_on_a_hanging_server_can_be_interrupted(space: Space, mount: Mounts, how: str, end: signal.Signals) -> None:
    """^C while an editor hangs in its save: it ends soon; its text, which was complete, is kept."""
    space.publish(CONFIG, OLD)
    with TcpProxy(space.server.port) as proxy:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, timeout=30)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, mounted.path / CONFIG, how, NEW.decode()],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert writer.stdout.readline() == "written\n"
        proxy.stall()
        writer.stdin.write("go\n")
        writer.stdin.flush()
        wait_until(lambda: b"fuse" in Path(f"/proc/{writer.pid}/stack").read_bytes(), what="the writer to wait")
        time.sleep(0.2)  # so that the request of the save is on its way
        started = time.monotonic()
        writer.send_signal(end)
        assert writer.wait(20) == -end
        assert time.monotonic() - started < 1.5
        wait_until(lambda: mounted.kept_texts() == [NEW] or how == "rename", what="the text to be kept")
        assert writer.stdout.read() == ""
        proxy.resume()
        wait_until(lambda: mounted.path.joinpath(CONFIG).read_bytes() in (OLD, NEW), BACK, "the mount to come back")
    assert space.detail(CONFIG).content in (OLD, NEW)


def test_server_that_is_away_for_a_moment_costs_one_save(space: Space, mount: Mounts) -> None:
    """No restart of the mount: when it is back, the kept text is saved with cp."""
    space.publish(CONFIG, OLD)
    with TcpProxy(space.server.port) as proxy:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, timeout=TIMEOUT)
        file = mounted.path / CONFIG
        commit = edit_and_close(file, NEW)
        proxy.refuse()
        with fails_with(errno.EHOSTUNREACH, errno.EIO, errno.ETIMEDOUT):
            commit()
        proxy.resume()
        (kept,) = (mounted.path / ".nacosfs" / "unsaved").iterdir()
        wait_until(lambda: file.read_bytes() == OLD, BACK, "the mount to come back")
        subprocess.run(["cp", kept / "yours", file], check=True)
        assert space.detail(CONFIG).content == NEW
        assert mounted.kept_texts() == []


def test_host_without_an_address_is_passed_over(space: Space, mount: Mounts) -> None:
    space.publish(CONFIG, OLD)
    source = f"nacos://no-such-host.invalid,127.0.0.1:{space.server.port}/{space.namespace}/{space.group}"
    mounted = mount.mount(source, {**mount.default_options(space.server), "timeout": TIMEOUT})
    write_all(mounted.path / CONFIG, NEW)
    assert space.detail(CONFIG).content == NEW


# --------------------------------------------------------- a machine without room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for little more than its directories."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k,mode=700", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_full_cache_directory(space: Space, mount: Mounts, small_disk: Path) -> None:
    """The text of a failed save is kept in memory all the same, and the log says that it is not on disk."""
    large = b"a: long text of a config\n" * 3000
    space.publish(CONFIG, OLD)
    with FaultProxy(space.server.port) as proxy:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, cache_dir=small_disk)
        path = mounted.path / CONFIG
        proxy.spoil("500", publishing, times=2)
        with pytest.raises(OSError):
            write_all(path, large)
        assert mounted.kept_texts() == [large]
        assert "No space left" in mounted.log_text()
        # What fits is kept on disk too, nothing of the other was left there.
        with pytest.raises(OSError):
            write_all(path, NEW)
        assert sorted(mounted.kept_texts()) == sorted([large, NEW])
        assert [file.read_bytes() for file in small_disk.rglob("yours")] == [NEW]
        # Saving works.
        write_all(path, large)
        assert space.detail(CONFIG).content == large
        assert mounted.kept_texts() == [NEW]


def test_cache_directory_that_cannot_be_written(space: Space, mount: Mounts, tmp_path: Path) -> None:
    space.publish(CONFIG, OLD)
    (tmp_path / "file").write_text("not a directory\n")
    with FaultProxy(space.server.port) as proxy:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, cache_dir=tmp_path / "file" / "x")
        proxy.spoil("500", publishing)
        with pytest.raises(OSError):
            write_all(mounted.path / CONFIG, NEW)
        assert mounted.kept_texts() == [NEW]
        assert "in memory only" in mounted.log_text()


def data_size(pid: int) -> int:
    size = re.search(r"VmData:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(size[1]) * 1024


def test_little_memory(space: Space, mount: Mounts) -> None:
    """Large files are refused, what was there stays, and the daemon goes on."""
    space.publish(CONFIG, OLD)
    mounted = mount(space.server, space.namespace, space.group)
    path = mounted.path / CONFIG
    write_all(path, NEW)
    write_all(mounted.path / ".small.swp", b"scratch\n")
    limit = data_size(mounted.pid) + (24 << 20)
    resource.prlimit(mounted.pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    refused: Counter[str] = Counter()
    for number in range(8):
        try:
            with open(mounted.path / f".large-{number}.swp", "wb") as file:
                file.write(b"x" * (8 << 20))
        except OSError as error:
            refused[errno.errorcode[error.errno]] += 1
    assert set(refused) and set(refused) <= {"ENOMEM", "ENOSPC"}, refused
    for name in os.listdir(mounted.path):
        if name.startswith(".large"):
            (mounted.path / name).unlink()
    assert mounted.process.poll() is None
    assert (mounted.path / ".small.swp").read_bytes() == b"scratch\n"
    for number in range(3):
        content = f"after: {number}\n".encode()
        write_all(path, content)
        assert path.read_bytes() == space.detail(CONFIG).content == content
    resource.prlimit(mounted.pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_saves_with_hardly_any_memory_are_told_or_done(space: Space, mount: Mounts) -> None:
    """The limit comes down bit by bit: whatever fails says so."""
    space.publish(CONFIG, OLD)
    mounted = mount(space.server, space.namespace, space.group)
    path = mounted.path / CONFIG
    write_all(path, NEW)
    outcomes: Counter[str] = Counter()
    stored = NEW
    for number in range(20):
        limit = data_size(mounted.pid) + ((20 - number) << 17)
        resource.prlimit(mounted.pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        content = f"number: {number}\n".encode() * 20_000
        try:
            write_all(path, content)
            outcomes["saved"] += 1
            assert space.detail(CONFIG).content == content
        except OSError as error:
            outcomes[errno.errorcode[error.errno]] += 1
            assert space.detail(CONFIG).content in (stored, content)
        stored = space.detail(CONFIG).content
    resource.prlimit(mounted.pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert mounted.process.poll() is None, outcomes
    write_all(path, NEW)
    assert space.detail(CONFIG).content == NEW
    assert not re.search(r"text .* is lost", mounted.log_text()) or outcomes["ENOMEM"]


# -------------------------------------------------------------------- unmounting


def test_lazy_unmount_with_a_file_being_written(space: Space, mount: Mounts) -> None:
    """The open file goes on working, its close saves it, and the daemon ends after that."""
    space.publish(CONFIG, OLD)
    mounted = mount(space.server, space.namespace, space.group)
    descriptor = os.open(mounted.path / CONFIG, os.O_WRONLY | os.O_TRUNC)
    os.write(descriptor, NEW[:3])
    subprocess.run(["umount", "-l", mounted.path], check=True)
    assert not is_mounted(mounted.path)
    os.write(descriptor, NEW[3:])
    os.close(descriptor)
    assert space.detail(CONFIG).content == NEW
    assert mounted.process.wait(20) == 0
    assert [row.op for row in space.history(CONFIG)] == ["U", "I"]


def test_lazy_unmount_with_what_is_put_off(space: Space, mount: Mounts) -> None:
    """Removals and deferred saves are done before the daemon ends."""
    space.publish(CONFIG, OLD)
    space.publish("gone.yaml", OLD)
    mounted = mount(space.server, space.namespace, space.group)
    (mounted.path / "gone.yaml").unlink()
    write_all(mounted.path / f"{CONFIG}8BAZdu", NEW)
    subprocess.run(["umount", "-l", mounted.path], check=True)
    assert mounted.process.wait(20) == 0
    assert space.names() == [CONFIG, f"{CONFIG}8BAZdu"]
    assert space.detail(f"{CONFIG}8BAZdu").content == NEW


def test_lazy_unmount_and_the_writer_is_killed(space: Space, mount: Mounts, tmp_path: Path) -> None:
    """Half a file is not published."""
    space.publish(CONFIG, OLD)
    mounted = mount(space.server, space.namespace, space.group, cache_dir=tmp_path / "cache")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, mounted.path / CONFIG, "close", "half: 1\n"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "written\n"
    subprocess.run(["umount", "-l", mounted.path], check=True)
    writer.kill()
    writer.wait()
    assert mounted.process.wait(20) == 0
    assert space.detail(CONFIG).content == OLD
    assert len(space.history(CONFIG)) == 1


def test_unmount_is_refused_while_a_file_is_being_written(space: Space, mount: Mounts) -> None:
    space.publish(CONFIG, OLD)
    mounted = mount(space.server, space.namespace, space.group)
    descriptor = os.open(mounted.path / CONFIG, os.O_WRONLY | os.O_TRUNC)
    os.write(descriptor, NEW)
    done = subprocess.run(["umount", mounted.path], capture_output=True, text=True)
    assert done.returncode and "busy" in done.stderr
    os.close(descriptor)
    subprocess.run(["umount", mounted.path], check=True)
    assert mounted.process.wait(20) == 0
    assert space.detail(CONFIG).content == NEW


def test_unmount_with_a_failed_save_keeps_its_text_on_disk(space: Space, mount: Mounts, tmp_path: Path) -> None:
    space.publish(CONFIG, OLD)
    name = f"new-{uuid.uuid4().hex[:6]}.yaml"
    with FaultProxy(space.server.port) as proxy:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, cache_dir=tmp_path / "cache")
        proxy.spoil("500", publishing)
        with pytest.raises(OSError):
            write_all(mounted.path / name, NEW)
        subprocess.run(["umount", mounted.path], check=True)
        assert mounted.process.wait(20) == 0
        again = mount(space.server, space.namespace, space.group, port=proxy.port, cache_dir=tmp_path / "cache")
        assert again.kept_texts() == [NEW]
        assert not (again.path / name).exists()
