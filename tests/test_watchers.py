"""Programs that watch their files: each is woken when a config is changed, created or deleted elsewhere, and reads the new
content then."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.inotify import CHANGES, Inotify
from harness.mounts import BINARY, Mount, Mounts, Space, is_mounted, run_nacosfs
from harness.servers import NacosServer
from harness.tools import need
from harness.waiting import wait_until

SOON = 5
REFRESH = 1  # seconds between comparisons of names, where the server does not tell of them
PROGRAMS = Path(__file__).parent / "watchers"

one_generation = pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)
three_generations = pytest.mark.parametrize("nacos", ["1.4.1", "2.2.4", "3.1.0"], indirect=True)


@pytest.fixture
def group(space: Space, mount: Mounts) -> Mount:
    """A mounted group, whose changes are told."""
    space.publish("a.txt", "value=one\n")
    space.publish("d.txt", "value=one\n")
    mounted = mount(space.server, space.namespace, space.group, refresh=REFRESH, log="debug")
    mounted.wait_until_told()
    assert sorted(os.listdir(mounted.path)) == ["a.txt", "d.txt"]
    for name in ("a.txt", "d.txt"):
        assert (mounted.path / name).read_text() == "value=one\n"
    return mounted


# ------------------------------------------------------------- the programs


@dataclass(frozen=True)
class Watcher:
    """A program that watches a directory, and what it must say (a regular expression) of each kind of change."""

    command: Callable[[Path, Path], list[str | Path]]  # (directory, a directory to work in)
    changed: str
    created: str
    deleted: str
    ready: str = "^ready"
    content: str = "value=two\n"


def build_go(work: Path) -> Path:
    cache = Path(os.environ.get("NACOSFS_CACHE") or work) / "go-build"
    subprocess.run(["go", "build", "-o", work / "watch", PROGRAMS / "watch.go"], check=True, cwd=work, env={
        **os.environ, "GO111MODULE": "off", "GOPATH": f"/usr/share/gocode:{work}", "GOCACHE": str(cache), "GOFLAGS": ""})
    return work / "watch"


def shell_that_reloads(directory: Path, work: Path) -> list[str | Path]:
    """What people write around nginx and the like: test the file, and make the daemon read it again."""
    script = (f'inotifywait -m -q -e close_write,create,delete --format %f "{directory}" 2>&1 | while read -r name; do '
              f'echo "reload $name $(cat "{directory}/$name" 2>/dev/null)"; done & sleep 1; echo ready; wait')
    return ["bash", "-c", script]


WATCHERS = {
    "inotifywait": Watcher(
        lambda directory, work: ["inotifywait", "-m", "--format", "%e %f", directory],
        changed="^CLOSE_WRITE,CLOSE a.txt", created="^CREATE b.txt", deleted="^DELETE d.txt", ready="Watches established"),
    "reload-script": Watcher(
        shell_that_reloads,
        changed="^reload a.txt value=two", created="^reload b.txt value=new", deleted="^reload d.txt $"),
    "watchdog": Watcher(
        lambda directory, work: [sys.executable, PROGRAMS / "watch.py", directory],
        changed="^modified a.txt value=two", created="^created b.txt value=new", deleted="^deleted d.txt"),
    "chokidar": Watcher(
        lambda directory, work: ["node", PROGRAMS / "watch.js", directory],
        changed="^change a.txt value=two", created="^add b.txt value=new", deleted="^unlink d.txt"),
    "fsnotify": Watcher(
        lambda directory, work: [build_go(work), directory, directory / "a.txt"],
        changed="^WRITE a.txt", created="^CREATE b.txt", deleted="^REMOVE d.txt"),
    "viper": Watcher(
        lambda directory, work: [build_go(work), directory, directory / "a.txt"],
        changed="^reloaded two", created="^CREATE b.txt", deleted="^REMOVE d.txt"),
    "WatchService": Watcher(
        lambda directory, work: ["java", PROGRAMS / "Watch.java", directory],
        changed="^ENTRY_MODIFY a.txt value=two", created="^ENTRY_CREATE b.txt value=new", deleted="^ENTRY_DELETE d.txt"),
    "mtime": Watcher(
        lambda directory, work: [sys.executable, PROGRAMS / "poll.py", directory, "a.txt", "b.txt", "d.txt"],
        changed="^changed a.txt value=two", created="^created b.txt value=new", deleted="^deleted d.txt"),
    "tail -F": Watcher(
        lambda directory, work: ["tail", "-s", "0.2", "-F", directory / "a.txt", directory / "b.txt", directory / "d.txt"],
        changed="^more=two", created="^value=new", deleted="d.txt.*(inaccessible|No such file)", ready="^value=one",
        content="value=one\nmore=two\n"),
}


class Running:
    """A program and what it has printed so far."""

    def __init__(self, command: list[str | Path], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            start_new_session=True, env={
                **os.environ, "PYTHONUNBUFFERED": "1", "NODE_PATH": "/usr/share/nodejs"})

    def text(self) -> str:
        return self._log.read_text(errors="replace")

    def says(self, pattern: str) -> bool:
        return re.search(pattern, self.text(), re.MULTILINE) is not None

    def wait_for(self, pattern: str, timeout: float = SOON) -> None:
        try:
            wait_until(lambda: self.says(pattern), timeout, pattern)
        except AssertionError as failure:
            raise AssertionError(f"{failure}; it said:\n{self.text()}") from None

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(command: list[str | Path], log: Path) -> Iterator[Running]:
    program = Running(command, log)
    try:
        yield program
    finally:
        program.stop()


@one_generation
@pytest.mark.parametrize("name", WATCHERS)
def test_watcher_is_woken(space: Space, group: Mount, tmp_path: Path, name: str) -> None:
    watcher = WATCHERS[name]
    need({"reload-script": "inotifywait", "watchdog": "python3", "chokidar": "node", "fsnotify": "go", "viper": "go",
          "WatchService": "java", "mtime": "python3", "tail -F": "tail"}.get(name, name))
    assert not (group.path / "b.txt").exists()
    with running(watcher.command(group.path, tmp_path), tmp_path / "log") as program:
        program.wait_for(watcher.ready, 30)
        space.publish("a.txt", watcher.content)
        program.wait_for(watcher.changed)
        space.publish("b.txt", "value=new\n")
        program.wait_for(watcher.created)
        space.delete("d.txt")
        program.wait_for(watcher.deleted)


# What systemd asks the kernel for with PathChanged= and PathModified= (src/core/path.c).
SYSTEMD_CHANGED = ["ATTRIB", "CLOSE_WRITE", "CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF", "MOVED_FROM", "MOVED_TO"]
SYSTEMD_MODIFIED = [*SYSTEMD_CHANGED, "MODIFY"]


@three_generations
@pytest.mark.parametrize("kinds", [SYSTEMD_CHANGED, SYSTEMD_MODIFIED], ids=["PathChanged", "PathModified"])
def test_systemd_path_unit_is_started(space: Space, group: Mount, kinds: list[str]) -> None:
    with Inotify(group.path / "a.txt", kinds) as file, Inotify(group.path, kinds) as directory:
        space.publish("a.txt", "value=two\n")
        file.wait_for("", "CLOSE_WRITE")
        assert (group.path / "a.txt").read_text() == "value=two\n"
        space.publish("b.txt", "value=new\n")
        directory.wait_for("b.txt", "CREATE")
        assert (group.path / "b.txt").read_text() == "value=new\n"
        space.delete("a.txt")
        file.wait_for("", "DELETE_SELF")
        directory.wait_for("a.txt", "DELETE")


# ------------------------------------------------------------- which events


@one_generation
def test_exactly_these_events(space: Space, group: Mount) -> None:
    kinds = [*CHANGES, "OPEN"]
    assert not (group.path / "b.txt").exists()
    with Inotify(group.path, kinds) as watch:
        space.publish("a.txt", "value=two\n")
        watch.wait_for("a.txt", "CLOSE_WRITE")
        assert watch.taken() == [("a.txt", "OPEN"), ("a.txt", "MODIFY"), ("a.txt", "CLOSE_WRITE")]
        space.publish("b.txt", "value=new\n")
        watch.wait_for("b.txt", "CLOSE_WRITE")
        assert watch.taken() == [("b.txt", "CREATE"), ("b.txt", "OPEN"), ("b.txt", "CLOSE_WRITE")]
        space.publish("c.txt", "never looked for\n")
        watch.wait_for("c.txt", "CLOSE_WRITE")
        assert watch.taken() == [("c.txt", "CREATE"), ("c.txt", "OPEN"), ("c.txt", "CLOSE_WRITE")]
        space.delete("b.txt")
        watch.wait_for("b.txt", "DELETE")
        assert watch.taken() == [("b.txt", "DELETE")]
        space.publish("b.txt", "value=again\n")
        watch.wait_for("b.txt", "CLOSE_WRITE")
        assert watch.taken() == [("b.txt", "CREATE"), ("b.txt", "OPEN"), ("b.txt", "CLOSE_WRITE")]
    assert sorted(os.listdir(group.path)) == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert (group.path / "b.txt").read_text() == "value=again\n"


@three_generations
def test_groups_that_come_and_go(space: Space, mount: Mounts) -> None:
    space.publish("a.txt", "a")
    mounted = mount(space.server, space.namespace, refresh=REFRESH, log="debug")
    mounted.wait_until_told()
    assert os.listdir(mounted.path) == [space.group]
    with Inotify(mounted.path) as watch:
        space.server.admin.publish(space.namespace, "NEW", "b.txt", "b")
        watch.wait_for("NEW", "CREATE", timeout=10)
        assert sorted(os.listdir(mounted.path)) == sorted([space.group, "NEW"])
        assert (mounted.path / "NEW" / "b.txt").read_text() == "b"
        space.server.admin.delete(space.namespace, "NEW", "b.txt")
        watch.wait_for("NEW", "DELETE", timeout=10)
        assert os.listdir(mounted.path) == [space.group]


@three_generations
def test_configs_that_were_listed_only(space: Space, mount: Mounts) -> None:
    """Who watches a directory need not have read what is in it."""
    space.publish("a.txt", "one")
    mounted = mount(space.server, space.namespace, space.group, refresh=REFRESH)
    mounted.wait_until_told()
    assert os.listdir(mounted.path) == ["a.txt"]
    with Inotify(mounted.path) as watch:
        space.publish("a.txt", "two")
        watch.wait_for("a.txt", "MODIFY", "CLOSE_WRITE")
        assert (mounted.path / "a.txt").read_text() == "two"


@one_generation
def test_names_that_a_listing_finds_first(space: Space, group: Mount) -> None:
    """Who lists before the news has come makes nobody miss it."""
    with Inotify(group.path, [*CHANGES]) as watch:
        ended = threading.Event()

        def list_often() -> None:
            while not ended.is_set():
                for name in os.listdir(group.path):
                    with contextlib.suppress(FileNotFoundError):
                        os.stat(group.path / name)

        with ThreadPoolExecutor(2) as pool:
            listers = [pool.submit(list_often) for _ in range(2)]
            try:
                for number in range(5):
                    space.publish(f"n{number}.txt", "new")
                    watch.wait_for(f"n{number}.txt", "CREATE", "CLOSE_WRITE")
                    space.delete(f"n{number}.txt")
                    watch.wait_for(f"n{number}.txt", "DELETE")
            finally:
                ended.set()
            for lister in listers:
                lister.result()
        events = watch.taken()
        assert sorted(set(events)) == sorted(events), "nobody is woken twice"


@three_generations
def test_waking_publishes_nothing(space: Space, group: Mount) -> None:
    with Inotify(group.path) as watch:
        for number in range(3):
            space.publish("a.txt", f"value={number}\n")
            watch.wait_for("a.txt", *["CLOSE_WRITE"] * (number + 1))
        space.publish("b.txt", "value=new\n")
        watch.wait_for("b.txt", "CREATE")
        space.delete("b.txt")
        watch.wait_for("b.txt", "DELETE")
    assert "".join(row.op for row in reversed(space.history("a.txt"))) == "IUUU"
    assert "".join(row.op for row in reversed(space.history("b.txt"))) == "ID"
    assert "saved" not in group.log_text()


# ------------------------------------------------------------- under all conditions


def check_woken(space: Space, directory: Path) -> None:
    with Inotify(directory) as watch:
        space.publish("a.txt", "value=two\n")
        watch.wait_for("a.txt", "MODIFY", "CLOSE_WRITE")
        assert (directory / "a.txt").read_text() == "value=two\n"
        space.publish("b.txt", "value=new\n")
        watch.wait_for("b.txt", "CREATE")
        space.delete("d.txt")
        watch.wait_for("d.txt", "DELETE")


@one_generation
def test_on_a_read_only_mount(space: Space, mount: Mounts) -> None:
    space.publish("a.txt", "value=one\n")
    space.publish("d.txt", "value=one\n")
    mounted = mount(space.server, space.namespace, space.group, ro=True)
    mounted.wait_until_told()
    os.listdir(mounted.path)
    check_woken(space, mounted.path)
    with pytest.raises(OSError, match="Read-only"):
        (mounted.path / "a.txt").write_text("no")
    with pytest.raises(OSError, match="Read-only"):
        (mounted.path / "new.txt").write_text("no")


@one_generation
def test_where_the_mount_point_was_made_read_only(space: Space, group: Mount) -> None:
    subprocess.run(["mount", "-o", "remount,bind,ro", group.path], check=True)
    check_woken(space, group.path)


@one_generation
def test_files_that_may_not_be_written(space: Space, group: Mount) -> None:
    for name in ("a.txt", "d.txt"):
        os.chmod(group.path / name, 0o400)
    os.chmod(group.path, 0o500)
    check_woken(space, group.path)
    assert (group.path / "a.txt").stat().st_mode & 0o777 == 0o400


@pytest.fixture
def fuse_for_all() -> Iterator[None]:
    """Anybody may mount, as udev has it everywhere but in containers."""
    before = os.stat("/dev/fuse").st_mode & 0o777
    os.chmod("/dev/fuse", 0o666)
    yield
    os.chmod("/dev/fuse", before)


@one_generation
@pytest.mark.parametrize("options", [{}, {"ro": True}], ids=["rw", "ro"])
def test_daemon_of_a_user(space: Space, mount: Mounts, tmp_path: Path, fuse_for_all: None, options: dict) -> None:
    """Mounted by a user through fusermount3; the files are 0400 too."""
    space.publish("a.txt", "value=one\n")
    space.publish("d.txt", "value=one\n")
    password = mount.password_file()
    os.chown(password, 65534, 65534)
    path = mount.new_directory()
    os.chown(path, 65534, 65534)
    server = space.server
    texts = ["username=nacos", f"password_file={password}", "cache_dir=none", *options]
    if server.console_url:
        texts.append(f"console={server.console_url}")
    log = tmp_path / "log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BINARY,
             f"nacos://{server.host}:{server.port}/{space.namespace}/{space.group}", path, "-f", "-o", ",".join(texts)],
            stdout=output, stderr=output)

    def as_user(*command: str | Path) -> str:
        return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command], check=True,
                              capture_output=True, text=True, timeout=20).stdout

    try:
        wait_until(lambda: is_mounted(path), 20, log.read_text())
        wait_until(lambda: json.loads(as_user("cat", path / ".nacosfs" / "status"))["watch"]["live"], 15, "the watch")
        as_user("ls", "-l", path)
        as_user("cat", path / "a.txt", path / "d.txt")
        if not options:
            as_user("chmod", "0400", path / "a.txt")
        watching = tmp_path / "watching"
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                   "inotifywait", "-m", "--format", "%e %f", str(path)]
        with running(command, watching) as program:
            program.wait_for("Watches established")
            space.publish("a.txt", "value=two\n")
            program.wait_for("^CLOSE_WRITE,CLOSE a.txt")
            space.publish("b.txt", "value=new\n")
            program.wait_for("^CREATE b.txt")
            space.delete("d.txt")
            program.wait_for("^DELETE d.txt")
        assert as_user("cat", path / "a.txt") == "value=two\n"
        assert oct(int(as_user("stat", "-c", "%a", path / "a.txt"), 8)) == oct(0o440 if options else 0o400)
    finally:
        daemon.terminate()
        assert daemon.wait(30) == 0, log.read_text()


@one_generation
def test_in_a_mount_namespace_of_its_own(space: Space, group: Mount, tmp_path: Path) -> None:
    """A container that has the directory bound to another place, read-only, and no other way to it."""
    inside = tmp_path / "inside"
    inside.mkdir()
    script = (f"mount --bind {group.path} {inside} && mount -o remount,bind,ro {inside} && umount -l {group.path} && "
              f"exec inotifywait -m --format '%e %f' {inside}")
    with running(["unshare", "-m", "--propagation", "private", "bash", "-c", script], tmp_path / "log") as program:
        program.wait_for("Watches established")
        space.publish("a.txt", "value=two\n")
        program.wait_for("^CLOSE_WRITE,CLOSE a.txt")
        space.publish("b.txt", "value=new\n")
        program.wait_for("^CREATE b.txt")
        space.delete("d.txt")
        program.wait_for("^DELETE d.txt")


@one_generation
def test_by_a_daemon_in_its_own_pid_namespace(space: Space, mount: Mounts, tmp_path: Path) -> None:
    """As in a container: the numbers of its processes are others there."""
    space.publish("a.txt", "value=one\n")
    space.publish("d.txt", "value=one\n")
    path = mount.new_directory()
    options = {**mount.default_options(space.server, space.namespace), "cache_dir": "none"}
    text = ",".join(f"{name}={value}" for name, value in options.items())
    source = f"nacos://{space.server.host}:{space.server.port}/{space.namespace}/{space.group}"
    log = tmp_path / "log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", BINARY, source,
                                   path, "-f", "-o", text], stdout=output, stderr=output)
    try:
        wait_until(lambda: is_mounted(path), 20, log.read_text())
        wait_until(lambda: json.loads((path / ".nacosfs/status").read_text())["watch"]["live"], 15, "the watch")
        os.listdir(path)
        check_woken(space, path)
    finally:
        subprocess.run(["umount", path], check=True)
        assert daemon.wait(30) == 0, log.read_text()


def ignore_children() -> None:
    """As a careless service manager starts what it starts."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@one_generation
