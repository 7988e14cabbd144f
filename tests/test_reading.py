"""Reading configs: exact bytes, one version a reader, one fetch for all, and servers that hang or are away."""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
import os
import signal
import subprocess
import sys
import threading
import threading
import time
import urllib.parse
import urllib.request
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.mounts import Space
from harness.nacos_admin import NacosError
from harness.proxy import TcpProxy
from harness.waiting import wait_until

SOON = 2.5  # how long a change made elsewhere may take to show
TIMEOUT = 2  # of the mounts whose server hangs

# What does not depend on how a server is spoken to is tested with one.
one_generation = pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)


def lines_of(size):
    """Text of so many bytes in which no two lines are the same."""
    text = "".join(f"line {number} of many\n" for number in range(size // 16 + 1))
    return text[:size - 1].encode() + b"."


CONTENTS = {
    "json": b'{"a": [1, 2, {"b": null}], "c": "\\u00e4\\n"}\n',
    "number": b"42",
    "true": b"true",
    "null": b"null",
    "quoted": b'"text"',
    "byte": b"x",
    "no-final-newline": b"a: 1\nb: 2",
    "final-newlines": b"a: 1\n\n\n",
    "crlf": b"a=1\r\nb=2\r\n",
    "cr": b"a\rb\r",
    "leading-blanks": b"  \t\n  a: 1\n",
    "trailing-blanks": b"a: 1  \t \n ",
    "tabs": b"\ta\t\tb\t",
    "no-break-space": "\u00a0".encode(),
    "line-separators": "a\u0085b\u2028c\u2029d\u200be".encode(),
    "nul": b"a\0b\0",
    "escape": b"\x1b[31mred\x1b[0m",
    "controls": bytes(range(1, 32)) + b"\x7f",
    "bom": b"\xef\xbb\xbfa: 1\n",
    "emoji": "😀 👩‍👩‍👧‍👦 🇦🇶".encode(),
    "cjk": "配置中心\n設定センター\n".encode(),
    "markup": b"<a href='x'>&amp;&#10;%41+%2B</a>\\u0041\\n\\0",
    "no-character": "\ufffd\ufffe\uffff".encode(),
    "form": b"a=b&content=c&dataId=d;e=%zz",
    **{f"size-{size}": lines_of(size) for size in (4095, 4096, 4097, 131072, 131073, 1048576)},
}


@pytest.fixture
def mounted(space, mount):
    return mount(space.server, space.namespace, space.group, log="debug")


@pytest.fixture
def proxied(space, mount):
    """(path, proxy, mount) of a group whose server can be made to hang and to go away."""
    with TcpProxy(space.server.port) as proxy:
        mounted = mount(space.server, space.namespace, space.group, port=proxy.port, timeout=TIMEOUT, log="debug")
        yield mounted.path, proxy, mounted
        proxy.resume()


def error_of(function, *arguments):
    """(errno or 0, seconds that it took)"""
    started = time.monotonic()
    try:
        function(*arguments)
    except OSError as error:
        return error.errno, time.monotonic() - started
    return 0, time.monotonic() - started


# ---------------------------------------------------------------- exact bytes


def test_reading_is_byte_exact(space, mounted):
    stored = {}
    for name, content in CONTENTS.items():
        with contextlib.suppress(NacosError, TimeoutError):
            space.publish(name, content)
            stored[name] = content
    assert len(stored) >= len(CONTENTS) - 3, "the server refused too many"
    for name, content in stored.items():
        assert (mounted.path / name).stat().st_size == len(content), name
        assert (mounted.path / name).read_bytes() == content, name
    assert sorted(os.listdir(mounted.path)) == sorted(stored)


def test_reading_9_megabytes(nacos, mount):
    content = b"".join(b"block %d\n" % number * 1000 for number in range(900_000 // 1000))[:9_000_000]
    group = f"G{uuid.uuid4().hex[:12]}"
    space = Space(nacos, "public", group)
    import_config(space, "large.txt", content)
    try:
        path = mount(nacos, "public", group).path
        assert (path / "large.txt").read_bytes() == content
        assert (path / "large.txt").stat().st_size == len(content)
        with (path / "large.txt").open("rb", buffering=0) as file:
            assert file.seek(-10, os.SEEK_END) == len(content) - 10
            assert file.read() == content[-10:]
    finally:
        space.delete("large.txt")


def import_config(space, data_id, content):
    """Stores what is too large for a form: packed, in an upload."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{space.group}/{data_id}", content)
        archive.writestr(".metadata.yml", f"metadata:\n- dataId: {data_id}\n  group: {space.group}\n  type: text\n")
    boundary = uuid.uuid4().hex
    body = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n'
            f"Content-Type: application/zip\r\n\r\n").encode() + packed.getvalue() + f"\r\n--{boundary}--\r\n".encode()
    api, names = {"2.2.4": ("/v1/cs/configs?import=true", ("namespace", "tenant")),
                  "3.1.0": ("/v3/admin/cs/config/import?", ("namespaceId",))}[space.server.generation]
    namespace = space.server.admin.namespace_id(space.namespace)
    query = urllib.parse.urlencode({**{name: namespace for name in names}, "policy": "OVERWRITE"})
    request = urllib.request.Request(f"{space.server.url}{api}&{query}", body, method="POST", headers={
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Authorization": f"Bearer {space.server.admin.login()}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert b'"succCount":1' in answer.read()
    wait_until(lambda: space.get(data_id) == content, 15, "the import")


def test_reading_at_any_offset(space, mounted):
    content = lines_of(300_000)
    space.publish("a.txt", content)
    descriptor = os.open(mounted.path / "a.txt", os.O_RDONLY)
    try:
        for offset in (0, 1, 4095, 4096, 131_071, 131_072, 299_999, 300_000, 300_001, 10_000_000):
            for size in (1, 4096, 131_072, 1_000_000):
                assert os.pread(descriptor, size, offset) == content[offset:offset + size]
    finally:
        os.close(descriptor)


@one_generation
def test_reading_through_a_private_mapping(space, mounted):
    space.publish("a.txt", lines_of(10_000))

    def mapped():
        with (mounted.path / "a.txt").open("rb") as file:
            with mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapping:
                return mapping[:]

    assert mapped() == lines_of(10_000)
    space.publish("a.txt", lines_of(9_000).upper())
    wait_until(lambda: mapped() == lines_of(9_000).upper(), SOON, "the new content")


# ---------------------------------------------------------------- one version


@pytest.mark.parametrize("size", [100_000, 500_000])
def test_reading_stays_with_the_version_of_its_open(space, mounted, size):
    """Also where the new one is shorter or longer."""
    old, new = lines_of(300_000), lines_of(size).upper()
    space.publish("a.txt", old)
    with (mounted.path / "a.txt").open("rb", buffering=0) as reader:
        begin = reader.read(1000)
        space.publish("a.txt", new)
        wait_until(lambda: (mounted.path / "a.txt").read_bytes() == new, SOON, "the new content")
        assert begin + reader.readall() == old
        assert reader.seek(0) == 0 and reader.readall() == old
    assert (mounted.path / "a.txt").stat().st_size == size


def test_reading_goes_on_when_the_config_is_removed(space, mounted):
    space.publish("a.txt", "one")
    with (mounted.path / "a.txt").open("rb", buffering=0) as reader:
        space.delete("a.txt")
        wait_until(lambda: not (mounted.path / "a.txt").exists(), SOON, "the removal")
        assert reader.read() == b"one"


@one_generation
def test_reading_never_mixes_versions(space, mounted):
    """Readers that open and read all the time, while the content changes."""
    versions = [(letter * 200_000).encode() for letter in "abcdef"]
    space.publish("a.txt", versions[0])
    ended = threading.Event()

    def read_often():
        seen = set()
        while not ended.is_set():
            content = (mounted.path / "a.txt").read_bytes()
            assert len(content) == 200_000
            seen.add(content[:1] if content == content[:1] * 200_000 else b"mixture")
        return seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read_often) for _ in range(4)]
        try:
            for version in versions[1:]:
                space.publish("a.txt", version)
                time.sleep(0.3)
            wait_until(lambda: (mounted.path / "a.txt").read_bytes() == versions[-1], SOON, "the last content")
        finally:
            ended.set()
        seen = set().union(*(reader.result() for reader in readers))
    assert b"mixture" not in seen and len(seen) > 1


# ---------------------------------------------------------------- as few requests as can be


def test_reading_by_many_at_once_fetches_once(space, proxied):
    path, proxy, mounted = proxied
    space.publish("a.txt", lines_of(100_000))
    before = mounted.server_request_count()
    proxy.stall()
    with ThreadPoolExecutor(32) as pool:
        readers = [pool.submit((path / "a.txt").read_bytes) for _ in range(32)]
        time.sleep(0.3)
        proxy.resume()
        assert {reader.result() for reader in readers} == {lines_of(100_000)}
    assert mounted.server_request_count() == before + 1, mounted.server_requests()


def kernel_requests(mounted, action):
    """What the kernel asks for when it is done for the second time."""
    action()
    before = mounted.request_counts()
    action()
    return dict(mounted.request_counts() - before)


@pytest.mark.parametrize("call, wanted", [
    ("stat", {}),
    ("probe", {}),
    ("read", {"open": 1, "read": 1, "release": 1}),
])
def test_reading_warm_makes_few_requests(space, mounted, call, wanted):
    space.publish("a.txt", "one")

    def read():
        descriptor = os.open(mounted.path / "a.txt", os.O_RDONLY)
        assert os.read(descriptor, 4096) == b"one"
        os.close(descriptor)

    action = {"stat": lambda: os.stat(mounted.path / "a.txt"), "probe": lambda: os.path.exists(mounted.path / "none"),
              "read": read}[call]
    # What the kernel knows is good for a second, which may end in between; a release comes a little later.
    counts = [kernel_requests(mounted, action) for _ in range(5)]
    assert wanted in counts or {**wanted, "release": 2} in counts, counts


def test_reading_warm_asks_no_server(space, mounted):
    space.publish("a.txt", "one")

    def server_requests():
        (mounted.path / "a.txt").read_bytes()
        before = mounted.server_request_count()
        for _ in range(20):
            assert (mounted.path / "a.txt").read_bytes() == b"one"
            assert not (mounted.path / "none").exists()
        return mounted.server_request_count() - before

    (mounted.path / "none").exists()
    assert min(server_requests() for _ in range(5)) == 0


# ---------------------------------------------------------------- a server that hangs


def test_reading_from_a_hung_server_ends_in_time(space, proxied):
    path, proxy, mounted = proxied
    space.publish("new.txt", "one")
    proxy.stall()
    error, took = error_of((path / "new.txt").read_bytes)
    assert error == errno.ETIMEDOUT and took < TIMEOUT + 1
    proxy.resume()
    assert (path / "new.txt").read_bytes() == b"one"


@one_generation
@pytest.mark.parametrize("wait", [0, 1.2], ids=["fresh", "stale"])
def test_reading_what_was_read_before_from_a_hung_server(space, proxied, wait):
    path, proxy, _ = proxied
    space.publish("a.txt", "one")
    assert (path / "a.txt").read_bytes() == b"one"
    proxy.stall()
    time.sleep(wait)
    started = time.monotonic()
    assert (path / "a.txt").read_bytes() == b"one"
    assert time.monotonic() - started < (TIMEOUT + 1 if wait else 0.5)
    # Having found out that the server hangs, it does not wait for it every time.
    started = time.monotonic()
    assert (path / "a.txt").read_bytes() == b"one"
    assert time.monotonic() - started < 0.5


@one_generation
def test_reading_goes_on_while_another_is_stuck(space, mount):
    """In other directories by name; in the same one by descriptor, where names have to wait a little."""
    space.publish("a.txt", "one")
    space.publish("b.txt", "two")
    space.server.admin.publish(space.namespace, "OTHER", "stuck.txt", "three")
    with TcpProxy(space.server.port) as proxy, ThreadPoolExecutor(1) as pool:
        path = mount(space.server, space.namespace, port=proxy.port, timeout=TIMEOUT).path
        other = path / "OTHER"
        assert not (other / "none").exists()
        with (path / space.group / "b.txt").open("rb", buffering=0) as opened:
            assert (path / space.group / "a.txt").read_bytes() == b"one"
            proxy.stall()
            stuck = pool.submit(error_of, (other / "stuck.txt").read_bytes)
            started = time.monotonic()
            assert (path / space.group / "a.txt").read_bytes() == b"one"
            assert opened.read() == b"two"
            assert time.monotonic() - started < 0.5
            assert not stuck.done()
            assert stuck.result()[0] == errno.ETIMEDOUT and stuck.result()[1] < TIMEOUT + 1
        proxy.resume()
        assert (other / "stuck.txt").read_bytes() == b"three"


@one_generation
def test_reading_beside_a_stuck_name_of_the_same_directory(space, proxied):
    path, proxy, _ = proxied
    space.publish("a.txt", "one")
    space.publish("stuck.txt", "two")
    assert (path / "a.txt").read_bytes() == b"one"
    with ThreadPoolExecutor(1) as pool:
        proxy.stall()
        stuck = pool.submit(error_of, (path / "stuck.txt").read_bytes)
        for _ in range(10):
            started = time.monotonic()
            assert (path / "a.txt").read_bytes() == b"one"
            assert time.monotonic() - started < TIMEOUT + 1
            time.sleep(0.1)
        assert stuck.result()[0] == errno.ETIMEDOUT


@one_generation
def test_reading_by_very_many_from_a_hung_server_does_not_block_others(space, mount):
    """More readers are stuck than a daemon has threads at first."""
    space.publish("a.txt", "one")
    space.server.admin.publish(space.namespace, "OTHER", "stuck.txt", "three")
    with TcpProxy(space.server.port) as proxy, ThreadPoolExecutor(64) as pool:
        path = mount(space.server, space.namespace, port=proxy.port, timeout=TIMEOUT).path
        (path / "OTHER").stat()
        opened = os.open(path / "OTHER" / "stuck.txt", os.O_RDONLY)
        os.close(opened)
        assert (path / space.group / "a.txt").read_bytes() == b"one"
        descriptor = os.open(path / space.group / "a.txt", os.O_RDONLY)
        time.sleep(1.1)  # what was fetched is fresh no more
        proxy.stall()
        stuck = [pool.submit((path / "OTHER" / f"none-{number % 40}").exists) for number in range(64)]
        time.sleep(0.2)
        started = time.monotonic()
        assert os.pread(descriptor, 100, 0) == b"one"
        assert time.monotonic() - started < 0.5
        os.close(descriptor)
        proxy.resume()
        for each in stuck:
            with contextlib.suppress(OSError):
                each.result()


@one_generation
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("command", ["cat", "ls"])
def test_reading_from_a_hung_server_can_be_interrupted(space, mount, command, end):
    space.publish("a.txt", "one")
    with TcpProxy(space.server.port) as proxy:
        path = mount(space.server, space.namespace, space.group, port=proxy.port, timeout=30).path
        proxy.stall()
        process = subprocess.Popen([command, path / "a.txt" if command == "cat" else path],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: is_in_kernel(process.pid), 5, "the reader to wait")
        process.send_signal(end)
        started = time.monotonic()
        assert process.wait(5) == -end
        assert time.monotonic() - started < 1
        proxy.resume()
        assert (path / "a.txt").read_bytes() == b"one"


def is_in_kernel(pid):
    """Does the process wait for an answer of a file system?"""
    return b"fuse" in Path(f"/proc/{pid}/stack").read_bytes()


@one_generation
def test_reading_from_a_hung_server_is_not_disturbed_by_harmless_signals(space, proxied):
    """A child that ends, or a window that changes its size, is no reason to give up."""
    path, proxy, _ = proxied
    space.publish("a.txt", "one")
    proxy.stall()
    script = ("import os, signal, sys\n"
              "signal.signal(signal.SIGUSR1, lambda *_: None)\n"
              "signal.siginterrupt(signal.SIGUSR1, False)\n"
              "print('ready', flush=True)\n"
              "sys.stdout.write(open(sys.argv[1]).read())\n")
    process = subprocess.Popen([sys.executable, "-c", script, path / "a.txt"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    wait_until(lambda: is_in_kernel(process.pid), 5, "the reader to wait")
    for harmless in (signal.SIGWINCH, signal.SIGCHLD, signal.SIGUSR1):
        process.send_signal(harmless)
        time.sleep(0.1)
    proxy.resume()
    assert process.communicate(timeout=10)[0] == "one"
    assert process.returncode == 0


# ---------------------------------------------------------------- a server that is away


@one_generation
def test_reading_what_was_read_before_while_the_server_is_away(space, proxied):
    path, proxy, mounted = proxied
    space.publish("a.txt", "one")
    space.publish("b.txt", "two")
    assert (path / "a.txt").read_bytes() == b"one"
    proxy.refuse()
    for _ in range(4):
        started = time.monotonic()
        assert (path / "a.txt").read_bytes() == b"one"
        assert (path / "a.txt").stat().st_size == 3
        assert time.monotonic() - started < 1
        time.sleep(0.5)
    error, took = error_of((path / "b.txt").read_bytes)
    assert error == errno.EHOSTUNREACH and took < 1
    assert "last version known" in mounted.log_text()
    space.publish("a.txt", "three")
    proxy.resume()
    wait_until(lambda: (path / "a.txt").read_bytes() == b"three", 5, "the content after the outage")
    assert (path / "b.txt").read_bytes() == b"two"


@one_generation
def test_reading_survives_broken_connections(space, proxied):
    path, proxy, _ = proxied
    for number in range(4):
        space.publish("a.txt", f"content {number}")
        proxy.cut()
        wait_until(lambda: (path / "a.txt").read_text() == f"content {number}", SOON, "the new content")
        (path / f"none-{number}").exists()


def test_reading_goes_on_when_tokens_expire(own_nacos, mount):
    server = own_nacos("2.2.4", {"nacos.core.auth.plugin.nacos.token.expire.seconds": "3"})
    space = Space(server, "test-tokens")
    space.publish("a.txt", "one")
    mounted = mount(server, space.namespace, space.group, timeout=5, log="debug")
    ended = time.monotonic() + 5
    number = 0
    while time.monotonic() < ended:
        number += 1
        space.publish("a.txt", str(number))
        wait_until(lambda: (mounted.path / "a.txt").read_text() == str(number), SOON, "the new content")
        time.sleep(0.2)
    assert 1 < mounted.server_request_count("POST") < 8


def test_reading_a_name_that_was_missed_before(space, mount):
    """Whatever hears first of a new config, the first listing or the server's word: it is there for everybody."""
    with ThreadPoolExecutor(1) as pool:
        for name in [f"late-{i}.txt" for i in range(5)]:
            mounted = mount(space.server, space.namespace, space.group)
            assert not (mounted.path / name).exists()
            publishing = pool.submit(space.publish, name, name)
            # The database shows it before the node tells anybody.
            while name not in [row.data_id for row in space.server.admin.list(space.namespace, space.group)]:
                pass
            assert name in os.listdir(mounted.path)
            publishing.result()
            wait_until((mounted.path / name).exists, what=f"{name} to be there")
            assert (mounted.path / name).read_text() == name
            mounted.unmount()
