"""The key services of nacosfs against the emulator, and the emulator against the official Java client: both must understand each
other through it. All faults that a key service can have, and what nacosfs makes of them.

The client is a small program (tests/kms/kms_client.c) that calls crypto/ as the file system does. No Nacos is needed.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import pytest

from kms.clients import java_class_path, java_client, java_key_service  # noqa: F401
from kms.emulator import KEY, ROLE, Emulator

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / (Path(os.environ.get("NACOSFS_BINARY", "build/nacosfs")).parent)
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TEXTS = ["hello", "", "user: 世界\npassword: \"p&<>w😀\"\n", "0123456789abcdef", "a=b&c=%20 +/\r\n\t", "\x01\x7f"]


# ---------------------------------------------------------------- set-up


@pytest.fixture(scope="session")
def client_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("kms") / "kms_client"
    subprocess.run(["gcc", "-I.", "-D_GNU_SOURCE", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread",
                    *(SANITIZE if BUILD.name == "build-asan" else []), "-o", program, "tests/kms/kms_client.c",
                    BUILD / "libnacosfs.a", "-lcurl", "-lcrypto", "-lcjson"], cwd=ROOT, check=True)
    return program


@pytest.fixture(scope="module")
def shared_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Iterator[Emulator]:
    shared_emulator.calls()
    yield shared_emulator
    shared_emulator.heal()
    shared_emulator.keys.find(KEY, even_disabled=True).enabled = True
    role = shared_emulator.role
    role.needs_token, role.has_tokens, role.life, role.code, role.broken = False, True, 3600, "Success", False


class Refused(Exception):
    """`error ERRNO reason`."""

    def __init__(self, line: str) -> None:
        _, self.errno, self.reason = line.split(" ", 2)
        super().__init__(line)


class Client:
    """A running kms_client."""

    def __init__(self, program: Path, kind: str, **options: object) -> None:
        words = [f"{name}={value}" for name, value in options.items() if value is not None]
        self.process = subprocess.Popen([program, kind, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self) -> list[str]:
        assert self.process.stdout
        line = self.process.stdout.readline().rstrip("\n")
        if line.startswith("error"):
            raise Refused(line)
        assert line.startswith(("ok", "ready")), f"{line!r} {self.process.stderr and self.process.stderr.read()}"
        return line.split(" ")[1:]

    def ask(self, *words: str) -> list[str]:
        assert self.process.stdin
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def generate(self, size: int) -> tuple[bytes, str]:
        text, blob = self.ask("generate", str(size))
        return base64.b64decode(text, validate=True), blob

    def encrypt(self, text: str) -> str:
        return self.ask("encrypt", text.encode().hex() or "-")[0]

    def decrypt(self, blob: str) -> str:
        return bytes.fromhex(self.ask("decrypt", blob)[0]).decode()

    def seal(self, data_id: str, text: str) -> tuple[str, str]:
        content, data_key = self.ask("seal", data_id, text.encode().hex() or "-")
        return content, data_key

    def open(self, data_id: str, content: str, data_key: str) -> str:
        return bytes.fromhex(self.ask("open", data_id, content, data_key)[0]).decode()

    def requests(self) -> int:
        return int(self.ask("requests")[0])

    def close(self) -> str:
        """Ends it, and gives its log. It must have freed all its secrets, and everything else under a sanitizer."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.stdin = None
        _, log = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, log
        return log


@dataclass
class Clients:
    program: Path
    emulator: Emulator
    running: list[Client]

    def start(self, kind: str, **options: object) -> Client:
        defaults: dict[str, object] = {"key_id": KEY, "ca_file": self.emulator.authority.ca_file}
        if kind == "v1":
            defaults["endpoint"] = self.emulator.gateway_host
            if "ram_role" in options:
                defaults["metadata_url"] = self.emulator.metadata_url
            else:
                defaults["access_key_file"] = self.emulator.access_key_file
        else:
            defaults["endpoint"] = self.emulator.dedicated_host
            defaults["client_key_file"] = self.emulator.client_key.file
            defaults["password_file"] = self.emulator.client_key.password_file
        client = Client(self.program, kind, **{**defaults, **options})
        self.running.append(client)
        return client


@pytest.fixture
def clients(client_program: Path, emulator: Emulator) -> Iterator[Clients]:
    clients = Clients(client_program, emulator, [])
    yield clients
    for client in clients.running:
        if client.process.stdin:
            client.close()


