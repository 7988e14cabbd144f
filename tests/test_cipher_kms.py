"""`cipher-` configs with the cloud's key services (emulated, signatures verified), through a mount and a real Nacos."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Callable

import pytest

from harness.mounts import Mount, Mounts, Space
from harness.servers import NacosServer
from kms.emulator import KEY, Emulator

SECRET = b"password: correct-horse\n"
ENVELOPE, SMALL_ENVELOPE, DIRECT = "cipher-kms-aes-256-db.yaml", "cipher-kms-aes-128-db.yaml", "cipher-db.yaml"
NAMES = (ENVELOPE, SMALL_ENVELOPE, DIRECT)


@pytest.fixture
def emulator(tmp_path: Path):
    folder = tmp_path / "kms"
    folder.mkdir()
    with Emulator(folder) as running:
        yield running


@pytest.fixture
def vault(nacos_310: NacosServer, space_of: Callable[[NacosServer], Space]) -> Space:
    return space_of(nacos_310)


def options_of(emulator: Emulator, kind: str) -> dict[str, object]:
    common = {"kms": f"kms_{kind}", "kms_key_id": KEY, "kms_ca": emulator.authority.ca_file, "timeout": 5}
    if kind == "v1":
        return {**common, "kms_endpoint": emulator.gateway_host, "kms_access_key_file": emulator.access_key_file}
    return {**common, "kms_endpoint": emulator.dedicated_host, "kms_client_key_file": emulator.client_key.file,
            "kms_password_file": emulator.client_key.password_file}


@pytest.fixture(params=["v1", "v3"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def mounted(vault: Space, mount: Mounts, emulator: Emulator, kind: str) -> Mount:
    return mount(vault.server, vault.namespace, vault.group, options=options_of(emulator, kind))


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_read(vault: Space, mounted: Mount, name: str) -> None:
    (mounted.path / name).write_bytes(SECRET)
    assert SECRET.strip() not in vault.detail(name).content
    assert (mounted.path / name).read_bytes() == SECRET


def test_requests_to_the_key_service(vault: Space, mounted: Mount, mount: Mounts, emulator: Emulator, kind: str) -> None:
    """Exactly: a save takes a data key and checks its blob; a read takes one decryption, and none for a key that is known."""
    emulator.calls()
    (mounted.path / ENVELOPE).write_bytes(SECRET)
    assert emulator.calls() == (["GenerateDataKey", "Decrypt"] if kind == "v1" else ["GenerateDataKey", "Encrypt", "Decrypt"])
    (mounted.path / ENVELOPE).read_bytes()
    os.stat(mounted.path / ENVELOPE)
    assert emulator.calls() == []
    (mounted.path / DIRECT).write_bytes(SECRET)
    assert emulator.calls() == ["Encrypt", "Decrypt"]
    (mounted.path / DIRECT).read_bytes()
    assert emulator.calls() == ["Decrypt"]
    other = mount(vault.server, vault.namespace, vault.group, options=options_of(emulator, kind))
    for _ in range(3):
        assert (other.path / ENVELOPE).read_bytes() == SECRET
    assert emulator.calls() == ["Decrypt"]


def test_key_service_that_refuses(vault: Space, mounted: Mount, mount: Mounts, emulator: Emulator, kind: str) -> None:
    file = mounted.path / ENVELOPE
    file.write_bytes(SECRET)
    emulator.fail("forbidden", times=1000)
    with pytest.raises(OSError) as refused:
        file.write_bytes(b"other: text\n")
    assert refused.value.errno == errno.ENOKEY
    # Its text is kept, in memory, and what was decrypted before can still be read.
    (kept,) = (mounted.path / ".nacosfs" / "unsaved").iterdir()
    assert (kept / "yours").read_bytes() == b"other: text\n"
    assert file.read_bytes() == SECRET
    fresh = mount(vault.server, vault.namespace, vault.group, options=options_of(emulator, kind))
    with pytest.raises(OSError) as refused:
        (fresh.path / ENVELOPE).read_bytes()
    assert refused.value.errno == errno.ENOKEY
    assert (fresh.path / ENVELOPE).exists()
    emulator.heal()
    assert (fresh.path / ENVELOPE).read_bytes() == SECRET
