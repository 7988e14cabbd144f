#!/usr/bin/env python3
"""Measures the wire: queries of our gRPC, our HTTP and the official Java client, side by side in one run.

    tests/bench/transport.py [--calls 3000] [--rounds 3] [--watched 10000] [--idle-seconds 60] [GENERATION...]

For each generation: requests per second, latency (p50, p99) and processor time of a query of a config of 1 KB, with 1,
8 and 32 in flight; the median of the rounds, which take turns. Over HTTP servers before 2.3 are asked for the config
with its metadata, as the mount does. Then processor time and memory of an idle mount that watches many configs.
Uses the servers of NACOSFS_TEST_SERVERS, or starts its own. Needs a build (make), and Maven for the Java client.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import fill, resident_kib, running  # noqa: E402
from harness.mounts import PASSWORD, PROJECT, Mounts  # noqa: E402
from harness.nacos_admin import NacosError  # noqa: E402
from harness.servers import NacosServer  # noqa: E402
from harness.waiting import wait_until  # noqa: E402
from kms.clients import cached, run  # noqa: E402

HERE = Path(__file__).resolve().parent
NAMESPACE, GROUP, DATA_ID = "bench", "QUERY", "app.properties"
BODY = "".join(f"key{i:02}: the value of number {i:02}\n" for i in range(32))
IN_FLIGHT = (1, 8, 32)

Result = tuple[float, ...]  # requests/s, p50 in us, p99 in us, processor time in us


def build_query(directory: Path) -> Path:
    program = directory / "query"
    run("make", "-s", "build/libnacosfs.a", cwd=PROJECT, stdout=subprocess.DEVNULL)
    run("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_GNU_SOURCE", "-I.", "-o", program,
        HERE / "query.c", "build/libnacosfs.a", "-lcurl", "-lssl", "-lcrypto", "-lnghttp2", "-lcjson", cwd=PROJECT)
    return program


def build_java() -> str:
    pom, driver = PROJECT / "tests/kms/java/pom.xml", HERE / "Query.java"

    def make(folder: Path) -> None:
        run("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}",
            stdout=subprocess.DEVNULL)
        run("javac", "-proc:none", "-cp", f"{folder / 'lib'}/*", "-d", folder / "classes", driver)

    folder = cached("bench", [pom, driver], make)
    return f"{folder / 'classes'}:{folder / 'lib'}/*"


def result_of(command: list[object]) -> Result:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-2000:]}")
    return tuple(float(word) for word in done.stdout.split())


def measure_queries(server: NacosServer, mounts: Mounts, program: Path, class_path: str, calls: int, rounds: int) -> None:
    with contextlib.suppress(NacosError):  # it is there from the last time
        server.admin.create_namespace(NAMESPACE)
    server.admin.publish(NAMESPACE, GROUP, DATA_ID, BODY)
    password_file = mounts.password_file()
    home = mounts.new_directory()

    def ours(transport: str, in_flight: int) -> Result:
        return result_of([program, server.host, server.port, "nacos", password_file, NAMESPACE, GROUP, DATA_ID, transport,
                          in_flight, calls])

    def java(in_flight: int) -> Result:
        # Its own limit is 5 queries a second for each config.
        return result_of(["java", "-DlimitTime=1000000", f"-Duser.home={home}", f"-DJM.LOG.PATH={home}", "-cp", class_path,
                          "Query", f"{server.host}:{server.port}", "nacos", PASSWORD, NAMESPACE, GROUP, DATA_ID, in_flight,
                          calls])

    clients: dict[str, Callable[[int], Result]] = {
        "gRPC": lambda count: ours("grpc", count), "HTTP": lambda count: ours("http", count), "Java": java}
    for in_flight in IN_FLIGHT:
        results: dict[str, list[Result]] = {name: [] for name in clients}
        for _ in range(rounds):
            for name, query in clients.items():
                results[name].append(query(in_flight))
        for name, all_rounds in results.items():
            rate, p50, p99, processor = (sorted(column)[rounds // 2] for column in zip(*all_rounds))
            print(f"  {in_flight:2} in flight, {name}: {rate:5.0f}/s, p50 {p50 / 1000:6.2f} ms, p99 {p99 / 1000:6.2f} ms, "
                  f"processor {processor:4.0f} us", flush=True)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_idle(server: NacosServer, mounts: Mounts, count: int, seconds: int) -> None:
    fill(server, NAMESPACE, count)
    mounted = mounts(server, NAMESPACE, "LARGE", options={"cache_dir": "none", "timeout": 120})
    before = resident_kib(mounted.pid)
    started = time.monotonic()
    wait_until(lambda: "gRPC: connected" in mounted.log_text(), 20, "the connection")
    names = os.listdir(mounted.path)
    for name in names:
        (mounted.path / name).read_bytes()
    watched = time.monotonic() - started
    time.sleep(10)
    processor = processor_seconds(mounted.pid)
    time.sleep(seconds)
    processor = processor_seconds(mounted.pid) - processor
    print(f"  idle, {len(names)} configs read in {watched:.0f} s and watched: {100 * processor / seconds:.2f} % of a processor "
          f"over {seconds} s, memory {before} -> {resident_kib(mounted.pid)} KiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watched", type=int, default=10000)
    parser.add_argument("--idle-seconds", type=int, default=60)
    parser.add_argument("generations", nargs="*", default=["2.2.4", "3.1.0"])
    arguments = parser.parse_args()
    for generation in arguments.generations:
        mounts = Mounts()
        with tempfile.TemporaryDirectory() as directory, running(generation, Path(directory)) as server:
            try:
                print(f"Nacos {server.generation}", flush=True)
                measure_queries(server, mounts, build_query(Path(directory)), build_java(), arguments.calls,
                                arguments.rounds)
                if arguments.watched:
                    measure_idle(server, mounts, arguments.watched, arguments.idle_seconds)
            finally:
                mounts.close()


if __name__ == "__main__":
    main()
