"""Writing through a mount: what each system call does here and on the server, what is refused and with which errno.

Most tests share one mount per server (`bench`), each in a group of its own that begins with the config app.yaml.
Those that end a mount, or need it to be special, make their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import stat
import subprocess
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

pytest.register_assert_rewrite("harness.tools")

from harness.mounts import Mount, Mounts, Space
from harness.proxy import TcpProxy
from harness.servers import NacosServer
from harness.tools import CONFIG, METADATA, SAVED, SAVED_ONCE, START, UNTOUCHED, Bench, Left, Place, saved
from harness.tools import bench  # noqa: F401
from harness.waiting import wait_until

GRACE = 1.5  # seconds in which a removed name may come back
EMPTY_STAYS = 30  # seconds in which an emptied config reads as empty
LIMIT = 10 << 20  # of a text over gRPC
HTTP_LIMIT = 2 << 20  # of a text, and of its percent-encoded form
NEW = {"type": "yaml", "desc": "", "tags": frozenset(), "app": ""}

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
AT_FDCWD = -100


@pytest.fixture
def place(bench: Bench, request: pytest.FixtureRequest) -> Place:  # noqa: F811
    return bench.place(request.node.name.split("[")[0].removeprefix("test_"))


@contextlib.contextmanager
def fails_with(code: int) -> Iterator[None]:
    with pytest.raises(OSError) as failure:
        yield
    assert errno.errorcode[failure.value.errno] == errno.errorcode[code]


def open_for(path: Path, flags: int = os.O_WRONLY | os.O_TRUNC) -> int:
    return os.open(path, flags, 0o644)


def write_all(path: Path, content: bytes, flags: int = os.O_WRONLY | os.O_CREAT | os.O_TRUNC) -> None:
    """As most programs save; raises what write or close says."""
    descriptor = open_for(path, flags)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def renameat2(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def wait_ops(place: Place, data_id: str, ops: str) -> None:
    wait_until(lambda: place.new_ops(data_id) == ops, GRACE + 5, f"{ops} in the history of {data_id}")


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
    temp = path.with_name(path.name + ".tmp")
    write_all(temp, SAVED)
    temp.chmod(stat.S_IMODE(path.stat().st_mode))
    os.rename(temp, path)


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


# ------------------------------------------------------------------- remove


def test_unlink(place: Place) -> None:
    os.unlink(place.file)
    assert not place.file.exists()
    assert CONFIG not in os.listdir(place.path)
    wait_ops(place, CONFIG, "D")
    place.check({CONFIG: Left(None, "D")})


def test_unlink_of_what_is_not_there(place: Place) -> None:
    with fails_with(errno.ENOENT):
        os.unlink(place.path / "absent.yaml")
    place.check(UNTOUCHED)


def test_removed_name_comes_back_with_its_metadata(place: Place) -> None:
    os.unlink(place.file)
    with fails_with(errno.ENOENT):
        open_for(place.file, os.O_RDONLY)
    write_all(place.file, SAVED, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    place.check(SAVED_ONCE)


def test_remove_a_whole_group(place: Place) -> None:
    names = [f"n{number}.yaml" for number in range(5)]
    for name in names:
        place.add(name, b"a: 1\n")
    subprocess.run(["rm", "-r", place.path], check=True)
    assert not place.path.exists()
    for name in [CONFIG, *names]:
        wait_ops(place, name, "D")
    assert not place.bench.server.admin.list(place.bench.namespace, place.group)


def test_open_unlinked_new_file_is_never_published(place: Place) -> None:
    path = place.path / "new.yaml"
    descriptor = open_for(path, os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"a: 1\n")
    os.unlink(path)
    os.write(descriptor, b"b: 2\n")
    os.fsync(descriptor)
    assert os.pread(descriptor, 100, 0) == b"a: 1\nb: 2\n"
    os.close(descriptor)
    place.check(UNTOUCHED)


def test_open_unlinked_config_is_removed_not_saved(place: Place) -> None:
    descriptor = open_for(place.file, os.O_RDWR)
    os.pwrite(descriptor, b"9090", 16)
    os.unlink(place.file)
    os.fsync(descriptor)
    os.close(descriptor)
    wait_ops(place, CONFIG, "D")
    place.check({CONFIG: Left(None, "D")})


def test_open_file_that_was_replaced_is_not_saved(place: Place) -> None:
    """A descriptor of the old file, written after another file took its name."""
    descriptor = open_for(place.file, os.O_RDWR)
    rename_over(place.file)
    os.pwrite(descriptor, b"x: ", 0)
    os.close(descriptor)
    place.check(SAVED_ONCE)


# ------------------------------------------------------------------- rename


def test_move_between_groups_keeps_metadata(place: Place) -> None:
    other = place.bench.mounted.path / f"{place.group}-b"
    other.mkdir()
    os.rename(place.file, other / CONFIG)
    place.check({CONFIG: Left(None, "D")}, other_writes=1)
    admin, namespace = place.bench.server.admin, place.bench.namespace
    assert [row.op for row in admin.history(namespace, other.name, CONFIG)] == ["I"]
    detail = admin.detail(namespace, other.name, CONFIG)
    assert detail.content == START
    assert {name: getattr(detail, name) for name in METADATA} == METADATA
    assert (other / CONFIG).read_bytes() == START


def test_rename_flags(place: Place) -> None:
    place.add("other.yaml", b"other: 1\n")
    other = place.path / "other.yaml"
    with fails_with(errno.EEXIST):
        renameat2(place.file, other, RENAME_NOREPLACE)
    with fails_with(errno.EINVAL):
        renameat2(place.file, other, RENAME_EXCHANGE)
    renameat2(place.file, place.path / "new.yaml", RENAME_NOREPLACE)
    place.check({CONFIG: Left(None, "D"), "new.yaml": Left(START, "I"), "other.yaml": Left(b"other: 1\n", "")})


def test_temp_file_renamed_to_a_new_name(place: Place) -> None:
    write_all(place.path / ".new.yaml.aB3xYz", SAVED)
    (place.path / ".new.yaml.aB3xYz").chmod(0o640)
    os.rename(place.path / ".new.yaml.aB3xYz", place.path / "new.yaml")
    place.check({CONFIG: Left(START, ""), "new.yaml": Left(SAVED, "I", NEW)})


def test_rename_onto_a_directory_and_back(place: Place) -> None:
    (place.path / ".d").mkdir()
    with fails_with(errno.EISDIR):
        os.rename(place.file, place.path / ".d")
    with fails_with(errno.ENOTDIR):
        os.rename(place.path / ".d", place.file)
    with fails_with(errno.ENOENT):
        os.rename(place.path / "absent.yaml", place.file)
    place.check(UNTOUCHED)


def test_config_renamed_to_a_backup_name_stays_on_the_server(place: Place) -> None:
    """A backup name is only in memory: it must not become the last copy."""
    os.rename(place.file, place.path / (CONFIG + "~"))
    assert not place.file.exists()
    assert (place.path / (CONFIG + "~")).read_bytes() == START
    wait_until(place.file.exists, GRACE + 3, "the config to show again")
    place.check(UNTOUCHED)


def test_new_name_like_a_temp_file_is_published_after_a_moment(place: Place) -> None:
    """app.yaml8BAZdu may be busybox sed's; nobody has renamed it, so it is a config."""
    write_all(place.path / "app.yaml8BAZdu", b"a: 1\n")
    assert (place.path / "app.yaml8BAZdu").read_bytes() == b"a: 1\n"
    assert place.new_ops("app.yaml8BAZdu") == ""
    wait_ops(place, "app.yaml8BAZdu", "I")
    place.check({CONFIG: Left(START, ""), "app.yaml8BAZdu": Left(b"a: 1\n", "I", {**NEW, "type": "text"})})


