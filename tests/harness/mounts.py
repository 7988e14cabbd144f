"""Pytest fixtures: real mounts of the filesystem under test, and places on the servers for a test of its own.

    def test_reads(space, mount):
        space.publish("app.yaml", b"a: 1")
        mounted = mount(space.server, space.namespace, space.group)
        assert (mounted.path / "app.yaml").read_bytes() == b"a: 1"

The program is build/nacosfs, or the file that NACOSFS_BINARY names.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from harness.nacos_admin import Detail, HistoryRow
from harness.servers import NacosServer
from harness.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
BINARY = PROJECT / os.environ.get("NACOSFS_BINARY", "build/nacosfs")
MOUNT_TIMEOUT = 20
END_TIMEOUT = 30
COMPLAINTS = re.compile(r"ERROR: AddressSanitizer|runtime error:|LeakSanitizer|Assertion .* failed|error: a bug:")
PASSWORD = "nacos"

# The machine's own, which no test may write to.
DEFAULT_CACHES = [Path("/var/cache/nacosfs"), Path.home() / ".cache" / "nacosfs"]

Options = dict[str, Any]

# Sources of this run, and names of namespaces by which others are recognised.
used_in_sources: set[str] = set()


class MountFailed(Exception):
    """The program ended before anything was mounted."""

    def __init__(self, status: int, log: str) -> None:
        super().__init__(f"nacosfs exited with status {status}: {log}")
        self.status = status
        self.log = log


def mount_points() -> list[Path]:
    def unescaped(text: str) -> str:
        return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

    return [Path(unescaped(line.split(" ")[4])) for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def is_mounted(path: Path) -> bool:
    return path in mount_points()


def force_unmount(path: Path) -> None:
    while is_mounted(path):
        subprocess.run(["umount", "-l", path], check=True)


def run_nacosfs(*arguments: str | Path, timeout: float = 30, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end (for what is to fail, and for the background mode)."""
    used_in_sources.update(text for text in map(str, arguments) if "://" in text)
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, **kwargs)


def option_text(options: Options) -> str:
    """The text after -o. True gives a bare name; None and False leave the option out."""

    def one(name: str, value: Any) -> str:
        if value is True:
            return name
        return f"{name}={value}".replace("\\", "\\\\").replace(",", "\\,")

    return ",".join(one(name, value) for name, value in options.items() if value is not None and value is not False)


def kept_by_default() -> set[Path]:
    """What lies where the program keeps texts unless it is told otherwise, and comes from sources of this run."""

    def is_ours(name: str) -> bool:
        return any(used in name if "://" not in used else re.sub(r"[^A-Za-z0-9.-]", "_", used) == name
                   for used in used_in_sources)

    return {path for directory in DEFAULT_CACHES if directory.is_dir() for path in directory.iterdir() if is_ours(path.name)}


def source_of(hosts: str, namespace: str | None = None, group: str | None = None, scheme: str = "nacos") -> str:
    return "/".join(filter(None, (f"{scheme}://{hosts}", namespace, group)))