both = pytest.mark.parametrize("kind", ["v1", "v3"])


# ---------------------------------------------------------------- what must work


@both
@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back(clients: Clients, emulator: Emulator, kind: str, text: str) -> None:
    if kind == "v3" and not text:
        pytest.skip("an empty field is an absent one in protobuf; nothing empty is ever stored")
    client = clients.start(kind)
    blob = client.encrypt(text)
    assert client.decrypt(blob) == text
    assert emulator.calls() == ["Encrypt", "Decrypt"]
    assert client.encrypt(text) != blob


@both
@pytest.mark.parametrize("size", [16, 32])
def test_data_keys(clients: Clients, emulator: Emulator, kind: str, size: int) -> None:
    client = clients.start(kind)
    key, blob = client.generate(size)
    assert len(key) == size
    assert emulator.calls() == (["GenerateDataKey"] if kind == "v1" else ["GenerateDataKey", "Encrypt"])
    assert len(blob) == {16: 120, 32: 144}[size]
    assert base64.b64decode(client.decrypt(blob)) == key
    assert client.generate(size)[0] != key


@both
def test_largest_direct_text(clients: Clients, kind: str) -> None:
    client = clients.start(kind)
    assert client.decrypt(client.encrypt("世" * 2048)) == "世" * 2048
    with pytest.raises(Refused) as refused:
        client.encrypt("x" * 6145)
    assert refused.value.errno == "EFBIG"


def test_both_services_read_each_other(clients: Clients) -> None:
    v1, v3 = clients.start("v1"), clients.start("v3")
    assert v3.decrypt(v1.encrypt("one")) == "one"
    assert v1.decrypt(v3.encrypt("three")) == "three"


@both
@pytest.mark.parametrize("data_id", ["cipher-kms-aes-256-x", "cipher-kms-aes-128-x", "cipher-x"])
def test_configs(clients: Clients, emulator: Emulator, kind: str, data_id: str) -> None:
    """And how many requests each step costs."""
    client = clients.start(kind)
    content, data_key = client.seal(data_id, "a: b\n")
    direct = data_id == "cipher-x"
    two = kind == "v3" and not direct
    assert len(emulator.calls()) == (2 if two else 1)
    assert (data_key == "-") == direct
    assert client.open(data_id, content, data_key) == "a: b\n"
    assert len(emulator.calls()) == (1 if direct else 0)
    other = clients.start(kind)
    assert other.open(data_id, content, data_key) == other.open(data_id, content, data_key) == "a: b\n"
    assert len(emulator.calls()) == (2 if direct else 1)
    assert client.requests() == (2 if direct or two else 1)


def test_no_secret_in_a_url(clients: Clients, emulator: Emulator) -> None:
    client = clients.start("v1")
    client.decrypt(client.encrypt("hunter2"))
    key, _ = client.generate(32)
    targets = " ".join(request.target for request in emulator.requests)
    assert "hunter2" not in targets
    assert base64.b64encode(key).decode().rstrip("=") not in targets
    assert emulator.account.secret not in targets


def test_default_key(clients: Clients, emulator: Emulator) -> None:
    """Without a key id and an address, the official clients' own alias; with an address, only reading works."""
    blob = clients.start("v1").encrypt("x")
    client = clients.start("v1", key_id=None)
    assert client.decrypt(blob) == "x"
    with pytest.raises(Refused) as refused:
        client.encrypt("x")
    assert refused.value.errno == "ENOKEY" and "kms_key_id" in refused.value.reason
    assert clients.start("v1", key_id="alias/acs/mse").encrypt("x")


@both
def test_rotated_and_disabled_keys(clients: Clients, emulator: Emulator, kind: str) -> None:
    client = clients.start(kind)
    old = client.encrypt("old")
    old_key, old_blob = client.generate(32)
    emulator.keys.rotate(KEY)
    assert client.decrypt(old) == "old"
    assert base64.b64decode(client.decrypt(old_blob)) == old_key
    assert client.decrypt(client.encrypt("new")) == "new"
    emulator.keys.find(KEY).enabled = False
    for action in (lambda: client.decrypt(old), lambda: client.encrypt("x"), lambda: client.generate(32)):
        with pytest.raises(Refused) as refused:
            action()
        assert refused.value.errno == "ENOKEY"
        assert "Rejected.Disabled" in refused.value.reason


