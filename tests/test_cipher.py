"""`cipher-` configs through a mount: ciphertext on the server, plain text in the file, and nowhere else.

The key service here is the keyring; the formats and the other key services have tests of their own.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Callable

import pytest

from harness.mounts import Mount, Mounts, Space, run_nacosfs
from harness.servers import NacosServer
from harness.waiting import wait_until

SECRET = b"password: correct-horse-battery-staple\n"
ENVELOPES = ("cipher-kms-aes-256-db.yaml", "cipher-kms-aes-128-db.yaml")
DIRECT = "cipher-db.yaml"


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    path = tmp_path / "keyring"
    assert run_nacosfs("--new-keyring", path).returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    return path


@pytest.fixture
def vault(nacos_310: NacosServer, space_of: Callable[[NacosServer], Space]) -> Space:
    """A place on a server that carries data keys over HTTP."""
    return space_of(nacos_310)


@pytest.fixture
def mounted(vault: Space, mount: Mounts, keyring: Path) -> Mount:
    return mount(vault.server, vault.namespace, vault.group, options=with_keyring(keyring))


def with_keyring(keyring: Path, **options: object) -> dict[str, object]:
    return {"kms": "keyring", "keyring": keyring, "log": "debug", **options}


@pytest.mark.parametrize("name", (*ENVELOPES, DIRECT))
def test_saved_encrypted_and_read_plain(vault: Space, mounted: Mount, name: str) -> None:
    file = mounted.path / name
    file.write_bytes(SECRET)
    stored = vault.detail(name)
    assert stored and SECRET.strip() not in stored.content and re.fullmatch(rb"[A-Za-z0-9+/=]+", stored.content)
    assert bool(stored.encrypted_data_key) == (name in ENVELOPES)
    assert file.read_bytes() == SECRET
    assert file.stat().st_size == len(SECRET)
    assert "user.nacos.encrypted" in os.listxattr(file) and os.getxattr(file, "user.nacos.encrypted")
    # Each save takes a fresh key, and is one row of history; an unchanged one is none.
    file.write_bytes(SECRET + b"user: me\n")
    again = vault.detail(name)
    assert again.content != stored.content and (again.encrypted_data_key != stored.encrypted_data_key or name == DIRECT)
    file.write_bytes(SECRET + b"user: me\n")
    assert [row.op for row in vault.history(name)] == ["U", "I"]


def test_another_mount_reads_it_and_knows_its_size(vault: Space, mounted: Mount, mount: Mounts, keyring: Path) -> None:
    (mounted.path / ENVELOPES[0]).write_bytes(SECRET)
    other = mount(vault.server, vault.namespace, vault.group, options=with_keyring(keyring))
    assert (other.path / ENVELOPES[0]).stat().st_size == len(SECRET)
    assert (other.path / ENVELOPES[0]).read_bytes() == SECRET


def test_without_a_key_service_nothing_is_published_or_shown(vault: Space, mounted: Mount, mount: Mounts) -> None:
    (mounted.path / DIRECT).write_bytes(SECRET)
    without = mount(vault.server, vault.namespace, vault.group)
    with pytest.raises(OSError) as refused:
        (without.path / DIRECT).read_bytes()
    assert refused.value.errno == errno.ENOKEY
    with pytest.raises(OSError) as refused:
        (without.path / "cipher-new.yaml").write_bytes(SECRET)
    assert refused.value.errno == errno.ENOKEY
    assert vault.detail("cipher-new.yaml") is None
    assert os.listdir(without.path) == [DIRECT]


def test_too_large_for_direct_encryption(vault: Space, mounted: Mount) -> None:
    (mounted.path / DIRECT).write_bytes(b"x" * 6144)
    with pytest.raises(OSError) as refused:
        (mounted.path / DIRECT).write_bytes(b"x" * 6145)
    assert refused.value.errno == errno.EFBIG
    assert (mounted.path / DIRECT).read_bytes() == b"x" * 6144


@pytest.mark.parametrize("name", (*ENVELOPES, DIRECT))
def test_plain_text_under_a_cipher_name_is_refused_and_can_be_repaired(vault: Space, mounted: Mount, name: str) -> None:
    vault.publish(name, SECRET)
    file = mounted.path / name
    with pytest.raises(OSError) as refused:
        file.read_bytes()
    assert refused.value.errno == errno.EBADMSG
    assert b"correct-horse" not in os.getxattr(file, "user.nacos.error")
    with pytest.raises(OSError) as refused:
        with file.open("ab") as stream:
            stream.write(b"more")
    assert refused.value.errno == errno.EBADMSG
    file.write_bytes(b"password: new\n")
    assert file.read_bytes() == b"password: new\n"
    assert "user.nacos.error" not in os.listxattr(file)
    assert b"password" not in vault.detail(name).content


def damage(content: bytes) -> bytes:
    return content[:-8] + (b"AAAA" if content[-8:-4] != b"AAAA" else b"BBBB") + content[-4:]


@pytest.mark.parametrize("name", (*ENVELOPES, DIRECT))
def test_tampered_ciphertext_is_an_error(vault: Space, mounted: Mount, name: str) -> None:
    file = mounted.path / name
    file.write_bytes(SECRET)
    stored = vault.detail(name)
    options = {"encrypted_data_key": stored.encrypted_data_key} if stored.encrypted_data_key else {}
    vault.publish(name, damage(stored.content), **options)

    def is_refused() -> bool:
        try:
            return file.read_bytes() != SECRET and pytest.fail("damaged content was read")
        except OSError as error:
            return error.errno == errno.EBADMSG

    wait_until(is_refused, what="the damaged config to be refused")


def test_data_key_of_another_config_is_an_error(vault: Space, mounted: Mount) -> None:
    (mounted.path / ENVELOPES[0]).write_bytes(SECRET)
    (mounted.path / "cipher-kms-aes-256-other").write_bytes(b"another text, of more than sixteen bytes\n")
    mine, other = vault.detail(ENVELOPES[0]), vault.detail("cipher-kms-aes-256-other")
    vault.publish("cipher-kms-aes-256-mixed", mine.content, encrypted_data_key=other.encrypted_data_key)
    with pytest.raises(OSError) as refused:
        (mounted.path / "cipher-kms-aes-256-mixed").read_bytes()
    assert refused.value.errno == errno.EBADMSG


def test_moves_into_and_out_of_encryption(vault: Space, mounted: Mount) -> None:
    plain, secret, again = mounted.path / "app.yaml", mounted.path / ENVELOPES[0], mounted.path / ENVELOPES[1]
    plain.write_bytes(SECRET)
    plain.rename(secret)
    assert secret.read_bytes() == SECRET and vault.detail("app.yaml") is None
    first = vault.detail(ENVELOPES[0])
    assert SECRET.strip() not in first.content and first.encrypted_data_key
    secret.rename(again)
    assert again.read_bytes() == SECRET
    assert vault.detail(ENVELOPES[1]).encrypted_data_key != first.encrypted_data_key
    again.rename(plain)
    stored = vault.detail("app.yaml")
    assert stored.content == SECRET and not stored.encrypted_data_key
    assert "leaves encryption" in mounted.log_text()


def test_server_that_loses_the_data_key_is_refused_before_it_can(nacos_224: NacosServer, mount: Mounts, keyring: Path,
                                                                 space_of: Callable[[NacosServer], Space]) -> None:
    """Over HTTP that server drops data keys, also of configs that have one. It can tell them."""
    space = space_of(nacos_224)
    mounted = mount(space.server, space.namespace, space.group, options=with_keyring(keyring))
    (mounted.path / ENVELOPES[0]).write_bytes(SECRET)
    stored = space.detail(ENVELOPES[0])
    over_http = mount(space.server, space.namespace, space.group, options=with_keyring(keyring, transport="http"))
    assert (over_http.path / ENVELOPES[0]).read_bytes() == SECRET
    for name in ENVELOPES:
        with pytest.raises(OSError) as refused:
            (over_http.path / name).write_bytes(SECRET + b"more\n")
        assert refused.value.errno == errno.EOPNOTSUPP
    assert space.detail(ENVELOPES[0]) == stored and space.detail(ENVELOPES[1]) is None
    (over_http.path / DIRECT).write_bytes(SECRET)
    assert (over_http.path / DIRECT).read_bytes() == SECRET
    assert SECRET.strip() not in space.detail(DIRECT).content


def test_rotation_of_the_keyring(vault: Space, mounted: Mount, keyring: Path, tmp_path: Path) -> None:
    (mounted.path / DIRECT).write_bytes(SECRET)
    run_nacosfs("--new-keyring", tmp_path / "newer")
    with keyring.open("ab") as ring:
        ring.write((tmp_path / "newer").read_bytes())
    (mounted.path / ENVELOPES[0]).write_bytes(SECRET)
    assert (mounted.path / DIRECT).read_bytes() == SECRET
    assert (mounted.path / ENVELOPES[0]).read_bytes() == SECRET
    assert run_nacosfs("--new-keyring", keyring).returncode == 1  # never over an existing one
