"""Where the plain text of `cipher-` configs could be found by those who must not have it: the daemon's memory, core files, the
page cache, swap, logs, process lists, the cache directory, the server. A secret is planted, read and saved through the mount in
all formats, with each key service, and searched for.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.fault_proxy import FaultProxy, publishing
from harness.mounts import BINARY, Mount, Mounts, Space, force_unmount, run_nacosfs
from harness.servers import NacosServer
from harness.waiting import wait_until
from kms.emulator import Emulator
from test_cipher_kms import DIRECT, ENVELOPE, NAMES, emulator, options_of, vault  # noqa: F401

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


@pytest.fixture(params=["keyring", "v1", "v3"])
def key_options(request: pytest.FixtureRequest, emulator: Emulator, tmp_path: Path) -> dict[str, object]:  # noqa: F811
    if request.param != "keyring":
        return options_of(emulator, request.param)
    assert run_nacosfs("--new-keyring", tmp_path / "keyring").returncode == 0
    return {"kms": "keyring", "keyring": tmp_path / "keyring"}


def new_needle() -> bytes:
    """What can be in no other place."""
    return b"planted-" + os.urandom(12).hex().encode()


def memory_with(pid: int, needle: bytes) -> dict[str, set[str]]:
    """The mappings of a process that hold the bytes, each with its flags (as smaps names them)."""
    mappings: dict[str, set[str]] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            mapping = line
        elif line.startswith("VmFlags:"):
            mappings[mapping] = set(line.split()[1:])
    found = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for mapping, flags in mappings.items():
            start, end = (int(bound, 16) for bound in mapping.split()[0].split("-"))
            if "rd" not in flags or mapping.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            try:
                memory.seek(start)
                if needle in memory.read(end - start):
                    found[mapping] = flags
            except OSError:
                continue
    return found


@pytest.mark.slow  # under AddressSanitizer there are terabytes of mappings to search
def test_open_files_are_in_locked_memory_that_is_not_dumped(vault: Space, mount: Mounts,  # noqa: F811
                                                            key_options: dict[str, object]) -> None:
    mounted = mount(vault.server, vault.namespace, vault.group, options=key_options)
    for name in NAMES:
        needle = new_needle()
        (mounted.path / name).write_bytes(b"secret: " + needle + b"\n")
        with (mounted.path / name).open("rb") as stream, (mounted.path / name).open("ab") as draft:
            draft.write(b"more: " + needle + b"\n")
            draft.flush()
            assert needle in stream.read()
            found = memory_with(mounted.pid, needle)
            assert found, "the search would find nothing at all"
            assert [mapping for mapping, flags in found.items() if not {"lo", "dd"} <= flags] == []
    assert Path(f"/proc/{mounted.pid}/status").read_text().split("VmSwap:")[1].split()[0] == "0"


@pytest.mark.slow
def test_secret_is_nowhere_once_the_file_is_closed(vault: Space, mount: Mounts, tmp_path: Path,  # noqa: F811
                                                   key_options: dict[str, object]) -> None:
    needle, cache = new_needle(), tmp_path / "cache"
    with FaultProxy(vault.server.port) as proxy:
        mounted = mount(vault.server, vault.namespace, vault.group, port=proxy.port,
                        options={**key_options, "cache_dir": cache, "log": "debug", "transport": "http"})
        for name in NAMES:
            file = mounted.path / name
            file.write_bytes(b"secret: " + needle + b"\n")
            assert needle in file.read_bytes()
            subprocess.run(["sed", "-i", "s/^secret/password/", file], check=True)
            subprocess.run(["cp", file, mounted.path / f".{name}.swp"], check=True)
            (mounted.path / f".{name}.swp").unlink()
        assert needle in (mounted.path / DIRECT).read_bytes()
        # A failed save is kept in memory only, and gone when it is removed.
        proxy.spoil("500", publishing)
        with pytest.raises(OSError):
            (mounted.path / DIRECT).write_bytes(b"other: " + needle + b"\n")
        (kept,) = (mounted.path / ".nacosfs" / "unsaved").iterdir()
        for entry in list(kept.iterdir()):
            entry.unlink()
        kept.rmdir()
        wait_until(lambda: not memory_with(mounted.pid, needle), what=f"{needle!r} to be gone from memory")
        assert needle not in mounted.log_path.read_bytes()
        for page in ("cmdline", "environ", "comm", "mountinfo"):
            assert needle not in Path(f"/proc/{mounted.pid}/{page}").read_bytes()
        for path in [*cache.rglob("*"), *vault.server.dir.glob("logs/**/*")]:
            assert not path.is_file() or needle not in path.read_bytes(), f"the secret is in {path}"


# ---------------------------------------------------------------- core files


@contextmanager
def core_files(folder: Path) -> Iterator[None]:
    """Core files of all processes go there, while it lasts."""
    before = CORE_PATTERN.read_text()
    try:
        CORE_PATTERN.write_text(f"{folder}/core.%p\n")
    except OSError:
        pytest.skip("the place of core files can't be set here")
    try:
        yield
    finally:
        CORE_PATTERN.write_text(before)


def allow_core(pid: int) -> None:
    """As far as this container lets root do it; beyond that the process's own limit of 0 holds."""
    with suppress(PermissionError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def crash(mounts: Mounts, mounted: Mount, number: signal.Signals) -> None:
    mounts.mounts.remove(mounted)
    os.kill(mounted.pid, number)
    try:
        assert mounted.process.wait(20) == -number
    finally:
        force_unmount(mounted.path)


@pytest.mark.slow  # a sanitizer catches the signals
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
@pytest.mark.parametrize("state", ["open", "closed"])
def test_no_core_file(vault: Space, mount: Mounts, emulator: Emulator, tmp_path: Path,  # noqa: F811
                                                 state: str, number: signal.Signals) -> None:
    needle = new_needle()
    tmp_path.chmod(0o777)
    with core_files(tmp_path):
        # Any other process leaves one, with the secret.
        victim = subprocess.Popen([sys.executable, "-c", f"secret = {needle!r}; print(flush=True); input()"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        victim.stdout.readline()
        allow_core(victim.pid)
        victim.send_signal(number)
        assert victim.wait(20) == -number
        (control,) = tmp_path.glob("core.*")
        assert needle in control.read_bytes()
        control.unlink()

        mounted = mount(vault.server, vault.namespace, vault.group, options=options_of(emulator, "v1"))
        assert resource.prlimit(mounted.pid, resource.RLIMIT_CORE) == (0, 0)
        file = mounted.path / ENVELOPE
        file.write_bytes(b"secret: " + needle + b"\n")
        stream = file.open("rb")
        assert needle in stream.read()
        if state == "closed":
            stream.close()
        allow_core(mounted.pid)
        crash(mount, mounted, number)
        stream.close()
        assert list(tmp_path.glob("core.*")) == []


def test_the_same_user_can_not_look_into_the_daemon(tmp_path: Path) -> None:
    """Nor a debugger of that user; of root with all capabilities anything can be read."""
    without_ptrace = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]

    def look(pid: int) -> subprocess.CompletedProcess[bytes]:
        script = f"open('/proc/{pid}/mem', 'rb')"
        return subprocess.run([*without_ptrace, sys.executable, "-c", script], capture_output=True)

    # A daemon that waits for a server which does not answer, and another process.
    with socket.create_server(("127.0.0.1", 0)) as server:
        daemon = subprocess.Popen([*without_ptrace, BINARY, f"nacos://127.0.0.1:{server.getsockname()[1]}", tmp_path, "-f"])
        other = subprocess.Popen([*without_ptrace, "sleep", "60"])
        try:
            server.accept()
            wait_until(lambda: look(other.pid).returncode == 0, what="a look at another process")
            refused = look(daemon.pid)
            assert refused.returncode != 0 and b"PermissionError" in refused.stderr
        finally:
            daemon.kill()
            other.kill()
            daemon.wait()
            other.wait()


# ---------------------------------------------------------------- the page cache


def is_resident(mapping: mmap.mmap) -> bool:
    """Is the first page of the file in the page cache? Looking does not load it."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.c_ubyte()
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(1), ctypes.byref(answer)) == 0
    return bool(answer.value & 1)


@pytest.mark.parametrize("name", [ENVELOPE, DIRECT])
def test_page_cache(vault: Space, mount: Mounts, emulator: Emulator, name: str) -> None:  # noqa: F811
    """Reading does not go through it. Shared mappings are refused; private ones are gone from it with the file that was mapped."""
    mounted = mount(vault.server, vault.namespace, vault.group, options=options_of(emulator, "v1"))
    file = mounted.path / name
    file.write_bytes(b"secret: " + new_needle() + b"\n")

    def map_privately(descriptor: int) -> mmap.mmap:
        return mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)

    with file.open("rb") as watcher:
        watch = map_privately(watcher.fileno())
        assert file.read_bytes().startswith(b"secret: ")
        assert not is_resident(watch)
        with file.open("rb") as stream:
            with pytest.raises(OSError) as refused:
                mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            assert refused.value.errno == errno.ENODEV
            mapping = map_privately(stream.fileno())
            assert mapping[:8] == b"secret: "
            assert is_resident(watch), "a private mapping did not go through the page cache: nothing is tested here"
            mapping.close()
        wait_until(lambda: not is_resident(watch), what="the page to be dropped")
