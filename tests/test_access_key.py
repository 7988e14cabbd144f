"""Mounts that show an access key instead of a login, through a gateway that verifies each signature as a managed Nacos does."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.mounts import Mount, MountFailed, Mounts, Space
from harness.proxy import TcpProxy
from harness.servers import GENERATIONS, NacosServer
from harness.signing_gateway import SigningGateway
from harness.waiting import wait_until
from kms.emulator import KEY, ROLE, Emulator
from kms.gateway import Account

AK = Account("LTAI5tOfTheTest", "a+secret/of=the-test")
OTHER = Account("LTAI5tReplaced", "another-secret")
METADATA = "100.100.100.200"


def key_file(directory: Path, account: Account, mode: int = 0o600) -> Path:
    file = directory / "access-key"
    lines = [f"accessKey={account.id}", f"secretKey={account.secret}"]
    if account.token:
        lines.append(f"securityToken={account.token}")
    new = directory / "access-key.new"
    new.write_text("\n".join(lines) + "\n")
    new.chmod(mode)
    new.rename(file)
    return file


def mount_signed(mount: Mounts, space: Space, gateway: SigningGateway, **options: object) -> Mount:
    return mount(space.server, space.namespace, space.group, user=None, port=gateway.port, options=options)


@pytest.fixture(params=GENERATIONS)
def space(request: pytest.FixtureRequest, nacos_of: Callable[[str], NacosServer],
          space_of: Callable[[NacosServer], Space]) -> Space:
    return space_of(nacos_of(request.param))


@pytest.mark.parametrize("region", [None, "cn-hangzhou"])
def test_reads_and_saves(space: Space, mount: Mounts, tmp_path: Path, region: str | None) -> None:
    """Everything that the mount asks is signed for what it is about."""
    space.publish("app.yaml", "a: 1\n")
    with SigningGateway(space.server, {AK.id: AK}, region) as gateway:
        mounted = mount_signed(mount, space, gateway, access_key_file=key_file(tmp_path, AK), region=region, log="debug")
        file = mounted.path / "app.yaml"
        assert file.read_text() == "a: 1\n"
        file.write_text("a: 2\n")
        (mounted.path / "new.yaml").write_text("b: 1\n")
        assert sorted(os.listdir(mounted.path)) == ["app.yaml", "new.yaml"]
        (mounted.path / "new.yaml").rename(mounted.path / "moved.yaml")
        (mounted.path / "moved.yaml").unlink()
        mounted.unmount()
        assert gateway.refusals == [] and gateway.accepted
        assert AK.secret not in mounted.log_text()
    assert space.get("app.yaml") == b"a: 2\n"
    assert space.names() == ["app.yaml"]


def test_new_key_without_a_new_mount(space: Space, mount: Mounts, tmp_path: Path) -> None:
    space.publish("app.yaml", "a: 1\n")
    accounts = {AK.id: AK}
    with SigningGateway(space.server, accounts) as gateway:
        mounted = mount_signed(mount, space, gateway, access_key_file=key_file(tmp_path, AK))
        accounts[OTHER.id] = OTHER
        key_file(tmp_path, OTHER)
        (mounted.path / "app.yaml").write_text("a: 2\n")
        assert {key for key, _ in gateway.accepted[-3:]} == {OTHER.id}
        # An STS key has a token too.
        temporary = Account("STS.test", "sts-secret", "sts-token", time.time() + 3600)
        accounts.clear()
        accounts[temporary.id] = temporary
        key_file(tmp_path, temporary)
        (mounted.path / "app.yaml").write_text("a: 3\n")
        assert gateway.refusals == []
    assert space.get("app.yaml") == b"a: 3\n"


def test_bad_keys(space: Space, mount: Mounts, tmp_path: Path) -> None:
    """One clear line each, and no mount."""
    wrong = Account(AK.id, "not-the-secret")
    with SigningGateway(space.server, {AK.id: AK}) as gateway:
        for options, words in (
            ({"access_key_file": key_file(tmp_path, wrong)}, "does not take the access key"),
            ({"access_key_file": tmp_path / "missing"}, "missing"),
            ({}, "wants a login"),
        ):
            with pytest.raises(MountFailed) as failed:
                mount_signed(mount, space, gateway, **options)
            assert words in failed.value.log and AK.secret not in failed.value.log, failed.value.log
        readable = key_file(tmp_path, AK, mode=0o644)
        with pytest.raises(MountFailed) as failed:
            mount_signed(mount, space, gateway, access_key_file=readable)
        assert "readable" in failed.value.log or "others" in failed.value.log, failed.value.log
        assert not gateway.accepted


# ---------------------------------------------------------------- what a machine gets by its role


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    """Its metadata service is where that of a machine in the cloud is."""
    folder = tmp_path / "kms"
    folder.mkdir()
    with Emulator(folder) as running:
        subprocess.run(["ip", "address", "replace", f"{METADATA}/32", "dev", "lo"], check=True)
        try:
            with TcpProxy(int(running.metadata_url.rsplit(":", 1)[1]), listen=(METADATA, 80)):
                yield running
        finally:
            subprocess.run(["ip", "address", "delete", f"{METADATA}/32", "dev", "lo"], check=True)


def test_ram_role(nacos_310: NacosServer, space_of: Callable[[NacosServer], Space], mount: Mounts, emulator: Emulator) -> None:
    """Credentials of the machine's role, renewed before they end; the key service gets the same ones."""
    space = space_of(nacos_310)
    space.publish("app.yaml", "a: 1\n")
    emulator.role.life = 182  # renewed three minutes before that
    with SigningGateway(nacos_310, IssuedKeys(emulator)) as gateway:
        mounted = mount_signed(mount, space, gateway, ram_role=ROLE, kms="kms_v1", kms_key_id=KEY,
                               kms_ca=emulator.authority.ca_file, kms_endpoint=emulator.gateway_host)
        (mounted.path / "app.yaml").write_text("a: 2\n")
        (mounted.path / "cipher-kms-aes-256-db.yaml").write_text("password: x\n")
        first = gateway.accepted[-1][0]

        def saved_with_another() -> bool:
            (mounted.path / "app.yaml").write_text(f"a: {time.time()}\n")
            return gateway.accepted[-1][0] != first

        wait_until(saved_with_another, timeout=15, what="renewed credentials", interval=0.3)
        assert gateway.refusals == []
        # While the metadata service is out of order, those at hand are used on.
        emulator.role.broken = True
        (mounted.path / "app.yaml").write_text("a: 3\n")
        assert gateway.refusals == []
    assert space.get("app.yaml") == b"a: 3\n"


class IssuedKeys(dict):
    """The keys that the metadata service has given out so far."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self._emulator = emulator

    def get(self, access_key: str, default: object = None) -> object:
        return next((account for account in self._emulator.role.issued if account.id == access_key), default)
