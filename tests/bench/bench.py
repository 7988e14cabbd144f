#!/usr/bin/env python3
"""Measures a mount against the bare calls, side by side in one run.

    tests/bench/bench.py [--configs 10000] [GENERATION...]

For each generation: the requests of the kernel for a warm stat, the probe of an absent name, a warm open+read+close (with
the page cache and without) and `ls -l` of 1,000 configs (exact), the time of a warm open+read+close against one on tmpfs, the time from a publish
to the new bytes and to the inotify event, time and memory of a first full listing against the same HTTP calls made directly, the time of a save against
a bare publish and one read, and that of reading an encrypted config against a plain one.
Uses the servers of NACOSFS_TEST_SERVERS, or starts its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.inotify import Inotify  # noqa: E402
from harness.mounts import Mount, Mounts, run_nacosfs  # noqa: E402
from harness.nacos_admin import NacosError  # noqa: E402
from harness.servers import NacosServer  # noqa: E402
from harness.waiting import wait_until  # noqa: E402

SMALL = 1000
PAGE_SIZE = 5000
BODY = "".join(f"key{i}: value {i}\n" for i in range(50))


@contextlib.contextmanager
def running(generation: str, directory: Path) -> Iterator[NacosServer]:
    kept = os.environ.get("NACOSFS_TEST_SERVERS")
    if kept:
        yield NacosServer.from_description(json.loads(Path(kept).read_text())[generation])
        return
    server = NacosServer.start(generation, directory / generation)
    try:
        yield server
    finally:
        server.stop()


def fill(server: NacosServer, namespace: str, count: int) -> None:
    with contextlib.suppress(NacosError):  # it is there from the last time
        server.admin.create_namespace(namespace)
    present = {(entry.group, entry.data_id) for entry in server.admin.list(namespace)}
    wanted = [("SMALL", f"app-{i:05}.yaml") for i in range(SMALL)]
    wanted += [("LARGE", f"app-{i:05}.yaml") for i in range(count)]
    missing = [key for key in wanted if key not in present]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: server.admin.publish(namespace, key[0], key[1], BODY, type="yaml", wait=False), missing))


def timed(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def counted(mounted: Mount, action: Callable[[], object]) -> tuple[Counter[str], int]:
    """The kernel's and the HTTP requests that an action makes."""
    kernel, http = mounted.request_counts(), mounted.server_request_count()
    action()
    time.sleep(0.05)  # RELEASE comes on its own
    return mounted.request_counts() - kernel, mounted.server_request_count() - http


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def list_directly(server: NacosServer, namespace: str, group: str, count: int) -> None:
    """The pages that hold `count` names, fetched and not looked at."""
    wide = server.generation.startswith("3")
    path = "/v3/admin/cs/config/list" if wide else "/v1/cs/configs"
    names = ("namespaceId", "groupName") if wide else ("tenant", "group")
    for number in range(1, -(-count // PAGE_SIZE) + 1):
        server.admin._call("GET", path, {"search": "accurate", names[0]: namespace, names[1]: group, "dataId": "",
                                         "pageNo": number, "pageSize": PAGE_SIZE})


def show(what: str, requests: tuple[Counter[str], int]) -> None:
    kernel, http = requests
    print(f"  {what}: kernel {dict(kernel) or 0}, HTTP {http}")


def measure(server: NacosServer, mounts: Mounts, namespace: str, count: int) -> None:
    options = {"log": "debug", "cache_dir": "none"}
    mounted = mounts(server, namespace, options=options)
    file = mounted.path / "SMALL" / "app-00000.yaml"
    file.read_bytes()
    os.stat(file)  # a read makes the kernel forget the access time: the first stat after one asks
    show("warm stat", counted(mounted, lambda: os.stat(file)))
    show("warm open+read+close", counted(mounted, lambda: read_once(file)))
    for name in ("first ls -l of 1,000", "second ls -l of 1,000"):
        show(name, counted(mounted, lambda: ls_long(mounted.path / "SMALL")))
    without = mounts(server, namespace, options={**options, "noxattr": True})
    ls_long(without.path / "SMALL")
    show("warm ls -l of 1,000 with noxattr", counted(without, lambda: ls_long(without.path / "SMALL")))

    fresh = mounts(server, namespace, options=options)
    before = resident_kib(fresh.pid)
    through = timed(lambda: os.listdir(fresh.path / "LARGE"))
    directly = min(timed(lambda: list_directly(server, namespace, "LARGE", count)) for _ in range(2))
    print(f"  first listing of {len(os.listdir(fresh.path / 'LARGE'))} configs: {through:.2f} s, "
          f"bare HTTP calls {directly:.2f} s, ratio {through / directly:.2f}; "
          f"{fresh.server_request_count('list') + fresh.server_request_count('configs')} requests; "
          f"daemon {before} -> {resident_kib(fresh.pid)} KiB")


def is_told(mounted: Mount) -> bool:
    return json.loads((mounted.path / ".nacosfs" / "status").read_text())["watch"]["live"]


WAYS = {"default": {}, "kernel_cache": {"kernel_cache": True}, "ro,kernel_cache": {"ro": True, "kernel_cache": True}}


def measure_warm(server: NacosServer, mounts: Mounts, namespace: str) -> None:
    """What is left to ask when changes are told, and what it takes, side by side with tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        files = {"tmpfs": Path(directory) / "app-00000.yaml"}
        files["tmpfs"].write_text(BODY)
        for name, options in WAYS.items():
            mounted = mounts(server, namespace, options={"cache_dir": "none", "noxattr": True, **options})
            wait_until(lambda: is_told(mounted), 15, "the watch")
            group = mounted.path / "SMALL"
            files[name] = group / "app-00000.yaml"
            actions = {"stat": lambda: os.stat(files[name]), "absent name": lambda: os.path.exists(group / "none.yaml"),
                       "open+read+close": lambda: read_once(files[name]), "ls -l of 1,000": lambda: ls_long(group)}
            for what, action in actions.items():
                action()
                action()
                if what == "open+read+close":
                    time.sleep(0.05)
                show(f"{name}: {what}", counted(mounted, action))
        times: dict[str, list[float]] = {name: [] for name in files}
        for _ in range(20):
            for name, file in files.items():
                times[name] += [timed(lambda: read_once(file)) for _ in range(100)]
    medians = {name: sorted(seen)[len(seen) // 2] * 1e6 for name, seen in times.items()}
    print("  open+read+close of 1 KB: " + ", ".join(
        f"{name} {us:.1f} us ({us / medians['tmpfs']:.1f} x)" for name, us in medians.items()))


def measure_lag(server: NacosServer, mounts: Mounts, namespace: str, rounds: int = 60) -> None:
    """From the answer of a publish to the new bytes (read again and again), and to the event."""
    mounted = mounts(server, namespace, "LAG", options={"cache_dir": "none"})
    wait_until(lambda: is_told(mounted), 15, "the watch")
    server.admin.publish(namespace, "LAG", "lag.txt", "start")
    file = mounted.path / "lag.txt"
    wait_until(file.exists, 15, "the file")
    seen: dict[str, list[float]] = {"new bytes": [], "event": []}
    with Inotify(mounted.path, ["CLOSE_WRITE"]) as watch:
        for number in range(rounds):
            kind = "event" if number % 2 else "new bytes"
            file.read_bytes()
            watch.taken(0.05)
            server.admin.publish(namespace, "LAG", "lag.txt", f"number {number}", wait=False)
            start = time.monotonic()
            if kind == "event":
                watch.wait_for("lag.txt", "CLOSE_WRITE")
                seen[kind].append(watch.times[0] - start)
            else:
                wait_until(lambda: file.read_text() == f"number {number}", 10, "the new bytes", 0.0002)
                seen[kind].append(time.monotonic() - start)
    print("  from the answer of a publish to: " + "; ".join(
        f"{kind} p50 {sorted(lags)[len(lags) // 2] * 1000:.1f} ms, p99 {sorted(lags)[-1 - len(lags) // 100] * 1000:.1f} ms"
        for kind, lags in seen.items()))


def median_ms(action: Callable[[int], object], rounds: int) -> float:
    return sorted(timed(lambda: action(number)) for number in range(rounds))[rounds // 2] * 1000


def measure_saves(server: NacosServer, mounts: Mounts, namespace: str) -> None:
    """A save through the mount against a bare publish and one read, in turn."""
    mounted = mounts(server, namespace, "SAVES", options={"cache_dir": "none"})
    file = mounted.path / "save.yaml"
    file.write_text("number: -1\n")

    def publish_and_read(number: int) -> None:
        server.admin.publish(namespace, "SAVES", "bare.yaml", f"number: {number}\n", type="yaml", wait=False)
        server.admin.detail(namespace, "SAVES", "bare.yaml")

    publish_and_read(-1)
    saved = median_ms(lambda number: file.write_text(f"number: {number}\n"), 60)
    bare = median_ms(publish_and_read, 60)
    print(f"  a save: {saved:.1f} ms, bare publish and one read: {bare:.1f} ms, ratio {saved / bare:.2f}")


def measure_decryption(server: NacosServer, mounts: Mounts, namespace: str) -> None:
    """Opening and reading a config of 10 KB that is stored encrypted, its data key known, against a plain one."""
    keyring = mounts.new_directory() / "keyring"
    run_nacosfs("--new-keyring", keyring)
    mounted = mounts(server, namespace, "SAVES", options={"cache_dir": "none", "kms": "keyring", "keyring": keyring})
    plain, secret = mounted.path / "plain.txt", mounted.path / "cipher-kms-aes-256-secret.txt"
    for file in (plain, secret):
        file.write_bytes(b"0123456789abcde\n" * 640)
    times: dict[Path, list[float]] = {plain: [], secret: []}
    for _ in range(300):
        for file, seen in times.items():
            seen.append(timed(lambda: read_once(file)))
    plain_us, secret_us = (sorted(times[file])[150] * 1e6 for file in (plain, secret))
    print(f"  open+read+close of 10 KB: plain {plain_us:.0f} us, encrypted {secret_us:.0f} us, ratio {secret_us / plain_us:.2f}")


def read_once(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    os.read(descriptor, 65536)
    os.close(descriptor)


def ls_long(directory: Path) -> None:
    subprocess.run(["ls", "-l", directory], stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=10000)
    parser.add_argument("generations", nargs="*", default=["2.2.4", "3.1.0"])
    arguments = parser.parse_args()
    for generation in arguments.generations:
        mounts = Mounts()
        with tempfile.TemporaryDirectory() as directory, running(generation, Path(directory)) as server:
            try:
                print(f"Nacos {server.generation}")
                fill(server, "bench", arguments.configs)
                measure_warm(server, mounts, "bench")
                measure_lag(server, mounts, "bench")
                measure(server, mounts, "bench", arguments.configs)
                measure_saves(server, mounts, "bench")
                if server.generation.startswith("3"):
                    measure_decryption(server, mounts, "bench")
            finally:
                mounts.close()


if __name__ == "__main__":
    main()
