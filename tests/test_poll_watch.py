"""The watch over HTTP long polls against real servers: what is changed elsewhere is told at once, and nothing is missed.

The client is a small program (tests/watch/poll_client.c) that calls nacos/ as the file system does.
"""

from __future__ import annotations

import hashlib
import os
import queue
import subprocess
import threading
import time
import uuid
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.proxy import TcpProxy
from harness.servers import GENERATIONS, NacosServer
from harness.signing_gateway import SigningGateway
from harness.waiting import wait_until
from kms.gateway import Account

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / (Path(os.environ.get("NACOSFS_BINARY", "build/nacosfs")).parent)
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
GROUP = "G"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class Client:
    """A running poll_client."""

    def __init__(self, program: Path, port: int, user: str, password_file: Path) -> None:
        self.log = ""
        self.process = subprocess.Popen([program, "127.0.0.1", str(port), user, password_file], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        self._threads = [threading.Thread(target=self._read, daemon=True),
                         threading.Thread(target=self._read_log, daemon=True)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.put(line.rstrip("\n"))

    def _read_log(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log += line

    def tell(self, *words: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()

    def wait(self, event: str, timeout: float = 15) -> float:
        """Waits until the event comes; what comes before it goes to `seen`. How long it took."""
        begun = time.monotonic()
        while True:
            try:
                line = self.events.get(timeout=max(0.01, begun + timeout - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no `{event}` within {timeout} s, but {self.seen[-10:]}\n{self.log[-2000:]}")
            self.seen.append(line)
            if line == event:
                return time.monotonic() - begun

    def is_watched(self, namespace: str, data_id: str) -> bool:
        self.tell("ask", namespace, GROUP, data_id)
        while True:
            line = self.events.get(timeout=15)
            if line.startswith("watched "):
                return line == "watched 1"
            self.seen.append(line)

    def wait_until_watched(self, namespace: str, data_id: str) -> None:
        wait_until(lambda: self.is_watched(namespace, data_id), timeout=15, what=f"{data_id} to be watched")

    def close(self) -> int:
        """Ends it. The milliseconds that took."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(timeout=30) == 0, self.log[-2000:]
        for thread in self._threads:
            thread.join()
        while not self.events.empty():
            self.seen.append(self.events.get())
        return int(self.seen[-1].removeprefix("freed "))


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("watch") / "poll_client"
    subprocess.run(["gcc", "-I.", "-D_GNU_SOURCE", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread",
                    *(SANITIZE if BUILD.name == "build-asan" else []), "-o", built, "tests/watch/poll_client.c",
                    BUILD / "libnacosfs.a", "-lcurl", "-lcrypto", "-lcjson"], cwd=ROOT, check=True)
    return built


@pytest.fixture(params=GENERATIONS)
def server(request: pytest.FixtureRequest, nacos_of: Callable[[str], NacosServer]) -> NacosServer:
    return nacos_of(request.param)


@pytest.fixture
def own_space(server: NacosServer) -> Iterator[str]:
    space = f"watch-{uuid.uuid4().hex[:12]}"
    server.admin.create_namespace(space)
    yield space
    server.admin.delete_all(space)
    server.admin.delete_namespace(space)


@pytest.fixture
def start(program: Path, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def start_one(port: int, user: str = "nacos", password: str = "nacos") -> Client:
        password_file = tmp_path / f"password-{len(clients)}"
        password_file.write_text(password)
        password_file.chmod(0o600)
        clients.append(Client(program, port, user, password_file))
        return clients[-1]

    yield start_one
    for client in clients:
        if client.process.poll() is None:
            client.process.kill()
            client.process.wait()


def test_changes_are_told(server: NacosServer, own_space: str, start: Callable[..., Client]) -> None:
    """Creation, change and removal, here and in the public namespace, each as soon as the node has it."""
    absent = f"public-{own_space}"
    server.admin.publish(own_space, GROUP, "app.yaml", "one")
    client = start(server.port)
    client.tell("watch", own_space, GROUP, "app.yaml", md5("one"))
    client.tell("watch", own_space, GROUP, "optional.yaml", "-")
    client.tell("watch", "public", GROUP, absent, "-")
    client.tell("names", own_space)
    client.wait("live 1")
    assert all(client.is_watched(*each) for each in
               ((own_space, "app.yaml"), (own_space, "optional.yaml"), ("public", absent)))
    lags = []
    try:
        for number in range(5):
            text = f"text {number}"
            server.admin.publish(own_space, GROUP, "app.yaml", text, wait=False)
            lags.append(client.wait(f"changed {own_space} {GROUP} app.yaml", timeout=5))
            client.tell("watch", own_space, GROUP, "app.yaml", md5(text))
            client.wait_until_watched(own_space, "app.yaml")
        server.admin.publish("public", GROUP, absent, "here", wait=False)
        client.wait(f"changed public {GROUP} {absent}", timeout=5)
        client.tell("watch", "public", GROUP, absent, md5("here"))
        server.admin.publish(own_space, GROUP, "optional.yaml", "now", wait=False)
        client.wait(f"changed {own_space} {GROUP} optional.yaml", timeout=5)
        server.admin.delete("public", GROUP, absent, wait=False)
        client.wait(f"changed public {GROUP} {absent}", timeout=5)
    finally:
        server.admin.delete("public", GROUP, absent)
    assert client.close() < 1000
    assert f"names {own_space} 95" in client.seen  # EOPNOTSUPP
    assert "live 0" not in client.seen
    assert not [event for event in client.seen if event.startswith("refused")]
    print(f"{server.generation}: {[round(1000 * lag) for lag in lags]} ms from the publish's answer to the event")


def test_narrow_rights(server: NacosServer, own_space: str, start: Callable[..., Client]) -> None:
    """Grants on a group and on one config: these are watched, in one hold, and the rest is refused."""
    user = f"u-{own_space}"
    grants = [(GROUP, "*"), ("H", "only.yaml")]
    server.admin.create_user(user, "narrow-password")
    server.admin.add_role(f"R-{user}", user)
    for group, data_id in grants:
        server.admin.grant(f"R-{user}", own_space, group, data_id, "r")
    try:
        wait_until(lambda: _may_read(server, user, own_space), timeout=30, what="the grants to act", interval=0.5)
        client = start(server.port, user, "narrow-password")
        for group, data_id in ((GROUP, "a.yaml"), (GROUP, "b.yaml"), ("H", "only.yaml"), ("H", "other.yaml")):
            client.tell("watch", own_space, group, data_id, "-")
        client.wait("live 1")
        assert f"refused {own_space} H other.yaml" in client.seen
        for group, data_id in ((GROUP, "b.yaml"), ("H", "only.yaml")):
            server.admin.publish(own_space, group, data_id, "new", wait=False)
            client.wait(f"changed {own_space} {group} {data_id}", timeout=5)
        server.admin.publish(own_space, "H", "other.yaml", "new")
        client.close()
        assert not [event for event in client.seen if event.startswith("changed") and "other.yaml" in event]
        assert len([event for event in client.seen if event.startswith("refused")]) == 1
    finally:
        for group, data_id in grants:
            server.admin.revoke(f"R-{user}", own_space, group, data_id, "r")
        server.admin.remove_role(f"R-{user}", user)
        server.admin.delete_user(user)


def _may_read(server: NacosServer, user: str, space: str) -> bool:
    narrow = server.admin.as_user(user, "narrow-password")
    try:
        narrow.read(space, GROUP, "a.yaml")
        narrow.read(space, "H", "only.yaml")
        return True
    except Exception:  # not yet: grants are cached
        return False


def test_what_changes_in_an_outage(server: NacosServer, own_space: str, start: Callable[..., Client]) -> None:
    with TcpProxy(server.port) as proxy:
        server.admin.publish(own_space, GROUP, "a.yaml", "one")
        server.admin.publish(own_space, GROUP, "b.yaml", "one")
        client = start(proxy.port)
        client.tell("watch", own_space, GROUP, "a.yaml", md5("one"))
        client.tell("watch", own_space, GROUP, "b.yaml", md5("one"))
        client.wait("live 1")
        proxy.refuse()
        client.wait("live 0", timeout=5)
        assert not client.is_watched(own_space, "a.yaml")
        server.admin.publish(own_space, GROUP, "a.yaml", "two")
        proxy.resume()
        client.wait(f"changed {own_space} {GROUP} a.yaml")
        client.tell("watch", own_space, GROUP, "a.yaml", md5("two"))
        client.wait_until_watched(own_space, "a.yaml")
        assert client.is_watched(own_space, "b.yaml")
        client.close()
        assert client.seen.count("live 1") == 2
        assert f"changed {own_space} {GROUP} b.yaml" not in client.seen


def test_broken_holds_are_begun_again(server: NacosServer, own_space: str, start: Callable[..., Client]) -> None:
    with TcpProxy(server.port) as proxy:
        client = start(proxy.port)
        client.tell("watch", own_space, GROUP, "a.yaml", "-")
        client.wait("live 1")
        for number in range(3):
            proxy.cut()
            server.admin.publish(own_space, GROUP, "a.yaml", f"text {number}", wait=False)
            client.wait(f"changed {own_space} {GROUP} a.yaml", timeout=10)
            client.tell("watch", own_space, GROUP, "a.yaml", md5(f"text {number}"))
            client.wait_until_watched(own_space, "a.yaml")
        client.close()


def test_storm(server: NacosServer, own_space: str, start: Callable[..., Client]) -> None:
    """Many changes of many configs, told again with what the caller then reads: at the end it has the last of each."""
    names = [f"storm-{number}.yaml" for number in range(20)]
    held = dict.fromkeys(names, "-")
    client = start(server.port)
    for name in names:
        client.tell("watch", own_space, GROUP, name, "-")
    client.wait("live 1")

    def publish() -> None:
        for turn in range(5):
            for name in names:
                server.admin.publish(own_space, GROUP, name, f"{name} {turn}", wait=False)

    publisher = threading.Thread(target=publish)
    publisher.start()
    deadline = time.monotonic() + 60
    while publisher.is_alive() or any(held[name] != md5(f"{name} 4") for name in names):
        assert time.monotonic() < deadline, [name for name in names if held[name] != md5(f"{name} 4")]
        try:
            line = client.events.get(timeout=0.2)
        except queue.Empty:
            continue
        if not line.startswith("changed "):
            continue
        name = line.split(" ")[3]
        found = server.admin.get(own_space, GROUP, name)
        held[name] = hashlib.md5(found).hexdigest() if found is not None else "-"
        client.tell("watch", own_space, GROUP, name, held[name])
    publisher.join()
    for name in names:
        client.wait_until_watched(own_space, name)
    client.close()


def test_signed(server: NacosServer, own_space: str, start: Callable[..., Client]) -> None:
    """With an access key instead of a login, before a gateway that verifies signatures."""
    account = Account("LTAI5tOfTheTest", "a+secret/of=the-test")
    with SigningGateway(server, {account.id: account}) as gateway:
        client = start(gateway.port, "@access-key", f"accessKey={account.id}\nsecretKey={account.secret}\n")
        client.tell("watch", own_space, GROUP, "a.yaml", "-")
        client.wait("live 1")
        server.admin.publish(own_space, GROUP, "a.yaml", "new", wait=False)
        client.wait(f"changed {own_space} {GROUP} a.yaml", timeout=5)
        client.close()
        assert gateway.refusals == []
        assert [path for _, path in gateway.accepted if path.endswith("/listener")]
