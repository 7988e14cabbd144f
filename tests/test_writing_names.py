"""Names that go, are renamed or are in memory only: what becomes of the configs, and of what editors make beside them."""

from __future__ import annotations

import errno
import os
import stat
import subprocess

from harness.mounts import Mounts, Space
from harness.saving import GRACE, fails_with, open_for, renameat2, replace, write_all
from harness.tools import CONFIG, METADATA, NEW, SAVED, SAVED_ONCE, START, UNTOUCHED, Left, Place
from harness.waiting import wait_until

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2


def wait_ops(place: Place, data_id: str, ops: str) -> None:
    wait_until(lambda: place.new_ops(data_id) == ops, GRACE + 5, f"{ops} in the history of {data_id}")


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
    replace(place.file, SAVED)
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