# -------------------------------------------------------------- directories


def test_make_and_remove_a_group(place: Place) -> None:
    group = place.bench.mounted.path / f"{place.group}-new"
    group.mkdir()
    with fails_with(errno.EEXIST):
        group.mkdir()
    assert group.name in os.listdir(group.parent)
    group.rmdir()
    assert not group.exists()
    group.mkdir()
    write_all(group / "a.yaml", b"a: 1\n")
    admin, namespace = place.bench.server.admin, place.bench.namespace
    assert [entry.data_id for entry in admin.list(namespace, group.name)] == ["a.yaml"]
    with fails_with(errno.ENOTEMPTY):
        group.rmdir()
    with fails_with(errno.EISDIR):
        os.unlink(group)
    with fails_with(errno.ENOTDIR):
        (group / "a.yaml").rmdir()


def test_no_directories_in_a_group(place: Place) -> None:
    with fails_with(errno.EPERM):
        (place.path / "directory").mkdir()
    place.check(UNTOUCHED)


# ------------------------------------------------------------ scratch files

SCRATCH_NAMES = [".x.swp", ".app.yaml.swp", "app.yaml~", "4913", "#app.yaml#", "sedABCDEF", "app.yaml.tmp",
                 "tmpab12_x9z", "app.yaml.bak", "app.yaml.orig", ".#lock", "XXabc123"]


