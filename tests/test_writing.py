"""Writing through a mount: what each system call does here and on the server.

Most tests share one mount per server (`bench`), each in a group of its own that begins with the config app.yaml.
Those that end a mount, or need it to be special, make their own. Removing and renaming, what is refused, and what others
do meanwhile are in test_writing_names.py, test_writing_refused.py and test_writing_beside_others.py.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable

import pytest

from harness.mounts import Mounts, Space
from harness.saving import fails_with, open_for, replace, write_all
from harness.servers import NacosServer
from harness.tools import CONFIG, NEW, SAVED, SAVED_ONCE, START, UNTOUCHED, Left, Place, saved
from harness.waiting import wait_until

EMPTY_STAYS = 30  # seconds in which an emptied config reads as empty


def written_so_far(process: subprocess.Popen, descriptor: int = 1) -> int:
    """The file position of a running process."""
    info = Path(f"/proc/{process.pid}/fdinfo/{descriptor}").read_text()
    return int(info.split()[1])


# ------------------------------------------------------------------- create


def test_new_configs_get_their_type_by_extension(place: Place) -> None:
    types = {"n.yaml": "yaml", "n.yml": "yaml", "n.json": "json", "n.properties": "properties", "n.xml": "xml",
             "n.html": "html", "n.htm": "html", "n.toml": "toml", "n.txt": "text", "n.conf": "text", "n": "text",
             "N.JSON": "json"}
    for name in types:
        write_all(place.path / name, b"1\n")
    place.check({CONFIG: Left(START, ""),
                 **{name: Left(b"1\n", "I", {**NEW, "type": kind}) for name, kind in types.items()}})


def test_history_tells_who_saved(space: Space, mount: Mounts) -> None:
    space.publish(CONFIG, START)
    group = mount(space.server, space.namespace, space.group, options={"umask": "000", "allow_other": True}).path
    write_all(group / CONFIG, SAVED)
    subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", "cp", "/etc/hostname", group / "new.txt"], check=True)
    subprocess.run(["setpriv", "--reuid=54321", "--clear-groups", "cp", "/etc/hostname", group / "other.txt"], check=True)
    assert [row.user for row in space.history(CONFIG)] == ["nacos (root)", "nacos"]
    assert [row.user for row in space.history("new.txt")] == ["nacos (nobody)"]
    assert [row.user for row in space.history("other.txt")] == ["nacos (uid 54321)"]


def test_exclusive_create(place: Place) -> None:
    with fails_with(errno.EEXIST):
        open_for(place.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    write_all(place.path / "new.yaml", b"a: 1\n", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with fails_with(errno.EEXIST):
        open_for(place.path / "new.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    place.check({CONFIG: Left(START, ""), "new.yaml": Left(b"a: 1\n", "I", NEW)})


def test_exclusive_create_of_what_only_the_server_knows(place: Place) -> None:
    place.add("theirs.yaml", b"theirs: 1\n")
    with fails_with(errno.EEXIST):
        open_for(place.path / "theirs.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    place.check({CONFIG: Left(START, ""), "theirs.yaml": Left(b"theirs: 1\n", "")})


def test_create_for_reading_and_writing(place: Place) -> None:
    descriptor = open_for(place.path / "new.yaml", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"a: 1\n")
    assert os.pread(descriptor, 100, 0) == b"a: 1\n"
    os.close(descriptor)
    place.check({CONFIG: Left(START, ""), "new.yaml": Left(b"a: 1\n", "I", NEW)})


@pytest.mark.parametrize("name", ["with space.yaml", "a=b", "a,b", "a%2fb"])
def test_names_that_the_server_refuses(place: Place, name: str) -> None:
    with fails_with(errno.EINVAL):
        open_for(place.path / name, os.O_WRONLY | os.O_CREAT)
    with fails_with(errno.EINVAL):
        os.rename(place.file, place.path / name)
    place.check(UNTOUCHED)


def test_name_too_long(place: Place) -> None:
    with fails_with(errno.ENAMETOOLONG):
        open_for(place.path / ("n" * 256), os.O_WRONLY | os.O_CREAT)


# -------------------------------------------------------------------- write


def append(path: Path) -> None:
    write_all(path, b"more: 1\n", os.O_WRONLY | os.O_APPEND)


def append_with_seek(path: Path) -> None:
    """O_APPEND writes at the end, wherever the position is."""
    descriptor = open_for(path, os.O_RDWR | os.O_APPEND)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, b"more: 1\n")
    os.close(descriptor)


def write_at(path: Path) -> None:
    descriptor = open_for(path, os.O_RDWR)
    os.pwrite(descriptor, b"9090", 16)
    assert os.pread(descriptor, 100, 0) == SAVED
    os.close(descriptor)


def write_at_in_two_parts(path: Path) -> None:
    descriptor = open_for(path, os.O_WRONLY)
    os.pwrite(descriptor, b"90", 18)
    os.pwrite(descriptor, b"90", 16)
    os.close(descriptor)


def truncate_descriptor(path: Path) -> None:
    descriptor = open_for(path, os.O_WRONLY)
    os.ftruncate(descriptor, 21)
    assert os.fstat(descriptor).st_size == 21
    os.close(descriptor)


def truncate_path(path: Path) -> None:
    os.truncate(path, 21)


def shrink_and_write(path: Path) -> None:
    """As vim does in place."""
    descriptor = open_for(path, os.O_WRONLY | os.O_CREAT)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, SAVED)
    os.fsync(descriptor)
    os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode))
    os.close(descriptor)


def write_then_shrink(path: Path) -> None:
    """As busybox vi and rsync --inplace do."""
    descriptor = open_for(path, os.O_WRONLY)
    os.write(descriptor, START[:21])
    os.ftruncate(descriptor, 21)
    os.close(descriptor)


def write_and_set_times(path: Path) -> None:
    """As cp -p does: the times are set before the close."""
    descriptor = open_for(path)
    os.write(descriptor, SAVED)
    os.utime(descriptor, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    os.close(descriptor)
    assert path.stat().st_mtime_ns == 1_700_000_000_123_456_789


def fsync_then_close(path: Path) -> None:
    descriptor = open_for(path)
    os.write(descriptor, SAVED)
    os.fsync(descriptor)
    os.fdatasync(descriptor)
    os.close(descriptor)


def fsync_write_close(path: Path) -> None:
    descriptor = open_for(path)
    os.write(descriptor, SAVED)
    os.fsync(descriptor)
    os.write(descriptor, b"more: 1\n")
    os.close(descriptor)


def close_duplicates(path: Path) -> None:
    descriptor = open_for(path)
    other = os.dup(descriptor)
    third = os.dup(descriptor)
    os.write(descriptor, SAVED[:10])
    os.close(descriptor)
    os.write(other, SAVED[10:20])
    os.close(other)
    os.write(third, SAVED[20:])
    os.close(third)


def write_by_children(path: Path) -> None:
    """A descriptor that children inherit: each child's exit closes it once more."""
    with open(path, "wb", buffering=0) as file:
        for part in (SAVED[:10], SAVED[10:20], SAVED[20:]):
            subprocess.run(["cat"], input=part, stdout=file, check=True)


