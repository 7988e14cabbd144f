"""The official Nacos clients for Java and Go, with their encryption, as programs that tests talk to.

They are fetched and built once, outside the tree, where the servers' jars are too (NACOSFS_CACHE).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import pytest

from harness.servers import NacosServer
from kms.emulator import KEY, Emulator

HERE = Path(__file__).resolve().parent
FETCH_TIMEOUT = 280

Properties = dict[str, object]


# ---------------------------------------------------------------- fetching and building


def cached(name: str, sources: list[Path], make: Callable[[Path], None]) -> Path:
    """The folder that make() has filled, from those sources, now or in an earlier run."""
    base = os.environ.get("NACOSFS_CACHE") or \
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nacosfs"
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    root = Path(base) / "nacos-clients" / name
    folder = root / digest
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = root / "partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder


def run(*command: object, **options: object) -> None:
    subprocess.run([str(word) for word in command], check=True, timeout=FETCH_TIMEOUT, stdin=subprocess.DEVNULL,
                   **options)  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def java_class_path() -> str:
    """Of the official client with its MSE extension, and of our driver for it."""
    pom, driver = HERE / "java/pom.xml", HERE / "java/Mse.java"

    def make(folder: Path) -> None:
        run("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}")
        run("javac", "-proc:none", "-cp", f"{folder / 'lib'}/*", "-d", folder / "classes", driver)

    folder = cached("java", [pom, driver], make)
    return f"{folder / 'classes'}:{folder / 'lib'}/*"


@pytest.fixture(scope="session")
def go_program() -> Path:
    """The driver, with the official client linked in."""
    sources = [HERE / "go" / name for name in ("main.go", "go.mod", "go.sum")]

    def make(folder: Path) -> None:
        settings = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false",
                    "GOCACHE": str(folder / "build"), "GOMODCACHE": str(folder.parent / "modules")}
        run("go", "build", "-trimpath", "-ldflags=-s -w", "-o", folder / "client", ".", cwd=HERE / "go", env=settings)
        shutil.rmtree(folder / "build")

    return cached("go", sources, make) / "client"


# ---------------------------------------------------------------- talking


class Refused(Exception):
    """What the client says when it fails."""


@dataclass
class Client:
    """A running client of one server and one key service. It answers each command line with a line."""

    command: list[str]
    errors: Path = field(default_factory=lambda: Path(tempfile.mkstemp(prefix="client-errors-")[1]))

    def __enter__(self) -> Client:
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.unlink()

    def ask(self, *words: str) -> list[str]:
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            raise Refused(f"{self.command[0]} ended: {self.errors.read_text(errors='replace')[-3000:]}")
        if answer[0] != "ok":
            raise Refused(" ".join(answer))
        return answer[1:]

    def put(self, data_id: str, text: bytes) -> None:
        self.ask("put", data_id, text.hex())

    def get(self, data_id: str) -> bytes:
        return bytes.fromhex(self.ask("get", data_id)[0])

    def seal(self, data_id: str, text: bytes) -> tuple[str, str]:
        """Java only: content and data key ("-": none) that it would send to a server."""
        content, data_key = self.ask("seal", data_id, text.hex())
        return content, data_key

    def open(self, data_id: str, content: str, data_key: str) -> bytes:
        """Java only: what it makes of them."""
        return bytes.fromhex(self.ask("open", data_id, content, data_key)[0])


def words_of(properties: Properties) -> list[str]:
    return [f"{name}={value}" for name, value in properties.items()]


def java_client(class_path: str, folder: Path, properties: Properties) -> Client:
    return Client(["java", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", f"-Duser.home={folder}",
                   f"-DJM.LOG.PATH={folder}", "-cp", class_path, "Mse", *words_of(properties)])


def java_key_service(emulator: Emulator, kind: str) -> Properties:
    if kind == "v1":
        return {"kmsEndpoint": emulator.gateway_host, "keyId": KEY, "kms_region_id": "cn-hangzhou",
                "kmsAccessKey": emulator.account.id, "kmsSecretKey": emulator.account.secret}
    return {"kmsEndpoint": emulator.dedicated_host, "keyId": KEY, "kmsClientKeyFilePath": emulator.client_key.file,
            "kmsPasswordKey": emulator.client_key.password_file.read_text().strip(),
            "kmsCaFilePath": emulator.authority.ca_file}


def java_server(server: NacosServer, namespace: str, group: str) -> Properties:
    return {"serverAddr": f"{server.host}:{server.port}", "namespace": namespace, "group": group,
            "username": "nacos", "password": "nacos"}


def go_client(program: Path, folder: Path, properties: Properties) -> Client:
    return Client([str(program), f"folder={folder}", *words_of(properties)])


def go_key_service(emulator: Emulator, kind: str) -> Properties:
    common = {"kms": kind, "keyId": KEY, "kmsCaFile": emulator.authority.ca_file}
    if kind == "v1":
        return {**common, "kmsEndpoint": emulator.gateway_host, "accessKey": emulator.account.id,
                "secretKey": emulator.account.secret}
    return {**common, "kmsEndpoint": emulator.dedicated_host, "kmsClientKeyFile": emulator.client_key.file,
            "kmsPasswordFile": emulator.client_key.password_file}


def go_server(server: NacosServer, namespace: str, group: str) -> Properties:
    return {"host": server.host, "port": server.port, "namespace": namespace, "group": group,
            "username": "nacos", "password": "nacos"}