@pytest.mark.parametrize("kills", [0, 1, 2])
@pytest.mark.parametrize("process", [{}, {"preexec_fn": ignore_children}], ids=["", "SIGCHLD ignored"])
def test_toucher_that_was_killed(space: Space, mount: Mounts, kills: int, process: dict) -> None:
    """Guards the waking: the process that does it is started again when it dies, also where nobody is told of its end."""
    space.publish("a.txt", "value=one\n")
    space.publish("d.txt", "value=one\n")
    mounted = mount(space.server, space.namespace, space.group, refresh=REFRESH, process=process)
    mounted.wait_until_told()
    assert sorted(os.listdir(mounted.path)) == ["a.txt", "d.txt"]
    for number in range(kills):
        killed = mounted.touchers()
        os.kill(*killed, signal.SIGKILL)
        # At the latest what is to be woken next makes the daemon notice.
        space.publish("d.txt", f"value={number}\n")
        wait_until(lambda: mounted.touchers() not in ([], killed), 10, "another toucher")
    mounted.wait_until_told()
    check_woken(space, mounted.path)


# ------------------------------------------------------------- local saves


@one_generation
def test_local_save_wakes_with_the_new_content(space: Space, group: Mount) -> None:
    """Who only looks at MODIFY reads while the writer writes; once more when the save is done."""
    file = group.path / "a.txt"
    seen: list[str] = []
    with Inotify(file, ["MODIFY"]) as watch:
        with file.open("w") as writer:
            writer.write("value=two\n")
            writer.flush()
            watch.wait_for("", "MODIFY")
            seen.append(file.read_text())  # a descendant of nobody who writes: but this very process is the writer
            watch.taken()
        watch.wait_for("", "MODIFY")
        assert file.read_text() == "value=two\n"
        assert len(watch.taken()) <= 1
    assert "".join(row.op for row in reversed(space.history("a.txt"))) == "IU"