def write_by_child_that_outlives_us(path: Path) -> None:
    """The parent closes first: only the child's close is the last."""
    descriptor = open_for(path)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=descriptor)
    os.write(descriptor, SAVED[:10])
    os.close(descriptor)
    child.communicate(SAVED[10:])


def exit_without_close(path: Path) -> None:
    subprocess.run(["python3", "-c", "import os; "
                    f"os.write(os.open({str(path)!r}, os.O_WRONLY | os.O_TRUNC), {SAVED!r}); os._exit(3)"])


def rename_over(path: Path) -> None:
    replace(path, SAVED)


def link_free_replace(path: Path) -> None:
    """As git, tar and install do: away with the old, then a new one."""
    path.unlink()
    write_all(path, SAVED, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def backup_and_rewrite(path: Path) -> None:
    """As vim does by default."""
    backup = path.with_name(path.name + "~")
    os.rename(path, backup)
    write_all(path, SAVED, os.O_WRONLY | os.O_CREAT)
    backup.unlink()


def with_locks(path: Path) -> None:
    """As crudini does: locks around the change."""
    descriptor = open_for(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    os.pwrite(descriptor, b"9090", 16)
    fcntl.lockf(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def by_vectors(path: Path) -> None:
    descriptor = open_for(path)
    os.writev(descriptor, [SAVED[:10], SAVED[10:20], SAVED[20:]])
    os.close(descriptor)


def copy_within(path: Path) -> None:
    """copy_file_range and sendfile, as cp and Java use them."""
    temp = path.with_name(".copy")
    write_all(temp, SAVED)
    source, target = os.open(temp, os.O_RDONLY), open_for(path)
    with contextlib.suppress(OSError):
        os.copy_file_range(source, target, 10)
    os.sendfile(target, source, os.lseek(target, 0, os.SEEK_CUR), 100)
    os.close(source)
    os.close(target)


def unlinked_and_renamed_back(path: Path) -> None:
    """As editors put back the old file after a failure."""
    backup = path.with_name(path.name + "~")
    os.rename(path, backup)
    os.rename(backup, path)


MORE = b"more: 1\n"
WRITES = [
    (append, saved(START + MORE)),
    (append_with_seek, saved(START + MORE)),
    (write_at, SAVED_ONCE),
    (write_at_in_two_parts, SAVED_ONCE),
    (truncate_descriptor, saved(START[:21])),
    (truncate_path, saved(START[:21])),
    (shrink_and_write, SAVED_ONCE),
    (write_then_shrink, saved(START[:21])),
    (write_and_set_times, SAVED_ONCE),
    (fsync_then_close, SAVED_ONCE),
    (fsync_write_close, saved(SAVED + MORE, "UU")),
    (close_duplicates, SAVED_ONCE),
    (write_by_children, SAVED_ONCE),
    (write_by_child_that_outlives_us, SAVED_ONCE),
    (exit_without_close, SAVED_ONCE),
    (rename_over, SAVED_ONCE),
    (link_free_replace, SAVED_ONCE),
    (backup_and_rewrite, SAVED_ONCE),
    (unlinked_and_renamed_back, UNTOUCHED),
    (with_locks, SAVED_ONCE),
    (by_vectors, SAVED_ONCE),
    (copy_within, SAVED_ONCE),
]


@pytest.mark.parametrize("write, result", WRITES, ids=[write.__name__ for write, _ in WRITES])
def test_write(place: Place, write: Callable[[Path], None], result: dict[str, Left]) -> None:
    write(place.file)
    place.check(result)


def rewrite(path: Path) -> None:
    write_all(path, START)


def rewrite_in_place(path: Path) -> None:
    write_all(path, START, os.O_RDWR)


def rewrite_and_fsync(path: Path) -> None:
    descriptor = open_for(path)
    os.write(descriptor, START)
    os.fsync(descriptor)
    os.close(descriptor)


def replace_with_the_same(path: Path) -> None:
    temp = path.with_name(".x.swp")
    write_all(temp, START)
    temp.chmod(stat.S_IMODE(path.stat().st_mode))
    os.rename(temp, path)


def change_and_change_back(path: Path) -> None:
    descriptor = open_for(path, os.O_RDWR)
    os.pwrite(descriptor, b"9090", 16)
    os.pwrite(descriptor, b"8080", 16)
    os.close(descriptor)


def open_and_close(path: Path) -> None:
    os.close(open_for(path, os.O_RDWR))
    os.close(open_for(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))


def truncate_to_its_size(path: Path) -> None:
    os.truncate(path, len(START))


def set_attributes(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode))
    os.chown(path, path.stat().st_uid, path.stat().st_gid)
    os.utime(path)


@pytest.mark.parametrize("write", [
    rewrite, rewrite_in_place, rewrite_and_fsync, replace_with_the_same, change_and_change_back, open_and_close,
    truncate_to_its_size, set_attributes], ids=lambda write: write.__name__)
def test_what_changes_nothing_publishes_nothing(place: Place, write: Callable[[Path], None]) -> None:
    write(place.file)
    place.check(UNTOUCHED)


def test_own_save_is_read_back_at_once(place: Place) -> None:
    """The server serves old content for a moment after a publish; readers here never see it."""
    for number in range(50):
        content = f"number: {number}\n".encode() * (number % 7 + 1)
        write_all(place.file, content)
        assert place.file.read_bytes() == content
        assert place.file.stat().st_size == len(content)
    place.check(saved(content, "U" * 50))


def test_reader_keeps_its_version(place: Place) -> None:
    with open(place.file, "rb", buffering=0) as reader:
        assert reader.read(7) == START[:7]
        write_all(place.file, b"x" * 100)
        assert reader.read() == START[7:]
    place.check(saved(b"x" * 100))


def test_readers_do_not_see_what_is_not_saved(place: Place) -> None:
    descriptor = open_for(place.file)
    os.write(descriptor, SAVED)
    assert subprocess.run(["cat", place.file], capture_output=True).stdout == START
    os.close(descriptor)
    assert subprocess.run(["cat", place.file], capture_output=True).stdout == SAVED
    place.check(SAVED_ONCE)


def test_large_config(place: Place) -> None:
    content = b"0123456789abcde\n" * (1_700_000 // 16)
    write_all(place.file, content)
    place.check(saved(content))


def test_mapping(place: Place) -> None:
    """A private mapping shows the version of the open; a shared one that could be written is refused, not lost."""
    with open(place.file, "rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as mapped:
        assert mapped[:] == START
    with open(place.file, "r+b") as file, fails_with(errno.ENODEV):
        mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED)
    place.check(UNTOUCHED)


def test_many_saves_at_once(place: Place) -> None:
    """Several threads save files of their own, others read them and list."""
    names = [f"n{number}.yaml" for number in range(8)]
    failures: list[BaseException] = []
    done = threading.Event()

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as failure:  # told by the main thread
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def save_ten(name: str) -> None:
        for number in range(10):
            content = b"%d: %s\n" % (number, name.encode())
            write_all(place.path / name, content)
            assert (place.path / name).read_bytes() == content

    def look() -> None:
        while not done.is_set():
            for entry in os.scandir(place.path):
                assert entry.stat().st_size > 0 or entry.name in names
                Path(entry).read_bytes()

    writers = [guarded(lambda name=name: save_ten(name)) for name in names]
    lookers = [guarded(look) for _ in range(2)]
    for thread in writers:
        thread.join()
    done.set()
    for thread in lookers:
        thread.join()
    assert not failures, failures
    place.check({CONFIG: Left(START, ""),
                 **{name: Left(b"9: %s\n" % name.encode(), "I" + "U" * 9, NEW) for name in names}})


# -------------------------------------------------------------- two writers


def test_two_writers_share_the_file(place: Place) -> None:
    one, two = (open_for(place.file, os.O_RDWR) for _ in range(2))
    os.pwrite(one, b"9090", 16)
    os.close(one)
    os.pwrite(two, b"shop", 29)
    os.close(two)
    place.check(saved(SAVED.replace(b"demo", b"shop"), "UU"))


def test_two_writers_that_overlap(place: Place) -> None:
    one, two = (open_for(place.file, os.O_RDWR) for _ in range(2))
    os.pwrite(one, b"9090", 16)
    os.pwrite(two, b"shop", 29)
    os.close(one)
    os.close(two)
    content = SAVED.replace(b"demo", b"shop")
    assert place.file.read_bytes() == content
    assert place.new_ops(CONFIG) in ("U", "UU")
    assert place.bench.server.admin.detail(place.bench.namespace, place.group, CONFIG).content == content


def test_appends_of_two_open_files(place: Place) -> None:
    one, two = (open_for(place.file, os.O_WRONLY | os.O_APPEND) for _ in range(2))
    for number in range(5):
        os.write(one, b"one: %d\n" % number)
        os.write(two, b"two: %d\n" % number)
    os.close(one)
    os.close(two)
    lines = b"".join(b"one: %d\ntwo: %d\n" % (number, number) for number in range(5))
    assert place.file.read_bytes() == START + lines
    wait_until(lambda: place.bench.server.admin.get(place.bench.namespace, place.group, CONFIG) == START + lines)


def test_appends_of_two_processes(place: Place) -> None:
    """Each line is an open, a write and a close; none may get lost."""
    script = 'for i in $(seq 20); do echo "$0: $i" >> app.yaml || exit 1; done'
    writers = [subprocess.Popen(["bash", "-c", script, name], cwd=place.path) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    text = place.file.read_text()
    assert text.startswith(START.decode())
    assert sorted(text.splitlines()[3:]) == sorted(f"{name}: {i}" for name in ("one", "two") for i in range(1, 21))
    assert place.bench.server.admin.detail(place.bench.namespace, place.group, CONFIG).content == text.encode()


# -------------------------------------------------------------------- empty


def test_emptied_then_appended(place: Place) -> None:
    place.run(": > app.yaml")
    assert place.file.stat().st_size == 0
    assert place.file.read_bytes() == b""
    place.run("echo 'a: 1' >> app.yaml; echo 'b: 2' >> app.yaml")
    place.check(saved(b"a: 1\nb: 2\n", "UU"))


def test_truncated_to_nothing_then_written(place: Place) -> None:
    os.truncate(place.file, 0)
    assert place.file.read_bytes() == b""
    write_all(place.file, SAVED, os.O_WRONLY)
    place.check(SAVED_ONCE)


def test_touch_makes_a_file_that_is_published_with_its_content(place: Place) -> None:
    place.run("touch new.yaml; test -e new.yaml; ls new.yaml > $work/out; touch new.yaml")
    assert place.new_ops("new.yaml") == ""
    assert (place.path / "new.yaml").read_bytes() == b""
    place.run("echo 'a: 1' > new.yaml")
    place.check({CONFIG: Left(START, ""), "new.yaml": Left(b"a: 1\n", "I", NEW)})


def test_touch_of_a_config_sets_its_time(place: Place) -> None:
    place.run("touch -d '2020-01-02 03:04:05 UTC' app.yaml")
    assert place.file.stat().st_mtime == 1577934245
    place.check(UNTOUCHED)


def test_emptied_config_shows_the_servers_text_again(space_of: Callable[[NacosServer], Space], nacos_310: NacosServer,
                                                    mount: Mounts) -> None:
    space = space_of(nacos_310)
    space.publish(CONFIG, START)
    mounted = mount(space.server, space.namespace, space.group)
    file = mounted.path / CONFIG
    subprocess.run(["bash", "-c", f": > '{file}'; touch '{mounted.path}/new.yaml'"], check=True)
    emptied = time.monotonic()
    wait_until(lambda: file.read_bytes() == START, EMPTY_STAYS + 5, "the server's text")
    assert time.monotonic() - emptied > EMPTY_STAYS - 5
    wait_until(lambda: os.listdir(mounted.path) == [CONFIG], 5, "the new empty file to go")
    assert len(space.history(CONFIG)) == 1


# ------------------------------------------------------------------- killed


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda death: death.name)
@pytest.mark.parametrize("name", [CONFIG, "new.yaml"])
def test_killed_writer_publishes_nothing(place: Place, death: signal.Signals, name: str) -> None:
    path = place.path / name
    writer = subprocess.Popen(["bash", "-c", f"exec cat > '{path}'"], stdin=subprocess.PIPE)
    writer.stdin.write(b"half: 1\n")
    writer.stdin.flush()
    wait_until(lambda: written_so_far(writer) == 8, what="the writer to have written")
    writer.send_signal(death)
    assert writer.wait(10) == -death
    writer.stdin.close()
    if name == CONFIG:
        wait_until(lambda: path.read_bytes() == START, what="the old text")
    else:
        wait_until(lambda: not path.exists(), what="the half file to go")
    place.check(UNTOUCHED)


def test_killed_shell_publishes_nothing(place: Place) -> None:
    script = "trap 'kill -9 $$' USR1; exec 3> app.yaml; echo half: 1 >&3; echo ready; read line"
    writer = subprocess.Popen(["bash", "-c", script], cwd=place.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"ready\n"
    writer.kill()
    assert writer.wait(10) == -signal.SIGKILL
    wait_until(lambda: place.file.read_bytes() == START, what="the old text")
    place.check(UNTOUCHED)


# ---------------------------------------------------------------- stability


def shown(path: Path) -> tuple[int, ...]:
    """What an editor remembers to see whether the file was changed by somebody else."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode, found.st_uid, found.st_gid


def test_nothing_moves_by_itself_after_a_save(space: Space, mount: Mounts) -> None:
    """Else vim asks: the file has been changed since reading it. Listings are taken, and compared often, meanwhile."""
    writes = {f"{number}.yaml": write for number, write in enumerate(
        [rewrite, append, write_at, truncate_path, shrink_and_write, fsync_then_close, rename_over, link_free_replace,
         backup_and_rewrite, write_and_set_times])}
    for name in writes:
        space.publish(name, START, type="yaml")
    mounted = mount(space.server, space.namespace, space.group, options={"refresh": 1})
    for name, write in writes.items():
        write(mounted.path / name)
    write_all(mounted.path / "new.yaml", SAVED)
    before = {name: shown(mounted.path / name) for name in [*writes, "new.yaml"]}
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert {entry.name: shown(Path(entry)) for entry in os.scandir(mounted.path)} == before
        for name in writes:
            (mounted.path / name).read_bytes()
        time.sleep(0.05)


def test_save_in_place_keeps_the_inode_and_moves_the_time(place: Place) -> None:
    before = place.file.stat()
    saved_at = time.time_ns()
    write_all(place.file, SAVED)
    after = place.file.stat()
    assert after.st_ino == before.st_ino
    assert saved_at - 50_000_000 <= after.st_mtime_ns <= time.time_ns()
    place.check(SAVED_ONCE)