class Mount:
    """One mount, served by a daemon of its own in the foreground; everything it logs goes to a file."""

    def __init__(self, source: str, directory: Path, options: Options, name: str = "mnt", **process: Any) -> None:
        """`name` is that of the mount point in `directory`; `process` says how the daemon is started otherwise."""
        used_in_sources.add(source)
        self.source = source
        self._is_started = False
        self._tells_counts = options.get("log", "info") in ("info", "debug")
        self.path = directory / name
        self.log_path = directory / "log"
        self.path.mkdir(exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, source, self.path, "-f", "-o", option_text(options)],
                **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **process})
        try:
            wait_until(self._is_up, MOUNT_TIMEOUT, f"the mount of {source}")
        except BaseException:
            self.kill()
            raise
        os.stat(self.path)  # answered only once the daemon has started completely
        self._is_started = True

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise MountFailed(self.process.returncode, self.log_text())
        return is_mounted(self.path)

    @property
    def pid(self) -> int:
        return self.process.pid

    def log_text(self) -> str:
        """All that it has logged up to now: a thread of its own writes the lines, in their order."""
        if self._is_started and self._tells_counts and self.process.poll() is None and not self._is_stopped():
            with contextlib.suppress(AssertionError):  # one that hangs says nothing more
                self._log_counts()
        return re.sub(r"nacosfs: requests of the kernel:.*\n", "", self._raw_log_text())

    def _raw_log_text(self) -> str:
        return self.log_path.read_text(errors="replace")

    def _is_stopped(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "Tt"

    def _log_counts(self) -> str:
        """Has it log how many requests the kernel has made; everything logged before is in the log then, too."""

        def lines() -> list[str]:
            return re.findall(r"requests of the kernel:(.*)\n", self._raw_log_text())

        before = len(lines())
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(lines()) > before or self.process.poll() is not None, 5,
                   "the request counts in the log", interval=0.002)
        return lines()[-1] if lines() else ""

    def unmount(self) -> None:
        """Ends the daemon as an admin would; it must end well, and must not have complained."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"nacosfs did not end {END_TIMEOUT} s after SIGTERM:\n{self.log_text()}") from None
        mounted_still = is_mounted(self.path)
        force_unmount(self.path)
        log = self.log_text()
        assert not COMPLAINTS.search(log), f"nacosfs misbehaved:\n{log}"
        assert self.process.returncode == 0, f"nacosfs ended with status {self.process.returncode}:\n{log}"
        assert not mounted_still, "nacosfs ended but left its mount behind"

    def kill(self) -> None:
        """As a crash would end it. The dead mount is removed too."""
        self.process.kill()
        self.process.wait()
        force_unmount(self.path)

    # ------------------------------------------------------------ what it says

    def status(self) -> dict[str, Any]:
        return json.loads((self.path / ".nacosfs" / "status").read_text())

    def is_told(self) -> bool:
        """Does the server tell it of changes, and can it wake who watches?"""
        watch = self.status()["watch"]
        return watch["live"] and watch["wakes"]

    def wait_until_told(self) -> None:
        wait_until(self.is_told, 15, "the watch")

    def kept_texts(self) -> list[bytes]:
        """Of the saves that failed."""
        return [(entry / "yours").read_bytes() for entry in (self.path / ".nacosfs" / "unsaved").iterdir()]

    def touchers(self, with_orphans: bool = False) -> list[int]:
        """Its processes that wake; with those of this program whose daemon is gone."""
        parents = (self.pid, 1) if with_orphans else (self.pid,)
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (directory / "comm").read_text() == "nacosfs-toucher\n" and \
                        os.stat(directory / "exe").st_ino == os.stat(BINARY).st_ino and int(
                            (directory / "status").read_text().split("PPid:")[1].split()[0]) in parents:
                    found.append(int(directory.name))
        return found

    def request_counts(self) -> Counter[str]:
        """How many requests of each kind the kernel has made so far."""
        return Counter({kind: int(count) for kind, count in re.findall(r"(\w+)=(\d+)", self._log_counts())})

    def server_requests(self, part: str = "") -> list[str]:
        """The logged requests to servers that have `part` in their line. Needs options={"log": "debug"}.

        Over gRPC, what is told to be watched is not among them.
        """
        found = re.findall(r"debug: ((?:GET|POST|PUT|DELETE|gRPC) .* in \d+ ms)\n", self.log_text())
        return [line for line in found if part in line and not re.match("gRPC Config(BatchListen|FuzzyWatch)", line)]

    def server_request_count(self, part: str = "") -> int:
        return len(self.server_requests(part))


class Mounts:
    """What the fixture `mount` is: makes mounts, and takes all of them down at the end of the test."""

    def __init__(self) -> None:
        # Not below /tmp: vim makes no backups there. Others must be able to pass through.
        self.directory = Path(tempfile.mkdtemp(prefix="nacosfs-tests-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        self.mounts: list[Mount] = []

    def __call__(self, server: NacosServer, namespace: str | None = None, group: str | None = None,
                 options: Options | None = None, user: tuple[str, str] | None = ("nacos", PASSWORD),
                 port: int | None = None, process: dict[str, Any] | None = None, **changes: Any) -> Mount:
        """Mounts a namespace (default: all), or a group of it, as a Nacos user (None: no login).

        `port` is that of a proxy before the server; `process` goes to Mount(); `changes` are more options.
        """
        all_options = {**self.default_options(server, namespace, user), **(options or {}), **changes}
        return self.mount(source_of(f"{server.host}:{port or server.port}", namespace, group), all_options,
                          **(process or {}))

    def mount(self, source: str, options: Options, **process: Any) -> Mount:
        mounted = Mount(source, self.new_directory(), {"cache_dir": self.directory / "cache", **options}, **process)
        self.mounts.append(mounted)
        return mounted

    def default_options(self, server: NacosServer, namespace: str | None = None,
                        user: tuple[str, str] | None = ("nacos", PASSWORD)) -> Options:
        options: Options = {"cache_dir": self.directory / "cache"}
        if user:
            options |= {"username": user[0], "password_file": self.password_file(user[1])}
        if server.console_url:
            options["console"] = server.console_url
        if not namespace and server.generation == "2.2.4":
            options["namespaces"] = "public"  # that test server has no console, which would list them
        return options

    def password_file(self, password: str = PASSWORD, mode: int = 0o600) -> Path:
        descriptor, name = tempfile.mkstemp(prefix="password-", dir=self.directory)
        with os.fdopen(descriptor, "w") as file:
            file.write(password + "\n")
        os.chmod(name, mode)
        return Path(name)

    def new_directory(self) -> Path:
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        directory.chmod(0o755)
        return directory

    def close(self) -> None:
        failures = []
        for mounted in reversed(self.mounts):
            try:
                # One that the test killed is not judged.
                if mounted.process.returncode != -signal.SIGKILL:
                    mounted.unmount()
            except AssertionError as failure:
                failures.append(str(failure))
        for path in mount_points():
            if self.directory in path.parents:
                force_unmount(path)
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not failures, "\n".join(failures)


@pytest.fixture
def mount() -> Iterator[Mounts]:
    """mount(server, namespace=None, group=None, options={...}, user=("nacos", "nacos")) -> Mount"""
    mounts = Mounts()
    yield mounts
    mounts.close()


@dataclass(frozen=True)
class Space:
    """A namespace of the test's own, and a group in it, with the admin's calls for them."""

    server: NacosServer
    namespace: str
    group: str = "APP"

    def publish(self, data_id: str, content: bytes | str, **options: Any) -> None:
        self.server.admin.publish(self.namespace, self.group, data_id, content, **options)

    def delete(self, data_id: str) -> None:
        self.server.admin.delete(self.namespace, self.group, data_id)

    def get(self, data_id: str) -> bytes | None:
        return self.server.admin.get(self.namespace, self.group, data_id)

    def detail(self, data_id: str) -> Detail | None:
        return self.server.admin.detail(self.namespace, self.group, data_id)

    def history(self, data_id: str) -> list[HistoryRow]:
        return self.server.admin.history(self.namespace, self.group, data_id)

    def names(self) -> list[str]:
        return [entry.data_id for entry in self.server.admin.list(self.namespace, self.group)]


def make_space(server: NacosServer) -> Space:
    space = Space(server, f"test-{uuid.uuid4().hex[:12]}")
    used_in_sources.add(space.namespace)
    server.admin.create_namespace(space.namespace)
    return space


def remove_space(space: Space) -> None:
    space.server.admin.delete_all(space.namespace)
    space.server.admin.delete_namespace(space.namespace)


@pytest.fixture
def space_of() -> Iterator[Callable[[NacosServer], Space]]:
    """space_of(server): an empty place on that server; its configs go with the test."""
    spaces: list[Space] = []

    def make(server: NacosServer) -> Space:
        spaces.append(make_space(server))
        return spaces[-1]

    yield make
    for space in spaces:
        remove_space(space)


@pytest.fixture
def space(nacos: NacosServer, space_of: Callable[[NacosServer], Space]) -> Space:
    """An empty place on each generation in turn."""
    return space_of(nacos)
