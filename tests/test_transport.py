"""How configs travel: over gRPC where the server has it, over HTTP otherwise, with TLS where it is asked for.

Scenarios that mostly wait run for several servers at once (each_of).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import signal
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import Authority, Certificate
from harness.mounts import Mount, MountFailed, Mounts, Space, run_nacosfs, source_of
from harness.proxy import ServerProxy, TcpProxy, free_port
from harness.servers import NacosServer
from harness.waiting import wait_until

CONNECTED = "gRPC: connected to"
OVER_GRPC = "configs are read and written over gRPC"
OVER_HTTP = "configs are read and written over HTTP for now"
TOLD = "changes are told"
PATIENCE = 10  # s without gRPC until HTTP watches
FRESH = 1  # s for which what was fetched is believed without a watch
BACK = 15  # s in which all is as before after an outage

Scenario = Callable[[NacosServer], None]


def each_of(values: Any, scenario: Callable[..., None]) -> None:
    """Runs the scenario for all of them at the same time."""
    values = list(values)
    with ThreadPoolExecutor(len(values)) as pool:
        for done in [pool.submit(scenario, *(value if isinstance(value, tuple) else (value,))) for value in values]:
            done.result()


def wait_for_log(mounted: Mount, text: str, count: int = 1, timeout: float = BACK) -> None:
    wait_until(lambda: mounted.log_text().count(text) >= count, timeout, f"{text!r} in the log, {count} times")


def publishes(mounted: Mount) -> tuple[int, int]:
    """How often the mount has published with success, over gRPC and over HTTP. To ask for the right is no success."""
    grpc = [line for line in mounted.server_requests("gRPC ConfigPublishRequest") if ": 200 in" in line]
    http = [line for line in mounted.server_requests("POST ") if re.search("/cs/configs?: 200 in", line)]
    return len(grpc), len(http)


def is_told(mounted: Mount, *paths: Path) -> bool:
    """Does reading them cost nothing, for longer than what is fetched is believed?"""

    def reads() -> int:
        found = [line for line in mounted.server_requests() if re.search("gRPC ConfigQuery|GET .*/cs/config", line)]
        return len(found)

    for path in paths:
        path.read_bytes()
    before = reads()
    time.sleep(FRESH + 0.2)
    for path in paths:
        path.read_bytes()
    return reads() == before


def see(path: Path, content: bytes, timeout: float = 5) -> None:
    wait_until(lambda: path.read_bytes() == content, timeout, f"{content!r} in {path.name}")


def check_change_is_seen(space: Space, path: Path) -> None:
    content = f"by: {uuid.uuid4().hex}\n".encode()
    space.publish(path.name, content, wait=False)
    see(path, content)


def failed_mount(mounts: Mounts, source: str, options: dict[str, Any]) -> str:
    """The one line that a mount fails with."""
    with pytest.raises(MountFailed) as failure:
        mounts.mount(source, options)
    lines = [line for line in failure.value.log.splitlines() if line.startswith("nacosfs: ")]
    assert len(lines) == 1, failure.value.log
    return lines[0]


# ------------------------------------------------------------------ the choice


def test_grpc_where_the_server_has_it(space: Space, mount: Mounts) -> None:
    space.publish("app.yaml", "a: 1\n")
    mounted = mount(space.server, space.namespace, space.group, log="debug")
    wait_for_log(mounted, CONNECTED)
    path = mounted.path / "app.yaml"
    assert path.read_bytes() == b"a: 1\n"
    path.write_bytes(b"a: 2\n")
    assert space.detail("app.yaml").content == b"a: 2\n"
    assert publishes(mounted) == (1, 0)
    wait_until(lambda: is_told(mounted, path), what="the config to be watched")
    check_change_is_seen(space, path)
    path.unlink()
    wait_until(lambda: mounted.server_request_count("gRPC ConfigRemoveRequest") == 1, what="the removal")
    assert space.detail("app.yaml") is None
    # Before 2.3 gRPC does not tell the time of the last change.
    assert bool(mounted.server_request_count("gRPC ConfigQueryRequest")) == (space.server.generation == "3.1.0")
    assert mounted.log_text().count(OVER_GRPC) == 1
    assert OVER_HTTP not in mounted.log_text()


def test_http_if_that_is_asked_for(space: Space, mount: Mounts) -> None:
    space.publish("app.yaml", "a: 1\n")
    mounted = mount(space.server, space.namespace, space.group, log="debug", transport="http")
    path = mounted.path / "app.yaml"
    path.write_bytes(b"a: 2\n")
    assert publishes(mounted) == (0, 1)
    wait_until(lambda: is_told(mounted, path), what="the config to be watched")
    check_change_is_seen(space, path)
    assert "gRPC" not in mounted.log_text()


def test_server_without_grpc(space_of: Callable[[NacosServer], Space], nacos_141: NacosServer, mount: Mounts) -> None:
    space = space_of(nacos_141)
    space.publish("app.yaml", "a: 1\n")
    mounted = mount(nacos_141, space.namespace, space.group, log="debug")
    path = mounted.path / "app.yaml"
    path.write_bytes(b"a: 2\n")
    assert publishes(mounted) == (0, 1)
    wait_until(lambda: is_told(mounted, path), what="the config to be watched")
    check_change_is_seen(space, path)
    assert mounted.log_text().count("gRPC") == mounted.log_text().count("this server has no gRPC") == 1
    line = failed_mount(mount, source_of(f"127.0.0.1:{nacos_141.port}", space.namespace),
                        {**mount.default_options(nacos_141, space.namespace), "transport": "grpc"})
    assert "1.4" in line and "no gRPC" in line


KINDS = ("refused", "black hole", "silent")


@contextlib.contextmanager
def blocked(server: NacosServer, kind: str) -> Iterator[ServerProxy]:
    with ServerProxy(server.port, "proxy" if kind == "silent" else kind) as proxy:
        if proxy.grpc:
            proxy.grpc.stall()
        yield proxy


def test_blocked_port(space_of: Callable[[NacosServer], Space], nacos_224: NacosServer, nacos_310: NacosServer,
                      mount: Mounts) -> None:
    """Nothing is slow, it is said once, and HTTP tells of changes after a while."""
    spaces = {server.generation: space_of(server) for server in (nacos_224, nacos_310)}

    def scenario(server: NacosServer, kind: str) -> None:
        space = spaces[server.generation]
        name = f"{kind.replace(' ', '-')}.yaml"
        space.publish(name, "a: 1\n")
        with blocked(server, kind) as proxy:
            started = time.monotonic()
            mounted = mount(server, space.namespace, space.group, port=proxy.port, log="debug")
            path = mounted.path / name
            assert path.read_bytes() == b"a: 1\n"
            assert time.monotonic() - started < 5
            path.write_bytes(b"a: 2\n")
            assert publishes(mounted) == (0, 1)
            wait_for_log(mounted, TOLD, timeout=PATIENCE + 10)
            wait_until(lambda: is_told(mounted, path), what="the config to be watched")
            check_change_is_seen(space, path)
            assert mounted.log_text().count(OVER_HTTP) == 1
            assert len(space.history(name)) == 3
            mounted.unmount()

    each_of(itertools.product((nacos_224, nacos_310), KINDS), scenario)


def test_blocked_port_with_grpc_alone(nacos_310: NacosServer, mount: Mounts) -> None:
    def scenario(kind: str) -> None:
        with blocked(nacos_310, kind) as proxy:
            started = time.monotonic()
            line = failed_mount(mount, source_of(f"127.0.0.1:{proxy.port}", "public"),
                                {**mount.default_options(nacos_310, "public"), "transport": "grpc"})
            assert time.monotonic() - started < 10
            assert f"127.0.0.1:{proxy.port + 1000}" in line

    each_of(KINDS, scenario)


def test_first_host_is_dead(space: Space, mount: Mounts) -> None:
    space.publish("app.yaml", "a: 1\n")
    mounted = mount.mount(source_of(f"127.0.0.1:{free_port()},127.0.0.1:{space.server.port}", space.namespace, space.group),
                          {**mount.default_options(space.server, space.namespace), "log": "debug"})
    wait_for_log(mounted, CONNECTED)
    path = mounted.path / "app.yaml"
    path.write_bytes(b"a: 2\n")
    assert publishes(mounted) == (1, 0)
    check_change_is_seen(space, path)


def test_several_mounts(space: Space, mount: Mounts) -> None:
    space.publish("app.yaml", "a: 0\n")
    with ThreadPoolExecutor(4) as pool:
        mounts = list(pool.map(lambda _: mount(space.server, space.namespace, space.group), range(4)))
    for mounted in mounts:
        wait_for_log(mounted, CONNECTED)
    for number, mounted in enumerate(mounts, 1):
        content = f"a: {number}\n".encode()
        (mounted.path / "app.yaml").write_bytes(content)
        for other in mounts:
            see(other.path / "app.yaml", content)
    assert len(space.history("app.yaml")) == 1 + len(mounts)


# --------------------------------------------------------------------- outages


def test_connection_that_comes_and_goes(space_of: Callable[[NacosServer], Space], nacos_224: NacosServer,
                                        nacos_310: NacosServer, mount: Mounts) -> None:
    """Requests go over HTTP meanwhile, and HTTP tells of changes; then it is gRPC again. No change is missed."""
    spaces = {server.generation: space_of(server) for server in (nacos_224, nacos_310)}

    def scenario(server: NacosServer) -> None:
        space = spaces[server.generation]
        for name in ("app.yaml", "other.yaml"):
            space.publish(name, "a: 0\n")
        with ServerProxy(server.port) as proxy:
            mounted = mount(server, space.namespace, space.group, port=proxy.port, log="debug")
            wait_for_log(mounted, TOLD)
            path, other = mounted.path / "app.yaml", mounted.path / "other.yaml"
            path.write_bytes(b"a: 1\n")
            wait_until(lambda: is_told(mounted, path, other), what="both to be watched")

            proxy.grpc.refuse()
            path.write_bytes(b"a: 2\n")
            space.publish("other.yaml", "a: 2\n")
            see(other, b"a: 2\n")
            wait_for_log(mounted, TOLD, 2, PATIENCE + 10)  # by HTTP
            wait_until(lambda: is_told(mounted, path, other), what="both to be watched")
            check_change_is_seen(space, path)
            assert publishes(mounted) == (1, 1)

            proxy.grpc.resume()
            wait_for_log(mounted, CONNECTED, 2)
            wait_until(lambda: is_told(mounted, path, other), what="both to be watched")
            path.write_bytes(b"a: 4\n")
            check_change_is_seen(space, other)
            assert publishes(mounted) == (2, 1)

            # For a moment only: what changes in it is told as soon as there is a connection again.
            for number in range(3):
                proxy.grpc.refuse()
                space.publish("other.yaml", f"b: {number}\n")
                proxy.grpc.resume()
                wait_for_log(mounted, CONNECTED, 3 + number)
                see(other, f"b: {number}\n".encode())
            assert [row.op for row in space.history("app.yaml")] == ["U", "U", "U", "U", "I"]
            assert mounted.log_text().count(OVER_HTTP) <= 4
            mounted.unmount()

    each_of((nacos_224, nacos_310), scenario)


def test_publish_whose_answer_is_lost(space_of: Callable[[NacosServer], Space], nacos_224: NacosServer,
                                      nacos_310: NacosServer, mount: Mounts) -> None:
    """The connection breaks, or nothing ever comes: reading back says what came of it. One publish."""
    spaces = {server.generation: space_of(server) for server in (nacos_224, nacos_310)}

    def scenario(server: NacosServer, is_cut: bool) -> None:
        space, name = spaces[server.generation], "cut.yaml" if is_cut else "silence.yaml"
        space.publish(name, "a: 1\n")
        with ServerProxy(server.port) as proxy:
            mounted = mount(server, space.namespace, space.group, port=proxy.port, log="debug")
            wait_for_log(mounted, CONNECTED)
            proxy.grpc.lose_answer_to(b"the lost text")

            def cut() -> None:
                assert proxy.grpc.is_deaf.wait(10)
                wait_until(lambda: space.detail(name).content == b"the lost text\n", 10, "the publish")
                if is_cut:
                    proxy.grpc.cut()

            with ThreadPoolExecutor(1) as pool:
                cutting = pool.submit(cut)
                (mounted.path / name).write_bytes(b"the lost text\n")
                cutting.result()
            assert (mounted.path / name).read_bytes() == b"the lost text\n"
            assert len(space.history(name)) == 2
            wait_for_log(mounted, CONNECTED, 2)
            (mounted.path / name).write_bytes(b"and another\n")
            assert publishes(mounted) == (1, 0)
            assert len(space.history(name)) == 3
            mounted.unmount()

    each_of(itertools.product((nacos_224, nacos_310), (True, False)), scenario)


# -------------------------------------------------------------- what only gRPC carries


def test_data_key_of_an_old_server(space_of: Callable[[NacosServer], Space], nacos_224: NacosServer, mount: Mounts) -> None:
    """2.2 would lose it over HTTP."""
    space = space_of(nacos_224)
    keyring = mount.new_directory() / "keyring"
    assert run_nacosfs("--new-keyring", keyring).returncode == 0
    options = {"kms": "keyring", "keyring": keyring, "cache_dir": "none"}
    name = "cipher-kms-aes-256-app.yaml"
    over_grpc = mount(nacos_224, space.namespace, space.group, options)
    wait_for_log(over_grpc, CONNECTED)
    (over_grpc.path / name).write_bytes(b"secret: 1\n")
    assert b"secret" not in space.detail(name).content
    over_http = mount(nacos_224, space.namespace, space.group, options, transport="http")
    assert (over_http.path / name).read_bytes() == b"secret: 1\n"
    with pytest.raises(OSError) as refused:
        (over_http.path / name).write_bytes(b"secret: 2\n")
    assert refused.value.errno == errno.EOPNOTSUPP
    (over_grpc.path / name).write_bytes(b"secret: 3\n")
    again = mount(nacos_224, space.namespace, space.group, options)
    assert (again.path / name).read_bytes() == b"secret: 3\n"


@pytest.mark.slow
def test_ten_mebibytes(space_of: Callable[[NacosServer], Space], nacos_224: NacosServer, nacos_310: NacosServer,
                       mount: Mounts) -> None:
    """As much as a server takes, line ends counted twice. It takes seconds, all of them the server's."""
    line = b"0123456789abcdef" * 63 + b"\n"
    content = line * ((10 * 1024 * 1024 - 4096) // (len(line) + 1))
    spaces = {server.generation: space_of(server) for server in (nacos_224, nacos_310)}

    def scenario(server: NacosServer) -> None:
        space = spaces[server.generation]
        mounted = mount(server, space.namespace, space.group, log="debug")
        second = mount(server, space.namespace, space.group, timeout=60)
        wait_for_log(mounted, CONNECTED)
        wait_for_log(second, CONNECTED)
        (mounted.path / "large.txt").write_bytes(content)
        assert publishes(mounted) == (1, 0)
        assert space.detail("large.txt").content == content
        assert (second.path / "large.txt").read_bytes() == content
        with pytest.raises(OSError) as refused:
            (mounted.path / "larger.txt").write_bytes(content + line * 16)
        assert refused.value.errno == errno.EFBIG
        (mounted.path / "large.txt").unlink()
        mounted.unmount()

    each_of((nacos_224, nacos_310), scenario)


# ------------------------------------------------------------- servers of our own, with TLS


class Tls:
    """An authority, one that nobody trusts, and certificates of both."""

    def __init__(self, directory: Path) -> None:
        self.authority, self.foreign = Authority(directory / "ca"), Authority(directory / "foreign-ca")
        self.server = self.authority.issue(directory / "server", addresses=["127.0.0.1"])
        self.expired_server = self.authority.issue(directory / "expired-server", addresses=["127.0.0.1"], seconds=-60)
        self.client = self.authority.issue(directory / "client")
        self.expired_client = self.authority.issue(directory / "expired-client", seconds=-60)
        self.foreign_client = self.foreign.issue(directory / "foreign-client")

    def options(self, client: Certificate | None = None, ca: Path | None = None) -> dict[str, Any]:
        client = client or self.client
        return {"tls": True, "tls_ca": ca or self.authority.ca, "tls_cert": client.cert, "tls_key": client.key}

    def context(self, certificate: Certificate, protocol: str | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        if protocol:
            context.set_alpn_protocols([protocol])
        return context


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def own(tls: Tls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Space]]:
    """A server of each generation with mutual TLS on its gRPC port, which still takes plain connections there too."""
    prefix = "nacos.remote.server.rpc.tls."
    settings = {prefix + name: value for name, value in {
        "enableTls": "true", "compatibility": "true", "mutualAuthEnable": "true", "trustAll": "false",
        "certChainFile": f"file:{tls.server.cert}", "certPrivateKey": f"file:{tls.server.key}",
        "trustCollectionCertFile": f"file:{tls.authority.ca}"}.items()}
    with ThreadPoolExecutor(2) as pool:
        servers = list(pool.map(lambda generation: NacosServer.start(
            generation, tmp_path_factory.mktemp("own-nacos"), settings), ("2.2.4", "3.1.0")))
    spaces = [Space(server, "test-transport") for server in servers]
    for space in spaces:
        space.server.admin.create_namespace(space.namespace)
    yield spaces
    for server in servers:
        server.stop()


def new_name() -> str:
    return f"app-{uuid.uuid4().hex[:8]}.yaml"


def test_mutual_tls(own: list[Space], tls: Tls, mount: Mounts) -> None:
    """With an address as the host. Nothing goes over gRPC in plain text, and nothing falls back to HTTP."""

    def scenario(space: Space) -> None:
        name = new_name()
        space.publish(name, "a: 1\n")
        with ServerProxy(space.server.port) as proxy:
            mounted = mount(space.server, space.namespace, space.group, port=proxy.port, log="debug", **tls.options())
            wait_for_log(mounted, CONNECTED)
            path = mounted.path / name
            assert path.read_bytes() == b"a: 1\n"
            path.write_bytes(b"a: 2\n")
            assert publishes(mounted) == (1, 0)
            wait_until(lambda: is_told(mounted, path), what="the config to be watched")
            check_change_is_seen(space, path)
            assert mounted.log_text().count("only gRPC is protected by TLS") == 1
            proxy.grpc.refuse()
            with pytest.raises(OSError):
                path.write_bytes(b"a: 3\n")
            assert publishes(mounted) == (1, 0)
            assert proxy.grpc.openings and all(opening[:2] == b"\x16\x03" for opening in proxy.grpc.openings)
            mounted.unmount()

    each_of(own, scenario)


def test_mutual_tls_by_https(own: list[Space], tls: Tls, mount: Mounts) -> None:
    def scenario(space: Space) -> None:
        name = new_name()
        with ServerProxy(space.server.port, http_tls=tls.context(tls.server)) as proxy:
            mounted = mount.mount(source_of(f"127.0.0.1:{proxy.port}", space.namespace, space.group, "https"),
                                  {**mount.default_options(space.server, space.namespace), "log": "debug",
                                   **tls.options(), "tls": None})
            wait_for_log(mounted, CONNECTED)
            (mounted.path / name).write_bytes(b"a: 1\n")
            assert publishes(mounted) == (1, 0)
            for each in (*proxy.http.openings, *proxy.grpc.openings):
                assert each[:2] == b"\x16\x03"
            mounted.unmount()

    each_of(own, scenario)


def refusals(tls: Tls) -> dict[str, tuple[dict[str, Any], str, str]]:
    """Options, the host, and what the line must say."""
    return {
        "foreign authority": (tls.options(ca=tls.foreign.ca), "127.0.0.1", "its certificate is no good"),
        "another host": (tls.options(), "localhost", "hostname mismatch"),
        "no client certificate": ({"tls": True, "tls_ca": tls.authority.ca}, "127.0.0.1", "us without a certificate"),
        "foreign client certificate": (tls.options(tls.foreign_client), "127.0.0.1", "our certificate"),
        "expired client certificate": (tls.options(tls.expired_client), "127.0.0.1", "expired"),
        "no such file": (tls.options(ca=Path("/does/not/exist")), "127.0.0.1", "/does/not/exist"),
    }


def test_tls_refused(own: list[Space], tls: Tls, mount: Mounts) -> None:
    """No mount, and one line that says why."""

    def scenario(space: Space, case: tuple[str, tuple[dict[str, Any], str, str]]) -> None:
        name, (options, host, says) = case
        started = time.monotonic()
        line = failed_mount(mount, source_of(f"{host}:{space.server.port}", space.namespace),
                            {**mount.default_options(space.server, space.namespace), **options})
        assert says in line, name
        assert time.monotonic() - started < 10

    each_of(itertools.product(own, refusals(tls).items()), scenario)


def test_tls_on_a_plain_port(space: Space, tls: Tls, mount: Mounts) -> None:
    line = failed_mount(mount, source_of(f"127.0.0.1:{space.server.port}", space.namespace),
                        {**mount.default_options(space.server, space.namespace), **tls.options()})
    assert "TLS with 127.0.0.1" in line


def test_https_with_grpc_refused(own: list[Space], tls: Tls, mount: Mounts) -> None:
    """HTTPS protects as well, so all goes over that; what TLS of gRPC refuses is tried again slowly, and logged once."""

    def scenario(space: Space, certificate: Certificate, grpc_tls: ssl.SSLContext | None, options: dict[str, Any],
                 says: str) -> None:
        name = new_name()
        space.publish(name, "a: 1\n")
        with ServerProxy(space.server.port, http_tls=tls.context(tls.server), grpc_tls=grpc_tls) as proxy:
            mounted = mount.mount(source_of(f"127.0.0.1:{proxy.port}", space.namespace, space.group, "https"),
                                  {**mount.default_options(space.server, space.namespace), "log": "debug", **options})
            path = mounted.path / name
            wait_for_log(mounted, says)
            started = time.monotonic()
            path.write_bytes(b"a: 2\n")
            assert publishes(mounted) == (0, 1)
            wait_until(lambda: len(proxy.grpc.openings) > 1, 10, "another attempt")
            assert time.monotonic() - started > 3
            warnings = [line for line in mounted.log_text().splitlines() if "warning: gRPC" in line]
            assert len(warnings) == 1 and says in warnings[0]
            for each in (*proxy.http.openings, *proxy.grpc.openings):
                assert each[:2] == b"\x16\x03"
            mounted.unmount()

    foreign = tls.options(tls.foreign_client)
    each_of([case for space in own for case in (
        (space, tls.server, None, foreign, "our certificate"),
        (space, tls.expired_server, tls.context(tls.expired_server, "h2"), tls.options(), "certificate has expired"),
    )], scenario)


def test_https_is_for_grpc_too(space: Space, tls: Tls, mount: Mounts) -> None:
    """A port of gRPC that speaks no TLS is not used, and gets to see nothing."""
    space.publish("app.yaml", "a: 1\n")
    with ServerProxy(space.server.port, http_tls=tls.context(tls.server)) as proxy:
        mounted = mount.mount(source_of(f"127.0.0.1:{proxy.port}", space.namespace, space.group, "https"),
                              {**mount.default_options(space.server, space.namespace), "log": "debug",
                               "tls_ca": tls.authority.ca})
        wait_for_log(mounted, "warning: gRPC")
        path = mounted.path / "app.yaml"
        path.write_bytes(b"a: 2\n")
        assert publishes(mounted) == (0, 1)
        assert mounted.log_text().count(OVER_HTTP) == 1
        for each in (*proxy.http.openings, *proxy.grpc.openings):
            assert each[:2] == b"\x16\x03"


def test_certificates_are_renewed(own: list[Space], tls: Tls, mount: Mounts, tmp_path: Path) -> None:
    """The files are read for each connection: the client's certificate has expired meanwhile, then there is a new one."""

    def scenario(space: Space) -> None:
        name, place = new_name(), tmp_path / space.server.generation
        space.publish(name, "a: 1\n")
        client = tls.authority.issue(place)
        with ServerProxy(space.server.port) as proxy:
            mounted = mount(space.server, space.namespace, space.group, port=proxy.port, log="debug",
                            **tls.options(client))
            wait_for_log(mounted, CONNECTED)
            path = mounted.path / name
            path.read_bytes()
            tls.authority.issue(place, seconds=-1)
            proxy.grpc.cut()
            wait_for_log(mounted, "the certificate has expired")
            space.publish(name, "a: 2\n")
            tls.authority.issue(place)
            wait_for_log(mounted, CONNECTED, 2, 20)
            see(path, b"a: 2\n")
            path.write_bytes(b"a: 3\n")
            assert publishes(mounted) == (1, 0)
            mounted.unmount()

    each_of(own, scenario)


def test_certificates_of_https_are_renewed(space: Space, tls: Tls, mount: Mounts, tmp_path: Path) -> None:
    """All of them at once: the server's, ours, and the authority of both."""

    def context(authority: Authority) -> ssl.SSLContext:
        made = tls.context(authority.issue(tmp_path / "server", addresses=["127.0.0.1"]))
        made.load_verify_locations(authority.ca)
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    first, second = Authority(tmp_path / "first"), Authority(tmp_path / "second")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(first.ca.read_bytes())
    client = first.issue(tmp_path / "client")
    space.publish("app.yaml", "a: 1\n")
    with TcpProxy(space.server.port, context(first)) as proxy:
        mounted = mount.mount(source_of(f"127.0.0.1:{proxy.port}", space.namespace, space.group, "https"),
                              {**mount.default_options(space.server, space.namespace), "transport": "http",
                               "tls_ca": trusted, "tls_cert": client.cert, "tls_key": client.key})
        path = mounted.path / "app.yaml"
        assert path.read_bytes() == b"a: 1\n"
        proxy.tls = context(second)
        trusted.write_bytes(second.ca.read_bytes())
        second.issue(tmp_path / "client")
        proxy.cut()
        path.write_bytes(b"a: 2\n")
        assert space.detail("app.yaml").content == b"a: 2\n"
        check_change_is_seen(space, path)


def test_key_that_others_can_read(tls: Tls, mount: Mounts, tmp_path: Path) -> None:
    client = tls.authority.issue(tmp_path / "client")
    client.key.chmod(0o640)
    for scheme, options in (("https", {}), ("nacos", {"tls": True})):
        line = failed_mount(mount, source_of("127.0.0.1:1", "public", scheme=scheme),
                            {**options, "tls_cert": client.cert, "tls_key": client.key})
        assert str(client.key) in line


# ------------------------------------------------------------ servers that hang and die


def pid_of(server: NacosServer) -> int:
    return json.loads((server.dir / "server.json").read_text())["pid"]


def test_server_hangs(own: list[Space], mount: Mounts) -> None:
    """It is noticed, what is known is read on, and then all is as before."""

    def scenario(space: Space) -> None:
        name = new_name()
        space.publish(name, "a: 1\n")
        mounted = mount(space.server, space.namespace, space.group, log="debug", timeout=3)
        wait_for_log(mounted, TOLD)
        path = mounted.path / name
        wait_until(lambda: is_told(mounted, path), what="the config to be watched")
        os.kill(pid_of(space.server), signal.SIGSTOP)
        try:
            wait_for_log(mounted, "the server is silent", timeout=20)
            assert path.read_bytes() == b"a: 1\n"
        finally:
            os.kill(pid_of(space.server), signal.SIGCONT)
        wait_for_log(mounted, CONNECTED, 2)
        check_change_is_seen(space, path)
        path.write_bytes(b"a: 3\n")
        assert publishes(mounted) == (1, 0)
        assert len(space.history(name)) == 3
        mounted.unmount()

    each_of(own, scenario)


@pytest.mark.slow
def test_server_dies(own: list[Space], mount: Mounts) -> None:
    """It comes back with the same data, and no other text than was saved."""

    def scenario(space: Space) -> None:
        name = new_name()
        space.publish(name, "a: 1\n")
        mounted = mount(space.server, space.namespace, space.group, log="debug")
        wait_for_log(mounted, CONNECTED)
        path = mounted.path / name
        path.write_bytes(b"a: 2\n")
        os.kill(pid_of(space.server), signal.SIGKILL)
        assert path.read_bytes() == b"a: 2\n"
        space.server.restart()
        space.server.admin.login()
        wait_for_log(mounted, CONNECTED, 2)
        check_change_is_seen(space, path)
        path.write_bytes(b"a: 4\n")
        assert publishes(mounted) == (2, 0)
        assert len(space.history(name)) == 4
        mounted.unmount()

    each_of(own, scenario)