# ---------------------------------------------------------------- credentials


def test_temporary_credentials_from_a_file(clients: Clients, emulator: Emulator) -> None:
    account = emulator.gateway.new_temporary(3600)
    client = clients.start("v1", access_key_file=emulator.write_access_key("temporary", account))
    blob = client.encrypt("x")
    # Rotated: the old ones are void, the file has new ones.
    emulator.gateway.remove_account(account.id)
    with pytest.raises(Refused) as refused:
        client.decrypt(blob)
    assert refused.value.errno == "ENOKEY" and "InvalidAccessKeyId.NotFound" in refused.value.reason
    emulator.write_access_key("temporary", emulator.gateway.new_temporary(3600))
    assert client.decrypt(blob) == "x"


def test_wrong_credentials(clients: Clients, emulator: Emulator) -> None:
    wrong = emulator.gateway.new_temporary(3600)
    wrong.secret, right = "wrong", wrong.secret
    path = emulator.write_access_key("wrong", wrong)
    wrong.secret = right
    with pytest.raises(Refused) as refused:
        clients.start("v1", access_key_file=path).encrypt("x")
    assert refused.value.errno == "ENOKEY" and "SignatureDoesNotMatch" in refused.value.reason
    wrong.token, token = "other", wrong.token
    path = emulator.write_access_key("wrong", wrong)
    wrong.token = token
    with pytest.raises(Refused) as refused:
        clients.start("v1", access_key_file=path).encrypt("x")
    assert "InvalidSecurityToken" in refused.value.reason


@pytest.mark.parametrize("role", [ROLE, ""])
@pytest.mark.parametrize("metadata", ["both", "only with a token", "only without"])
def test_ram_role(clients: Clients, emulator: Emulator, role: str, metadata: str) -> None:
    emulator.role.needs_token = metadata == "only with a token"
    emulator.role.has_tokens = metadata != "only without"
    client = clients.start("v1", ram_role=role)
    assert client.decrypt(client.encrypt("x")) == "x"
    calls = emulator.calls()
    # Fetched once for both requests.
    assert calls == ["token"] + ["role"] * (1 if role else 2) + ["Encrypt", "Decrypt"]


def test_ram_role_is_renewed_before_it_ends(clients: Clients, emulator: Emulator) -> None:
    """Three minutes before; and the old credentials are used while new ones can't be had."""
    emulator.role.life = 179
    client = clients.start("v1", ram_role=ROLE)
    blob = client.encrypt("x")
    assert emulator.calls() == ["token", "role", "Encrypt"]
    emulator.role.broken = True
    assert client.decrypt(blob) == "x"
    emulator.role.broken, emulator.role.life = False, 3600
    time.sleep(10.1)
    emulator.calls()
    assert client.decrypt(blob) == client.decrypt(blob) == "x"
    assert emulator.calls() == ["token", "role", "Decrypt", "Decrypt"]


def test_ram_role_that_ended(clients: Clients, emulator: Emulator) -> None:
    emulator.role.life = 2
    client = clients.start("v1", ram_role=ROLE)
    blob = client.encrypt("x")
    time.sleep(2.1)
    emulator.role.broken = True
    with pytest.raises(Refused) as refused:
        client.decrypt(blob)
    assert refused.value.errno == "ENOKEY" and "metadata service" in refused.value.reason
    emulator.role.broken = False
    assert client.decrypt(blob) == "x"


def test_one_fetch_for_many_threads(clients: Clients, emulator: Emulator) -> None:
    blob = clients.start("v1").encrypt("x")
    emulator.calls()
    emulator.fail("slow", api="metadata", seconds=0.5)
    clients.start("v1", ram_role=ROLE).ask("many", "16", blob)
    calls = emulator.calls()
    assert calls.count("role") == 1 and calls.count("Decrypt") == 16


@pytest.mark.parametrize("fault", ["garbage", "html", "torn", "hang-up", "huge", "empty"])
def test_metadata_faults(clients: Clients, emulator: Emulator, fault: str) -> None:
    emulator.fail(fault, times=99, api="metadata")
    client = clients.start("v1", ram_role=ROLE)
    with pytest.raises(Refused) as refused:
        client.encrypt("x")
    assert refused.value.errno == "ENOKEY"
    emulator.heal()
    assert client.encrypt("x")