def test_scratch_files_live_in_memory(space: Space, mount: Mounts) -> None:
    space.publish(CONFIG, START)
    mounted = mount(space.server, space.namespace, space.group)
    for name in SCRATCH_NAMES:
        path = mounted.path / name
        write_all(path, b"private\n", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        path.chmod(0o604)
        os.chown(path, 1234, 2345)
        os.utime(path, ns=(1_600_000_000_000_000_001, 1_600_000_000_000_000_001))
        found = path.stat()
        assert (found.st_mode, found.st_uid, found.st_gid) == (stat.S_IFREG | 0o604, 1234, 2345), name
        assert (found.st_mtime_ns, found.st_size) == (1_600_000_000_000_000_001, 8), name
        write_all(path, b"more\n", os.O_WRONLY | os.O_APPEND)
        assert path.read_bytes() == b"private\nmore\n"
    assert sorted(os.listdir(mounted.path)) == sorted([CONFIG, *SCRATCH_NAMES])
    mounted.unmount()
    assert space.names() == [CONFIG]
    for name in SCRATCH_NAMES:
        if not set("~#") & set(name):  # a server can't be asked about those
            assert not space.history(name), name
    again = mount(space.server, space.namespace, space.group)
    assert os.listdir(again.path) == [CONFIG]


def test_scratch_directories(place: Place) -> None:
    directory = place.path / ".~tmp~"
    directory.mkdir()
    write_all(directory / "any.yaml", b"a: 1\n")
    with fails_with(errno.ENOTEMPTY):
        directory.rmdir()
    os.rename(directory / "any.yaml", place.path / ".moved")
    directory.rmdir()
    place.check(UNTOUCHED)


def test_links(place: Place) -> None:
    lock = place.path / ".#app.yaml"
    os.symlink("user@host.123:456", lock)
    assert os.readlink(lock) == "user@host.123:456"
    with fails_with(errno.EEXIST):
        os.symlink("other", lock)
    os.unlink(lock)
    assert not os.path.lexists(lock)
    with fails_with(errno.EPERM):
        os.symlink("app.yaml", place.path / "link.yaml")
    with fails_with(errno.EPERM):
        os.link(place.file, place.path / "hard.yaml")
    with fails_with(errno.EPERM):
        os.mkfifo(place.path / "fifo")
    place.check(UNTOUCHED)


def test_mknod_makes_an_empty_file(place: Place) -> None:
    os.mknod(place.path / "new.yaml")
    assert (place.path / "new.yaml").stat().st_size == 0
    write_all(place.path / "new.yaml", b"a: 1\n", os.O_WRONLY)
    place.check({CONFIG: Left(START, ""), "new.yaml": Left(b"a: 1\n", "I", NEW)})


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


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("content, code", [
    (b"", errno.EINVAL),
    (b" \n\t\n", errno.EINVAL),
    (b"a: \xff\xfe\n", errno.EILSEQ),
    (b"a: \xed\xa0\x80\n", errno.EILSEQ),
    (b"caf\xe9\n", errno.EILSEQ),
], ids=["empty", "blank", "not UTF-8", "surrogate", "latin1"])
@pytest.mark.parametrize("commit", ["close", "fsync", "rename"])
def test_text_that_the_server_cannot_store(place: Place, content: bytes, code: int, commit: str) -> None:
    temp = place.path / "app.yaml.tmp"
    descriptor = open_for(temp if commit == "rename" else place.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, content)
    if commit == "close":
        with fails_with(code):
            os.close(descriptor)
    elif commit == "fsync":
        with fails_with(code):
            os.fsync(descriptor)
        with fails_with(code):
            os.close(descriptor)
    else:
        os.close(descriptor)
        with fails_with(code):
            os.rename(temp, place.file)
        assert temp.read_bytes() == content
    if code == errno.EILSEQ or commit == "rename":
        assert place.file.read_bytes() == START
        place.check(UNTOUCHED)
    else:
        assert place.file.read_bytes() == content
    write_all(place.file, SAVED)
    place.check(SAVED_ONCE)


def test_too_large(place: Place) -> None:
    descriptor = open_for(place.file)
    with fails_with(errno.EFBIG):
        for _ in range(LIMIT // 65536 + 1):
            os.write(descriptor, b"0123456789abcde\n" * 4096)
    with fails_with(errno.EFBIG):
        os.close(descriptor)
    with fails_with(errno.EFBIG):
        os.truncate(place.file, LIMIT + 1)
    with fails_with(errno.EFBIG):
        open_and_write_at(place.file, LIMIT)
    place.check(UNTOUCHED)


def test_too_large_for_http(space: Space, mount: Mounts) -> None:
    space.publish(CONFIG, START)
    file = mount(space.server, space.namespace, space.group, options={"transport": "http"}).path / CONFIG
    for text in (b"a" * (HTTP_LIMIT + 1), "ä".encode() * (HTTP_LIMIT // 4)):
        with fails_with(errno.EFBIG):
            write_all(file, text)
    assert [row.op for row in space.server.admin.history(space.namespace, space.group, CONFIG)] == ["I"]


def test_large_text(place: Place) -> None:
    """More than HTTP carries."""
    text = b"0123456789abcde\n" * (3 << 16)
    write_all(place.file, text)
    assert place.file.read_bytes() == text
    place.check({CONFIG: Left(text, "U")})


def open_and_write_at(path: Path, offset: int) -> None:
    descriptor = open_for(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, b"x", offset)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_too_large_temp_file(place: Place) -> None:
    temp = place.path / "app.yaml.tmp"
    write_all(temp, b"0123456789abcde\n" * (LIMIT // 16 + 1))
    with fails_with(errno.EFBIG):
        os.rename(temp, place.file)
    place.check(UNTOUCHED)


def test_read_only_mount(space: Space, mount: Mounts) -> None:
    space.publish(CONFIG, START)
    mounted = mount(space.server, space.namespace, options={"ro": True})
    group = mounted.path / space.group
    file = group / CONFIG
    refused: list[Callable[[], object]] = [
        lambda: open_for(file, os.O_WRONLY),
        lambda: open_for(file, os.O_RDWR | os.O_APPEND),
        lambda: open_for(group / "new.yaml", os.O_WRONLY | os.O_CREAT),
        lambda: os.unlink(file),
        lambda: os.rename(file, group / "other.yaml"),
        lambda: os.rename(file, group / "app.yaml~"),
        lambda: os.truncate(file, 1),
        lambda: (mounted.path / "NEW").mkdir(),
        lambda: group.rmdir(),
        lambda: file.chmod(0o600),
    ]
    for action in refused:
        with fails_with(errno.EROFS):
            action()
    assert file.read_bytes() == START
    assert len(space.history(CONFIG)) == 1
    assert space.names() == [CONFIG]


@pytest.fixture
def reader_of(nacos: NacosServer) -> Iterator[Callable[[Space], tuple[str, str]]]:
    """reader_of(space): a user who may read there and nothing else."""
    users: list[tuple[str, str, str]] = []

    def make(space: Space) -> tuple[str, str]:
        name = f"reader{uuid.uuid4().hex[:8]}"
        role = f"role-{name}"
        nacos.admin.create_user(name, "secret12")
        users.append((name, role, space.namespace))
        nacos.admin.add_role(role, name)
        nacos.admin.grant(role, space.namespace, action="r")
        return name, "secret12"

    yield make
    for name, role, namespace in users:
        nacos.admin.revoke(role, namespace, action="r")
        nacos.admin.remove_role(role, name)
        nacos.admin.delete_user(name)


def test_user_who_may_only_read(space: Space, mount: Mounts, reader_of: Callable[[Space], tuple[str, str]]) -> None:
    space.publish(CONFIG, START)
    space.publish("other.yaml", b"other: 1\n")
    mounted = mount(space.server, space.namespace, space.group, user=reader_of(space))
    file = mounted.path / CONFIG
    assert file.read_bytes() == START
    refused: list[Callable[[], object]] = [
        lambda: open_for(file, os.O_WRONLY),
        lambda: open_for(file, os.O_RDWR),
        lambda: open_for(file, os.O_WRONLY | os.O_TRUNC),
        lambda: open_for(mounted.path / "new.yaml", os.O_WRONLY | os.O_CREAT),
        lambda: os.unlink(file),
        lambda: os.rename(file, mounted.path / "third.yaml"),
        lambda: os.rename(file, mounted.path / "other.yaml"),
        lambda: os.truncate(file, 5),
    ]
    for action in refused:
        with fails_with(errno.EACCES):
            action()
    write_all(mounted.path / "app.yaml.tmp", SAVED)
    with fails_with(errno.EACCES):
        os.rename(mounted.path / "app.yaml.tmp", file)
    assert file.read_bytes() == START
    mounted.unmount()
    assert len(space.history(CONFIG)) == 1
    assert space.names() == [CONFIG, "other.yaml"]


# ---------------------------------------------------------------- conflicts

THEIRS = b"theirs: 1\n"


def check_conflict(place: Place, theirs: bytes | None, ops: str) -> None:
    """The server keeps theirs, and so do readers here; the next save works."""
    if theirs is not None:
        assert place.file.read_bytes() == theirs
        assert os.getxattr(place.file, "user.nacos.error")
    assert place.new_ops(CONFIG) == ops
    write_all(place.file, SAVED)
    assert place.file.read_bytes() == SAVED
    with fails_with(errno.ENODATA):
        os.getxattr(place.file, "user.nacos.error")
    place.check({CONFIG: Left(SAVED, ops + ("U" if theirs is not None else "I"), {"type": "yaml"})},
                other_writes=-len(ops))


@pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_TRUNC, os.O_RDWR], ids=["truncated", "in place"])
@pytest.mark.parametrize("commit", [os.close, os.fsync], ids=["close", "fsync"])
def test_changed_on_the_server_while_open(place: Place, flags: int, commit: Callable[[int], None]) -> None:
    descriptor = open_for(place.file, flags)
    os.write(descriptor, b"mine: 1\n")
    place.publish(CONFIG, THEIRS)
    with fails_with(errno.EBUSY):
        commit(descriptor)
    if commit is os.fsync:
        with fails_with(errno.EBUSY):
            os.close(descriptor)
    check_conflict(place, THEIRS, "U")


def test_changed_on_the_server_between_open_and_write(place: Place) -> None:
    descriptor = open_for(place.file, os.O_RDWR)
    place.publish(CONFIG, THEIRS)
    os.write(descriptor, b"mine: 1\n")
    with fails_with(errno.EBUSY):
        os.close(descriptor)
    check_conflict(place, THEIRS, "U")


def test_changed_on_the_server_and_seen_here_while_open(place: Place) -> None:
    """Somebody reads the new version through the mount: that does not make the writer's base newer."""
    descriptor = open_for(place.file, os.O_RDWR)
    place.publish(CONFIG, THEIRS)
    wait_until(lambda: place.file.read_bytes() == THEIRS, what="the remote change")
    os.write(descriptor, b"mine: 1\n")
    with fails_with(errno.EBUSY):
        os.close(descriptor)
    check_conflict(place, THEIRS, "U")


def test_deleted_on_the_server_while_open(place: Place) -> None:
    descriptor = open_for(place.file)
    os.write(descriptor, b"mine: 1\n")
    place.bench.server.admin.delete(place.bench.namespace, place.group, CONFIG)
    with fails_with(errno.EBUSY):
        os.close(descriptor)
    wait_until(lambda: not place.file.exists(), what="the name to go")
    check_conflict(place, None, "D")


def test_created_on_the_server_while_new(place: Place) -> None:
    descriptor = open_for(place.path / "new.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, b"mine: 1\n")
    place.publish("new.yaml", THEIRS)
    with fails_with(errno.EBUSY):
        os.close(descriptor)
    assert (place.path / "new.yaml").read_bytes() == THEIRS
    place.check({CONFIG: Left(START, ""), "new.yaml": Left(THEIRS, "I")}, other_writes=-1)


def test_changed_to_the_same_bytes_is_no_conflict(place: Place) -> None:
    descriptor = open_for(place.file)
    os.write(descriptor, SAVED)
    place.publish(CONFIG, SAVED)
    os.close(descriptor)
    place.check(SAVED_ONCE, other_writes=-1)


def test_changed_on_the_server_while_a_temp_file_is_written(place: Place) -> None:
    """The temp file was made from the version that was shown; the change is seen here before the rename."""
    temp = place.path / "app.yaml.tmp"
    write_all(temp, b"mine: 1\n")
    place.publish(CONFIG, THEIRS)
    wait_until(lambda: place.file.read_bytes() == THEIRS, what="the remote change")
    with fails_with(errno.EBUSY):
        os.rename(temp, place.file)
    assert temp.read_bytes() == b"mine: 1\n"
    check_conflict(place, THEIRS, "U")


def test_changed_on_the_server_while_a_temp_file_is_written_and_nobody_looks(place: Place) -> None:
    assert place.file.read_bytes() == START
    temp = place.path / "app.yaml.tmp"
    write_all(temp, b"mine: 1\n")
    place.publish(CONFIG, THEIRS)
    with fails_with(errno.EBUSY):
        os.rename(temp, place.file)
    check_conflict(place, THEIRS, "U")


def test_changed_on_the_server_before_a_removal(place: Place) -> None:
    """Who removes a file removes the version that was shown; a newer one must not go with it."""
    os.unlink(place.file)
    place.publish(CONFIG, THEIRS)
    wait_until(place.file.exists, GRACE + 5, "the name to show again")
    assert place.file.read_bytes() == THEIRS
    place.check({CONFIG: Left(THEIRS, "U")}, other_writes=-1)


@pytest.mark.parametrize("remove", [os.unlink, lambda path: os.rename(path, f"{path}~")], ids=["unlink", "backup"])
def test_changed_on_the_server_between_the_halves_of_a_save(place: Place, remove: Callable[[Path], None]) -> None:
    assert place.file.read_bytes() == START
    remove(place.file)
    place.publish(CONFIG, THEIRS)
    with fails_with(errno.EBUSY):
        write_all(place.file, b"mine: 1\n", os.O_WRONLY | os.O_CREAT)
    wait_until(place.file.exists, GRACE + 5, "the name to show again")
    check_conflict(place, THEIRS, "U")


WRITER = """
import errno, os, sys
descriptor = os.open(sys.argv[1], int(sys.argv[2]), 0o644)
os.write(descriptor, sys.argv[3].encode())
print("written", flush=True)
sys.stdin.read()
try:
    os.close(descriptor)
    print("closed")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


class Writer:
    """A process that has opened and written a file; it closes it when told."""

    def __init__(self, file: Path, content: bytes, flags: int) -> None:
        self._process = subprocess.Popen(["python3", "-c", WRITER, file, str(flags), content], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == "written\n"

    def close(self) -> str:
        """"closed", or the name of the error."""
        return self._process.communicate()[0].strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def writer() -> Iterator[Callable[..., Writer]]:
    """writer(file, content, flags) -> Writer; none outlives the test."""
    writers: list[Writer] = []

    def start(*arguments: Any) -> Writer:
        writers.append(Writer(*arguments))
        return writers[-1]

    yield start
    for each in writers:
        each.kill()


def test_save_while_a_child_has_the_file_open_too(place: Place, writer: Callable[..., Writer]) -> None:
    """The child's descriptor is its own: our close is the last of ours."""
    child = writer(place.file, START, os.O_WRONLY)
    write_all(place.file, SAVED)
    admin, key = place.bench.server.admin, (place.bench.namespace, place.group, CONFIG)
    assert admin.detail(*key).content == SAVED
    assert child.close() == "closed"
    place.check(SAVED_ONCE)


def two_mounts(space: Space, mount: Mounts) -> list[Path]:
    return [mount(space.server, space.namespace, space.group).path / CONFIG for _ in range(2)]


def test_two_mounts_that_save_the_same_config(space: Space, mount: Mounts, writer: Callable[..., Writer]) -> None:
    space.publish(CONFIG, START, **METADATA)
    here, there = two_mounts(space, mount)
    mine, theirs = writer(here, b"mine: 1\n", os.O_WRONLY | os.O_TRUNC), writer(there, THEIRS, os.O_WRONLY | os.O_TRUNC)
    assert [theirs.close(), mine.close()] == ["closed", "EBUSY"]
    wait_until(lambda: here.read_bytes() == THEIRS, what="the other's text")
    write_all(here, SAVED)
    wait_until(lambda: there.read_bytes() == SAVED, what="the other's text")
    assert [row.op for row in space.history(CONFIG)] == ["U", "U", "I"]


def test_two_mounts_that_create_the_same_config(space: Space, mount: Mounts, writer: Callable[..., Writer]) -> None:
    writers = [writer(file, b"from: %d\n" % number, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
               for number, file in enumerate(two_mounts(space, mount))]
    assert [each.close() for each in writers] == ["closed", "EBUSY"]
    assert space.detail(CONFIG).content == b"from: 0\n"
    assert len(space.history(CONFIG)) == 1


def test_two_mounts_in_one_process(space: Space, mount: Mounts) -> None:
    """A descriptor of the same file in another mount is no duplicate."""
    descriptors = [open_for(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL) for file in two_mounts(space, mount)]
    for number, descriptor in enumerate(descriptors):
        os.write(descriptor, b"from: %d\n" % number)
    os.close(descriptors[0])
    with fails_with(errno.EBUSY):
        os.close(descriptors[1])
    assert space.detail(CONFIG).content == b"from: 0\n"
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


# ------------------------------------------------------------------- outage


@pytest.fixture
def behind_proxy(space: Space, mount: Mounts) -> Iterator[tuple[Mount, TcpProxy]]:
    """A mount that reaches its server through a proxy."""
    space.publish(CONFIG, START, **METADATA)
    with TcpProxy(space.server.port) as proxy:
        options = {**mount.default_options(space.server), "timeout": 4}
        yield mount.mount(f"nacos://127.0.0.1:{proxy.port}/{space.namespace}/{space.group}", options), proxy


def save_by_close(file: Path) -> None:
    write_all(file, SAVED)


def save_by_fsync(file: Path) -> None:
    descriptor = open_for(file)
    os.write(descriptor, SAVED)
    try:
        os.fsync(descriptor)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def save_by_rename(file: Path) -> None:
    temp = file.with_name(".app.yaml.tmp")
    write_all(temp, SAVED)
    temp.chmod(0o640)
    os.rename(temp, file)


SAVES = [save_by_close, save_by_fsync, save_by_rename]
OUTAGE = {errno.EHOSTUNREACH, errno.EIO, errno.ETIMEDOUT}


@pytest.mark.parametrize("save", SAVES, ids=lambda save: save.__name__)
@pytest.mark.parametrize("outage", [TcpProxy.refuse, TcpProxy.stall], ids=["refused", "stalled"])
def test_save_while_the_server_cannot_be_reached(space: Space, behind_proxy: tuple[Mount, TcpProxy],
                                                 save: Callable[[Path], None],
                                                 outage: Callable[[TcpProxy], None]) -> None:
    mounted, proxy = behind_proxy
    file = mounted.path / CONFIG
    assert file.read_bytes() == START
    descriptor = open_for(file, os.O_WRONLY)  # so that the outage meets the commit, not the open
    outage(proxy)
    began = time.monotonic()
    with pytest.raises(OSError) as failure:
        if save is save_by_rename:
            save(file)
        else:
            os.pwrite(descriptor, SAVED, 0)
            (os.fsync if save is save_by_fsync else os.close)(descriptor)
    assert failure.value.errno in OUTAGE, errno.errorcode[failure.value.errno]
    assert time.monotonic() - began < 6
    if save is save_by_fsync:
        with pytest.raises(OSError):
            os.close(descriptor)
    elif save is save_by_rename:
        os.close(descriptor)
    proxy.resume()
    wait_until(lambda: file.read_bytes() in (START, SAVED), 15, "the mount to come back")
    stored = space.detail(CONFIG)
    assert stored.content in (START, SAVED)
    # Who tries again gets it saved, once.
    wait_until(lambda: tries(lambda: save(file)), 15, "a save to work again")
    stored = space.detail(CONFIG)
    assert stored.content == SAVED
    assert {name: getattr(stored, name) for name in METADATA} == METADATA
    assert len(space.history(CONFIG)) == 2
    assert file.read_bytes() == SAVED


def tries(action: Callable[[], None]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("save", SAVES, ids=lambda save: save.__name__)
def test_connection_breaks_while_saving(space: Space, behind_proxy: tuple[Mount, TcpProxy],
                                        save: Callable[[Path], None]) -> None:
    """Again and again, at any moment: what the program was told is what the server has."""
    mounted, proxy = behind_proxy
    file = mounted.path / CONFIG
    done = threading.Event()

    def cut_now_and_then() -> None:
        while not done.wait(0.013):
            proxy.cut()

    cutter = threading.Thread(target=cut_now_and_then)
    cutter.start()
    rows, outcomes = 1, []
    try:
        for number in range(10):
            before = space.detail(CONFIG).content
            content = b"number: %d\n" % number
            worked = tries(lambda: save_text(save, file, content))
            after = space.detail(CONFIG).content
            outcomes.append(worked)
            assert after == content if worked else after in (before, content)
            rows += after != before
    finally:
        done.set()
        cutter.join()
    wait_until(lambda: tries(lambda: write_all(file, b"end: 1\n")), 15, "a save to work again")
    assert space.detail(CONFIG).content == b"end: 1\n"
    assert len(space.history(CONFIG)) == rows + 1, outcomes


def save_text(save: Callable[[Path], None], file: Path, content: bytes) -> None:
    if save is save_by_close:
        write_all(file, content)
    elif save is save_by_fsync:
        descriptor = open_for(file)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    else:
        temp = file.with_name(".app.yaml.tmp")
        write_all(temp, content)
        os.rename(temp, file)


def test_removal_is_done_at_unmount(space: Space, mount: Mounts) -> None:
    """What was asked for in the last moment is not forgotten."""
    space.publish(CONFIG, START)
    mounted = mount(space.server, space.namespace, space.group)
    os.unlink(mounted.path / CONFIG)
    write_all(mounted.path / "app2.yaml", SAVED)
    mounted.unmount()
    assert space.names() == ["app2.yaml"]


# --------------------------------------------------------------- afterwards


def test_nothing_came_after_the_saves(bench: Bench) -> None:  # noqa: F811
    bench.check_afterwards()