@one_generation
def test_toucher_is_no_writer(space: Space, group: Mount) -> None:
    """The daemon was started by this very process: that its toucher has the file open must not look like a child that goes
    on writing, whose close would be waited for."""
    file = group.path / "a.txt"
    for number in range(100):
        file.write_text(f"value={number}\n")
        assert file.read_text() == f"value={number}\n"


@one_generation
def test_remote_change_does_not_disturb_a_local_edit(space: Space, group: Mount) -> None:
    """The writer goes on seeing its draft, others the new version; its save then says that it was changed."""
    file = group.path / "a.txt"
    writer = subprocess.Popen(
        [sys.executable, "-uc", f"""
import os, sys
fd = os.open({str(file)!r}, os.O_RDWR)
os.write(fd, b"mine!")
before = os.fstat(fd)
print("written"); sys.stdin.readline()
after = os.fstat(fd)
print(os.pread(fd, 100, 0) == b"mine!=one\\n", before.st_mtime_ns == after.st_mtime_ns, before.st_size == after.st_size)
try:
    os.fsync(fd)
except OSError as error:
    print(error.errno)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "written\n"
    with Inotify(file) as watch:
        space.publish("a.txt", "value=theirs\n")
        watch.wait_for("", "MODIFY", "CLOSE_WRITE")
        assert file.read_text() == "value=theirs\n"
        assert file.stat().st_size == len("value=theirs\n")
    out, _ = writer.communicate("\n", timeout=20)
    assert out == "True True True\n16\n"
    assert file.read_text() == space.detail("a.txt").content.decode() == "value=theirs\n"


# ------------------------------------------------------------- storms and outages


def equals_server(space: Space, path: Path, names: list[str]) -> bool:
    details = {name: space.detail(name) for name in names}
    stored = {name: detail.content if detail else None for name, detail in details.items()}
    for name, content in stored.items():
        try:
            shown, size = (path / name).read_bytes(), (path / name).stat().st_size
        except FileNotFoundError:
            shown, size = None, 0
        if shown != content or size != len(content or b""):
            return False
    return sorted(os.listdir(path)) == sorted(name for name, content in stored.items() if content is not None)


def change_often(space: Space, names: list[str], count: int) -> None:
    def change(number: int) -> None:
        name = names[number % len(names)]
        with contextlib.suppress(Exception):
            if number % 17 == 3:
                space.server.admin._delete(space.namespace, space.group, name)
            else:
                space.publish(name, f"{number} " * (1 + number % 50), wait=False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(count)))


@pytest.mark.slow
@one_generation
def test_storm(space: Space, mount: Mounts) -> None:
    """2,000 changes of 50 configs, while all kinds of things are done with them: in the end all is as on the server."""
    names = [f"storm{number}.txt" for number in range(50)]
    for name in names[:40]:
        space.publish(name, "start", wait=False)
    mounted = mount(space.server, space.namespace, space.group, refresh=REFRESH)
    mounted.wait_until_told()
    ended = threading.Event()

    def use(number: int) -> int:
        count = 0
        while not ended.is_set():
            name = names[(number * 13 + count) % len(names)]
            count += 1
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if number == 0:
                    os.listdir(mounted.path)
                elif number == 1 and count % 20 == 0:
                    (mounted.path / name).write_text(f"local {count}")
                else:
                    os.stat(mounted.path / name)
                    (mounted.path / name).read_bytes()
        return count

    with Inotify(mounted.path) as watch, ThreadPoolExecutor(4) as pool:
        users = [pool.submit(use, number) for number in range(4)]
        try:
            change_often(space, names, 2000)
        finally:
            ended.set()
        assert all(user.result() > 0 for user in users)
        watch.taken(0.1)
        wait_until(lambda: equals_server(space, mounted.path, names), 20, "everything to be as on the server")
        wait_until(lambda: mounted.status()["watch"]["queue"] == 0, 10, "the queue to be empty")
        assert mounted.status()["watch"]["touches_failed"] == 0
        space.publish(names[0], "after the storm")
        watch.wait_for(names[0], "CLOSE_WRITE")
        assert (mounted.path / names[0]).read_text() == "after the storm"


@one_generation
@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL", "umount"])
def test_end_in_a_storm(space: Space, mount: Mounts, end: str) -> None:
    """The daemon ends at once although it is in the middle of waking."""
    names = [f"end{number}.txt" for number in range(10)]
    for name in names:
        space.publish(name, "start", wait=False)
    mounted = mount(space.server, space.namespace, space.group)
    mounted.wait_until_told()
    for name in os.listdir(mounted.path):
        (mounted.path / name).read_bytes()
    with ThreadPoolExecutor(1) as pool:
        storm = pool.submit(change_often, space, names, 300)
        wait_until(lambda: mounted.status()["watch"]["touches"] > 20, 20, "the storm to be felt")
        started = time.monotonic()
        if end == "umount":
            wait_until(lambda: not subprocess.run(["umount", mounted.path], capture_output=True).returncode, 10, "umount")
        else:
            mounted.process.send_signal(getattr(signal, end))
        mounted.process.wait(10)
        assert time.monotonic() - started < 8
        storm.result()
    # Nothing of it is left: the toucher ends with the daemon.
    wait_until(lambda: not mounted.touchers(with_orphans=True), 5, "the toucher to end")


@pytest.mark.slow
@pytest.mark.parametrize("generation, outage", [("2.2.4", "stop"), ("3.1.0", "hang")])
def test_server_away_and_back(own_nacos: Callable[..., NacosServer], mount: Mounts, generation: str, outage: str) -> None:
    """What changed meanwhile shows, and wakes, when the server is back; until then nothing is believed for long."""
    server = own_nacos(generation)
    space = Space(server, "test-away")
    server.admin.create_namespace(space.namespace)
    names = [f"n{number}.txt" for number in range(5)]
    for name in names:
        space.publish(name, "before")
    mounted = mount(server, space.namespace, space.group, refresh=REFRESH, timeout=4, log="debug")
    mounted.wait_until_told()
    for name in names:
        assert (mounted.path / name).read_text() == "before"
    assert not (mounted.path / "later.txt").exists()
    file = mounted.path / names[0]
    wait_until(lambda: quiet_requests(mounted, lambda: os.stat(file)) == 0, 5, "long caching")
    with Inotify(mounted.path) as watch:
        if outage == "stop":
            server.stop()
        else:
            pid = json.loads((server.dir / "server.json").read_text())["pid"]
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: not mounted.status()["watch"]["live"], 30, "the daemon to notice")
        time.sleep(1.1)  # what the kernel was given before the daemon noticed
        assert quiet_requests(mounted, lambda: os.stat(file)) > 0
        assert file.read_text() == "before"
        if outage == "stop":
            server.restart()
        else:
            os.kill(pid, signal.SIGCONT)
        server.admin.login()
        space.publish(names[0], "after")
        space.delete(names[1])
        space.publish("later.txt", "after")
        watch.wait_for(names[0], "CLOSE_WRITE", timeout=60)
        wait_until(lambda: equals_server(space, mounted.path, [*names, "later.txt"]), 30, "everything to be as on the server")
        wait_until(lambda: mounted.is_told(), 30, "the watch")
        watch.wait_for(names[1], "DELETE", timeout=10)
        wait_until(lambda: quiet_requests(mounted, lambda: os.stat(file)) == 0, 10, "long caching")


def quiet_requests(mounted: Mount, action: Callable[[], object]) -> int:
    """How many requests the kernel makes for it, when it was done just before, a second and a bit ago."""
    action()
    time.sleep(1.2)
    before = mounted.request_counts()
    action()
    return sum((mounted.request_counts() - before).values())


# ------------------------------------------------------------- what the kernel knows


def counted(mounted: Mount, action: Callable[[], object]) -> dict[str, int]:
    """What the kernel asks for when it is done for the third time."""
    action()
    action()
    time.sleep(0.1)  # a release comes a little later
    before = mounted.request_counts()
    action()
    time.sleep(0.1)
    return dict(mounted.request_counts() - before)


def read_once(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    assert os.read(descriptor, 4096)
    os.close(descriptor)


@one_generation
@pytest.mark.parametrize("options, reading", [
    ({}, {"open": 1, "read": 1, "release": 1}),
    ({"kernel_cache": True}, {"open": 1, "release": 1}),
    ({"kernel_cache": True, "ro": True}, {"open": 1, "release": 1}),
], ids=["default", "kernel_cache", "ro,kernel_cache"])
def test_requests_when_warm(space: Space, mount: Mounts, options: dict, reading: dict) -> None:
    for number in range(60):
        space.publish(f"n{number}.txt", f"content {number}", wait=False)
    space.publish("n0.txt", "content 0")
    mounted = mount(space.server, space.namespace, space.group, noxattr=True, **options)
    mounted.wait_until_told()
    file = mounted.path / "n0.txt"

    def list_long() -> None:
        for name in os.listdir(mounted.path):
            os.lstat(mounted.path / name)

    wait_until(lambda: len(os.listdir(mounted.path)) == 60, 5, "the names")
    list_long()
    wait_until(lambda: counted(mounted, lambda: os.stat(file)) == {}, 5, "the server to watch the config")
    wait_until(lambda: counted(mounted, lambda: os.path.exists(mounted.path / "none.txt")) == {}, 5, "the server to watch the name")
    assert counted(mounted, lambda: os.path.exists(mounted.path / ".n0.txt.swp")) == {}
    wait_until(lambda: counted(mounted, list_long) == {"opendir": 1, "releasedir": 1}, 5, "cached names")
    assert counted(mounted, lambda: read_once(file)) == reading
    time.sleep(1.1)
    assert counted(mounted, lambda: os.path.exists(mounted.path / "none.txt")) == {}
    assert counted(mounted, lambda: read_once(file)) == reading


@three_generations
def test_kernel_cache_follows_changes(space: Space, mount: Mounts) -> None:
    """Readers of files that are open, and shared mappings, see the new content; the price is that they may see both."""
    space.publish("a.txt", "one " * 3000)
    mounted = mount(space.server, space.namespace, space.group, kernel_cache=True, refresh=REFRESH)
    mounted.wait_until_told()
    file = mounted.path / "a.txt"
    assert file.read_text() == "one " * 3000
    with Inotify(file) as watch, file.open("rb", buffering=0) as reader, \
            mmap.mmap(reader.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
        assert mapping[:4] == b"one "
        for content in ("two " * 3000, "three " * 2000, "4 " * 10, "four " * 5000):
            space.publish("a.txt", content)
            watch.wait_for("", "CLOSE_WRITE")
            watch.taken(0.1)
            assert file.read_text() == content
            assert file.stat().st_size == len(content)
            assert reader.seek(0) == 0 and reader.readall() == content.encode()
            assert mapping[:2] == content[:2].encode()
        file.write_text("local " * 1000)
        assert file.read_text() == "local " * 1000
        assert space.detail("a.txt").content == b"local " * 1000


@one_generation
def test_kernel_cache_holds_no_secret(space: Space, mount: Mounts) -> None:
    keyring = mount.new_directory() / "keyring"
    run_nacosfs("--new-keyring", keyring)
    mounted = mount(space.server, space.namespace, space.group, kernel_cache=True, kms="keyring", keyring=keyring)
    mounted.wait_until_told()
    for name, reads in (("plain.txt", 0), ("cipher-kms-aes-256-secret.txt", 1)):
        file = mounted.path / name
        file.write_text("some text")
        wait_until(lambda: counted(mounted, lambda: read_once(file)).get("read", 0) == reads, 5, f"{reads} reads of {name}")


@one_generation
def test_tail_reads_what_is_appended_and_nothing_else(space: Space, group: Mount) -> None:
    with (group.path / "a.txt").open("rb", buffering=0) as reader:
        assert reader.readall() == b"value=one\n"
        space.publish("a.txt", "value=one\nmore\n")
        wait_until(lambda: reader.read(100) == b"more\n", SOON, "what was appended")
        space.publish("a.txt", "another text that is longer\n")
        wait_until(lambda: (group.path / "a.txt").read_text().startswith("another"), SOON, "the new content")
        assert reader.read(100) == b""
        assert reader.seek(0) == 0 and reader.readall() == b"value=one\nmore\n"


@one_generation
def test_fstat_of_what_was_opened(space: Space, group: Mount) -> None:
    """Who reads as many bytes as the open file is said to have (nginx does) gets all of it."""
    file = group.path / "a.txt"
    ended = threading.Event()

    def read_as_long_as_it_is() -> int:
        count = 0
        while not ended.is_set():
            descriptor = os.open(file, os.O_RDONLY)
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            os.close(descriptor)
            assert content in allowed, content[:20]
            count += 1
        return count

    # Each longer than the one before: what is cut is new text at the size of the old. (Old text at the new size is what
    # a change between open and fstat looks like; the kernel does not say whose size it asks for.)
    versions = [letter * size for letter, size in zip("abcdefghij", range(50, 550, 50))]
    allowed = {b"value=one\n", *(version.encode() for version in versions)}
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read_as_long_as_it_is)
        try:
            for version in versions:
                space.publish("a.txt", version)
        finally:
            time.sleep(0.2)
            ended.set()
        assert reader.result() > 10
