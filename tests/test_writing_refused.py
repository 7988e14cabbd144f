"""Saves that can't be done: which errno says so, and what is on the server then."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.mounts import Mount, Mounts, Space
from harness.proxy import TcpProxy
from harness.saving import fails_with, open_for, write_all
from harness.servers import NacosServer
from harness.tools import CONFIG, METADATA, SAVED, SAVED_ONCE, START, UNTOUCHED, Left, Place
from harness.waiting import wait_until

LIMIT = 10 << 20  # of a text over gRPC
HTTP_LIMIT = 2 << 20  # of a text, and of its percent-encoded form


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