def test_metadata_without_credentials(clients: Clients, emulator: Emulator) -> None:
    emulator.role.code = "Failed"
    with pytest.raises(Refused) as refused:
        clients.start("v1", ram_role=ROLE).encrypt("x")
    assert refused.value.errno == "ENOKEY"
    with pytest.raises(Refused) as refused:
        clients.start("v1", ram_role="another").encrypt("x")
    assert refused.value.errno == "ENOKEY"


# ---------------------------------------------------------------- faults


@both
@pytest.mark.parametrize("fault", ["throttle", "unavailable", "internal"])
def test_temporary_failures_are_tried_again(clients: Clients, emulator: Emulator, kind: str, fault: str) -> None:
    client = clients.start(kind)
    blob = client.encrypt("x")
    emulator.calls()
    emulator.fail(fault, times=2)
    assert client.decrypt(blob) == "x"
    assert emulator.calls() == ["Decrypt"] * 3
    emulator.fail(fault, times=9)
    with pytest.raises(Refused) as refused:
        client.decrypt(blob)
    assert refused.value.errno == "ENOKEY"
    assert emulator.calls() == ["Decrypt"] * 4


@both
@pytest.mark.parametrize("fault", ["forbidden", "garbage", "html", "torn", "huge", "empty", "hang-up"])
def test_other_failures_are_not(clients: Clients, emulator: Emulator, kind: str, fault: str) -> None:
    client = clients.start(kind)
    blob = client.encrypt("x")
    emulator.calls()
    for action in (lambda: client.decrypt(blob), lambda: client.encrypt("hunter2"), lambda: client.generate(32)):
        emulator.fail(fault, times=99)
        with pytest.raises(Refused) as refused:
            action()
        assert refused.value.errno == "ENOKEY", refused.value
        assert "hunter2" not in refused.value.reason and blob not in refused.value.reason
        # One that hangs up on an open connection is asked once more: libcurl can't know whether it was only idle too long.
        assert len(emulator.calls()) <= (2 if fault == "hang-up" else 1)
        emulator.heal()
    assert client.decrypt(blob) == "x"


@both
def test_slow_service(clients: Clients, emulator: Emulator, kind: str) -> None:
    """A try that takes too long is followed by another; all of it ends within the deadline."""
    client = clients.start(kind)
    blob = client.encrypt("x")
    emulator.fail("slow", seconds=30)
    assert client.decrypt(blob) == "x"
    hasty = clients.start(kind, timeout_ms=1000)
    emulator.fail("slow", times=9, seconds=30)
    start = time.monotonic()
    with pytest.raises(Refused) as refused:
        hasty.decrypt(blob)
    assert refused.value.errno == "ENOKEY"
    assert time.monotonic() - start < 2
    emulator.heal()
    assert hasty.decrypt(blob) == "x"


@both
def test_unreachable_service(clients: Clients, emulator: Emulator, kind: str) -> None:
    for endpoint in ("127.0.0.1:1", "no-such-host.invalid"):
        client = clients.start(kind, endpoint=endpoint)
        with pytest.raises(Refused) as refused:
            client.encrypt("x")
        assert refused.value.errno == "ENOKEY", refused.value


@both
def test_another_keys_blob(clients: Clients, emulator: Emulator, kind: str) -> None:
    """A service that gives a blob which it did not make of this: found out where it is verified, and never read as the config."""
    client = clients.start(kind, verify=1)
    api = "GenerateDataKey" if kind == "v1" else "Encrypt"
    for data_id, wrong_api in (("cipher-kms-aes-256-x", api), ("cipher-x", "Encrypt")):
        emulator.fail("other-blob", api=wrong_api)
        with pytest.raises(Refused) as refused:
            client.seal(data_id, "a: b\n")
        assert refused.value.errno == "ENOKEY"
        content, data_key = client.seal(data_id, "a: b\n")
        assert client.open(data_id, content, data_key) == "a: b\n"
    other = clients.start(kind)
    content, data_key = client.seal("cipher-kms-aes-256-x", "a: b\n")
    emulator.fail("other-text")
    with pytest.raises(Refused) as refused:
        other.open("cipher-kms-aes-256-x", content, data_key)
    assert refused.value.errno == "EBADMSG"
    assert other.open("cipher-kms-aes-256-x", content, data_key) == "a: b\n"


