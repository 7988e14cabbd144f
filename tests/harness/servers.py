"""Pytest fixtures: real Nacos servers, started once per test run when first asked for.

With NACOSFS_TEST_SERVERS=FILE, where FILE was written by `serverctl keep FILE`, those running servers are used instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from harness.nacos_admin import NacosAdmin, connect

SERVERCTL = Path(__file__).resolve().parents[1] / "nacos-server" / "serverctl"
GENERATIONS = ("1.4.1", "2.2.4", "3.1.0")


@dataclass
class NacosServer:
    generation: str
    url: str
    host: str
    port: int
    console_url: str | None
    dir: Path
    admin: NacosAdmin

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> NacosServer:
        admin = connect(description)
        admin.login()
        return cls(description["generation"], description["url"], description["host"], description["port"],
                   description["console_url"], Path(description["dir"]), admin)

    @classmethod
    def start(cls, generation: str, directory: Path, settings: dict[str, str] | None = None) -> NacosServer:
        return cls.from_description(json.loads(_serverctl("start", generation, str(directory), *_options(settings))))

    def restart(self, settings: dict[str, str] | None = None) -> None:
        """Same ports, data and settings; `settings` are added."""
        _serverctl("restart", str(self.dir), *_options(settings))

    def stop(self) -> None:
        """May be called on a stopped server too; restart() brings it back."""
        _serverctl("stop", str(self.dir))


def _options(settings: dict[str, str] | None) -> list[str]:
    # The server watches this process, so it ends with the test run even if that is killed.
    options = [f"--until-exit-of={os.getpid()}"]
    for key, value in (settings or {}).items():
        options += ["--set", f"{key}={value}"]
    return options


def _serverctl(*arguments: str) -> str:
    done = subprocess.run([SERVERCTL, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"serverctl {arguments[0]} failed, see its message above")
    return done.stdout


@pytest.fixture(scope="session")
def nacos_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], NacosServer]]:
    """The shared server of a generation. Tests must not stop it or change its settings."""
    kept_file = os.environ.get("NACOSFS_TEST_SERVERS")
    servers: dict[str, NacosServer] = {}

    def get(generation: str) -> NacosServer:
        if generation not in servers:
            if kept_file:
                description = json.loads(Path(kept_file).read_text())[generation]
                servers[generation] = NacosServer.from_description(description)
            else:
                servers[generation] = NacosServer.start(generation, tmp_path_factory.mktemp(f"nacos-{generation}"))
        return servers[generation]

    yield get
    if not kept_file:
        for server in servers.values():
            server.stop()


@pytest.fixture(scope="session")
def nacos_141(nacos_of: Callable[[str], NacosServer]) -> NacosServer:
    return nacos_of("1.4.1")


@pytest.fixture(scope="session")
def nacos_224(nacos_of: Callable[[str], NacosServer]) -> NacosServer:
    return nacos_of("2.2.4")


@pytest.fixture(scope="session")
def nacos_310(nacos_of: Callable[[str], NacosServer]) -> NacosServer:
    return nacos_of("3.1.0")


@pytest.fixture(scope="session", params=["2.2.4", "3.1.0"])
def nacos(request: pytest.FixtureRequest, nacos_of: Callable[[str], NacosServer]) -> NacosServer:
    """Runs the test once per generation in common use; 1.4.1 is for the tests that ask for it."""
    return nacos_of(request.param)


@pytest.fixture
def own_nacos(tmp_path: Path) -> Iterator[Callable[..., NacosServer]]:
    """own_nacos(generation, settings): a server of the test's own, which it may stop, restart and set up at will."""
    servers: list[NacosServer] = []

    def start(generation: str, settings: dict[str, str] | None = None) -> NacosServer:
        server = NacosServer.start(generation, tmp_path / f"nacos-{len(servers)}", settings)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def namespace(nacos: NacosServer) -> Iterator[str]:
    """An empty namespace of the test's own."""
    ns = f"test-{uuid.uuid4().hex[:12]}"
    nacos.admin.create_namespace(ns)
    yield ns
    nacos.admin.delete_all(ns)
    nacos.admin.delete_namespace(ns)
