"""The texts of saves that failed, in .nacosfs/unsaved and in the cache directory: whose they are, and which go.

A text that is not UTF-8 is refused before a server is asked, so many saves can fail in little time.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from harness.mounts import Mount, Mounts, Space

CONFIG = "app.yaml"
LIMIT = 200  # UNSAVED_COUNT_LIMIT
WRITER = 65534

pytestmark = pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)


def refused(number: int) -> bytes:
    return b"\xff is no text: %d\n" % number


def fail_to_save(mounted: Mount, content: bytes) -> None:
    with pytest.raises(OSError):
        (mounted.path / CONFIG).write_bytes(content)


def kept_texts(mounted: Mount) -> set[bytes]:
    return {(entry / "yours").read_bytes() for entry in (mounted.path / ".nacosfs" / "unsaved").iterdir()}


@pytest.fixture
def cache(tmp_path: Path, space: Space) -> Path:
    """Where texts are kept on disk; not there yet."""
    source = f"nacos://{space.server.host}:{space.server.port}/{space.namespace}/{space.group}"
    return tmp_path / re.sub(r"[^A-Za-z0-9.-]", "_", source) / "unsaved"


def mount_with(mount: Mounts, space: Space, cache: Path, **options: object) -> Mount:
    return mount(space.server, space.namespace, space.group, cache_dir=cache.parents[1], **options)


def test_kept_on_disk_in_a_directory_of_its_own(space: Space, mount: Mounts, cache: Path) -> None:
    mounted = mount_with(mount, space, cache)
    fail_to_save(mounted, refused(1))
    assert [file.read_bytes() for file in cache.glob("*/yours")] == [refused(1)]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o777), (0, 0o750), (WRITER, 0o700)])
def test_nothing_is_kept_in_a_directory_of_others(space: Space, mount: Mounts, cache: Path, owner: int, mode: int) -> None:
    """Others could read what is in it, or put something there."""
    cache.mkdir(parents=True)
    cache.chmod(mode)
    os.chown(cache, owner, owner)
    mounted = mount_with(mount, space, cache)
    fail_to_save(mounted, refused(1))
    assert "kept in memory only" in mounted.log_text()
    assert not list(cache.iterdir())
    assert kept_texts(mounted) == {refused(1)}


def test_the_oldest_go_when_there_are_too_many(space: Space, mount: Mounts, cache: Path) -> None:
    mounted = mount_with(mount, space, cache)
    for number in range(LIMIT + 3):
        fail_to_save(mounted, refused(number))
    newest = {refused(number) for number in range(3, LIMIT + 3)}
    assert kept_texts(mounted) == newest
    assert {file.read_bytes() for file in cache.glob("*/yours")} == newest


def test_only_the_same_text_goes_with_a_save(space: Space, mount: Mounts, cache: Path) -> None:
    """Also of the same config: what a user wrote is not lost because another save succeeded."""
    space.publish(CONFIG, "a: 0\n")
    mounted = mount_with(mount, space, cache)
    for number in (1, 2):
        fail_to_save(mounted, refused(number))
    (mounted.path / CONFIG).write_bytes(b"a: 1\n")
    assert space.detail(CONFIG).content == b"a: 1\n"
    assert kept_texts(mounted) == {refused(1), refused(2)}
    # What failed again is kept once.
    fail_to_save(mounted, refused(2))
    assert len(list((mounted.path / ".nacosfs" / "unsaved").iterdir())) == 2


def test_a_kept_text_is_its_writers(space: Space, mount: Mounts, cache: Path) -> None:
    space.publish(CONFIG, "a: 0\n")
    mounted = mount_with(mount, space, cache, gid=WRITER, umask="0007")
    subprocess.run(["sh", "-c", 'printf "\\377" > "$1"', "sh", mounted.path / CONFIG], user=WRITER, group=WRITER,
                   extra_groups=[])
    entry, = (mounted.path / ".nacosfs" / "unsaved").iterdir()
    for path in (entry, entry / "yours", entry / "why"):
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o077) == (WRITER, WRITER, 0), path
    read = subprocess.run(["cat", entry / "yours"], user=WRITER, group=WRITER, extra_groups=[], capture_output=True)
    assert read.stdout == b"\xff"
    # On disk it is the daemon's, which is root here.
    assert (cache / entry.name / "yours").stat().st_uid == 0


@pytest.mark.parametrize("name", [".nacosfs", ".nacosfs/unsaved"])
def test_stays_where_it_is(space: Space, mount: Mounts, name: str) -> None:
    """Guards the only place where a failed save can be found: nobody moves it away, nor puts his own there."""
    mounted = mount(space.server, space.namespace, space.group)
    with pytest.raises(PermissionError):
        os.rename(mounted.path / name, mounted.path / ".hidden")
    fail_to_save(mounted, refused(1))
    assert kept_texts(mounted) == {refused(1)}