def test_answers_without_a_key_version(clients: Clients, emulator: Emulator) -> None:
    client = clients.start("v3")
    for action in (lambda: client.generate(32), lambda: client.encrypt("x")):
        emulator.fail("no-version")
        with pytest.raises(Refused) as refused:
            action()
        assert refused.value.errno == "ENOKEY"


@both
def test_damaged_blobs(clients: Clients, emulator: Emulator, kind: str) -> None:
    client = clients.start(kind)
    good = base64.b64decode(client.encrypt("x" * 100))
    bad = {
        "tampered": good[:60] + bytes([good[60] ^ 1]) + good[61:],
        "tampered version": (b"1" if good[:1] == b"0" else b"0") + good[1:],
        "truncated": good[:-1],
        "short": good[:50],
        "no blob": b"hello",
        "no version": b"\r\n" + good[2:],
        "swapped iv": good[:36] + good[47:35:-1] + good[48:],
    }
    for name, blob in bad.items():
        with pytest.raises(Refused) as refused:
            client.decrypt(base64.b64encode(blob).decode())
        assert refused.value.errno == "EBADMSG", (name, refused.value)


@pytest.mark.parametrize("service", ["gateway", "dedicated"])
@pytest.mark.parametrize("how", ["expired", "foreign", "elsewhere"])
def test_bad_certificates(clients: Clients, emulator: Emulator, service: str, how: str) -> None:
    kind = "v1" if service == "gateway" else "v3"
    client = clients.start(kind, endpoint=emulator.serve_badly(service, how))
    emulator.calls()
    with pytest.raises(Refused) as refused:
        client.encrypt("hunter2")
    assert refused.value.errno == "ENOKEY" and "TLS" in refused.value.reason
    assert emulator.calls() == []


@both
def test_ca_files(clients: Clients, emulator: Emulator, kind: str) -> None:
    authority = emulator.authority
    for ca_file in (authority.ca_file, authority.reversed_ca_file, authority.root_file, authority.below_file):
        assert clients.start(kind, ca_file=ca_file).encrypt("x")
    with pytest.raises(Refused) as refused:
        clients.start(kind, ca_file=None).encrypt("x")
    assert refused.value.errno == "ENOKEY" and "TLS" in refused.value.reason


def test_wrong_client_key(clients: Clients, emulator: Emulator, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("wrong\n")
    with pytest.raises(Refused) as refused:
        clients.start("v3", password_file=password)
    assert refused.value.errno == "EINVAL" and "password" in refused.value.reason
    key = tmp_path / "key.json"
    key.touch(mode=0o600)
    key.write_text(emulator.client_key.file.read_text().replace("KAAP.emulator", "KAAP.other"))
    with pytest.raises(Refused) as refused:
        clients.start("v3", client_key_file=key).encrypt("x")
    assert refused.value.errno == "ENOKEY" and "Unauthorized" in refused.value.reason


def test_unknown_key(clients: Clients) -> None:
    for kind in ("v1", "v3"):
        with pytest.raises(Refused) as refused:
            clients.start(kind, key_id="no-such-key").generate(32)
        assert refused.value.errno == "ENOKEY" and "Forbidden.KeyNotFound" in refused.value.reason


@both
def test_many_threads(clients: Clients, kind: str) -> None:
    client = clients.start(kind)
    blob = client.encrypt("x")
    client.ask("many", "32", blob)


# ---------------------------------------------------------------- the official Java client


@both
def test_official_java_client(clients: Clients, emulator: Emulator, java_class_path: str, tmp_path: Path,  # noqa: F811
                              kind: str) -> None:
    """What its encryption makes, nacosfs reads, and the reverse, in all formats, through the emulator's verified signatures."""
    client = clients.start(kind)
    names = ["cipher-kms-aes-256-x", "cipher-kms-aes-128-x", "cipher-x"]
    texts = [text for text in TEXTS if text.strip() and "\x01" not in text]
    with java_client(java_class_path, tmp_path, java_key_service(emulator, kind)) as java:
        for name, text in ((name, text) for name in names for text in texts):
            assert client.open(name, *java.seal(name, text.encode())) == text
            assert java.open(name, *client.seal(name, text)).decode() == text
    assert {request.status for request in emulator.requests} <= {200, 404}
