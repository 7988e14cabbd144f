"""What a mount makes of `cipher-` configs that are not what they should be, and of key services that are not: the errno of the
table, a log line with the config and the reason, the reason in user.nacos.error, never any content, and a mount that goes on.

Each kind of key service (emulated) has one mount, and each test names of its own.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from harness.mounts import Mount, MountFailed, Mounts, Space, make_space, remove_space
from harness.servers import NacosServer
from harness.waiting import wait_until
from kms.emulator import KEY, Emulator
from test_cipher_kms import options_of

SECRET = b"password: correct-horse-battery-staple\nuser: me\n"
PREFIXES = {"aes-256": "cipher-kms-aes-256-", "aes-128": "cipher-kms-aes-128-", "direct": "cipher-"}
ENVELOPES = ("aes-256", "aes-128")


class Sealed(NamedTuple):
    """What a server stores of an encrypted config."""

    content: bytes
    data_key: str  # "": none


@dataclass
class Site:
    """One key service, a mount that uses it, and a place on the server."""

    kind: str
    emulator: Emulator
    space: Space
    mounts: Mounts
    mounted: Mount
    count: int = 0

    def name(self, form: str) -> str:
        self.count += 1
        return f"{PREFIXES[form]}{self.count}.yaml"

    def file(self, name: str) -> Path:
        return self.mounted.path / name

    def mount(self, **options: object) -> Mount:
        """One more mount, until the end of the test."""
        return self.mounts(self.space.server, self.space.namespace, self.space.group,
                           options={**options_of(self.emulator, self.kind), **options})

    def unmount_others(self) -> None:
        """They would look at each config that comes, with requests to the key service."""
        for mounted in self.mounts.mounts[:]:
            if mounted is not self.mounted:
                self.mounts.mounts.remove(mounted)
                mounted.unmount()

    def sealed(self, form: str, text: bytes = SECRET) -> Sealed:
        """As a client would store it, with a data key that the mount does not know."""
        if form == "direct":
            return Sealed(self.blob(text).encode(), "")
        key, padder = os.urandom(32 if form == "aes-256" else 16), PKCS7(128).padder()
        cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        content = cipher.update(padder.update(text) + padder.finalize()) + cipher.finalize()
        return Sealed(base64.b64encode(content), self.blob(base64.b64encode(key)))

    def save(self, name: str, text: bytes) -> None:
        """Through the mount, until the server's read path has it too."""
        self.file(name).write_bytes(text)
        stored = self.space.detail(name).content
        wait_until(lambda: self.space.get(name) == stored, what=f"{name} to be served")

    def plant(self, form: str, sealed: Sealed) -> str:
        """Stores that as a config which the mount has not seen."""
        name = self.name(form)
        self.space.publish(name, sealed.content, **({"encrypted_data_key": sealed.data_key} if sealed.data_key else {}))
        return name

    def blob(self, text: bytes) -> str:
        """Text as the key service would wrap it."""
        return str(self.emulator.gateway._wrap(KEY, text)["CiphertextBlob"])


def refused(action: Callable[[], object]) -> int:
    with pytest.raises(OSError) as failure:
        action()
    return failure.value.errno


def assert_unreadable(site: Site, mounted: Mount, name: str, number: int, words: str) -> None:
    """Reading gives that errno, a log line that names the config and says the words, and no content anywhere."""
    file = mounted.path / name
    before = len(mounted.log_text())
    stored = site.space.get(name)
    assert refused(file.read_bytes) == number, mounted.log_text()[before:]
    log = mounted.log_text()[before:]
    assert [line for line in log.splitlines() if name in line and words in line], log
    reason = os.getxattr(file, "user.nacos.error")
    assert words.encode() in reason
    for text in (log.encode(), reason):
        assert b"correct-horse" not in text and stored[:24] not in text
    # It is there all the same.
    assert file.stat().st_size >= 0


def assert_alive(site: Site, mounted: Mount) -> None:
    """Other configs are read, with help of the key service, and saved."""
    name = "cipher-alive.yaml"
    (mounted.path / name).write_bytes(b"alive: yes\n")
    assert (mounted.path / name).read_bytes() == b"alive: yes\n"
    assert mounted.process.poll() is None


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@pytest.fixture(scope="module")
def site_of(nacos_of: Callable[[str], NacosServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Site]]:
    """The site of a kind, made when it is first asked for."""
    sites: dict[str, Site] = {}
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator(tmp_path_factory.mktemp("kms")))

        def make(kind: str) -> Site:
            if kind not in sites:
                space, mounts = make_space(nacos_of("3.1.0")), Mounts()
                stack.callback(remove_space, space)
                stack.callback(mounts.close)
                mounted = mounts(space.server, space.namespace, space.group, options=options_of(emulator, kind))
                sites[kind] = Site(kind, emulator, space, mounts, mounted)
            return sites[kind]

        yield make


@pytest.fixture(params=["v1", "v3"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def site(site_of: Callable[[str], Site], kind: str) -> Iterator[Site]:
    site = site_of(kind)
    yield site
    site.emulator.heal()
    site.emulator.keys.find(KEY, even_disabled=True).enabled = True
    site.unmount_others()


# ---------------------------------------------------------------- configs


def edited(text: bytes | str, change: Callable[[bytearray], object]) -> bytes:
    """Base64 whose bytes were changed."""
    raw = bytearray(base64.b64decode(text))
    changed = change(raw)
    return base64.b64encode(changed if isinstance(changed, (bytes, bytearray)) else raw)


def flip_last(raw: bytearray) -> None:
    raw[-1] ^= 1


@dataclass
class Damage:
    """What is stored instead of a good config."""

    make: Callable[[Site, str, Sealed], tuple[bytes, str]]
    words: str
    forms: tuple[str, ...] = ENVELOPES
    number: int = errno.EBADMSG


NOT_CIPHERTEXT = "the stored text is not ciphertext"
DAMAGED = "the stored text is damaged, or its data key is not its own"
KEY_DAMAGED = "the data key of this config is damaged"
NOT_OF_ITS_MAKING = "the key service can't decrypt this"
ALL = (*ENVELOPES, "direct")
DAMAGES = {
    "plain text": Damage(lambda site, form, good: (SECRET, good.data_key), NOT_CIPHERTEXT, ALL),
    "plain text without a data key": Damage(lambda site, form, good: (SECRET, ""), NOT_CIPHERTEXT, ALL),
    "plain text like base64": Damage(lambda site, form, good: (b"password", good.data_key), NOT_CIPHERTEXT),
    "a token like base64": Damage(lambda site, form, good: (b"c2VjcmV0LXRva2VuLTEyMzQ1Njc4OTA=", ""),
                                  "damaged, or not", ("direct",)),
    "tampered": Damage(lambda site, form, good: (edited(good.content, flip_last), good.data_key), DAMAGED),
    "tampered direct": Damage(lambda site, form, good: (edited(good.content, flip_last), ""), NOT_OF_ITS_MAKING,
                              ("direct",)),
    "cut in the middle of a block": Damage(lambda site, form, good: (good.content[:-4], good.data_key),
                                           NOT_CIPHERTEXT),
    "cut between blocks": Damage(lambda site, form, good: (edited(good.content, lambda raw: raw[:-16]),
                                                           good.data_key), DAMAGED),
    "cut direct": Damage(lambda site, form, good: (edited(good.content, lambda raw: raw[:-1]), ""), NOT_OF_ITS_MAKING,
                         ("direct",)),
    "blocks swapped": Damage(lambda site, form, good: (edited(good.content, lambda raw: raw[-16:] + raw[:-16]),
                                                       good.data_key), DAMAGED),
    "no data key": Damage(lambda site, form, good: (good.content, ""), "the data key of this config is lost"),
    "data key of another config": Damage(
        lambda site, form, good: (good.content, site.sealed(form).data_key), DAMAGED),
    "data key that is no key": Damage(lambda site, form, good: (good.content, site.blob(b"hello")),
                                      "the data key is not base64"),
    "data key in clear": Damage(lambda site, form, good: (good.content, base64.b64encode(bytes(32)).decode()),
                                "damaged, or not"),
    "data key that is no base64": Damage(lambda site, form, good: (good.content, "{}"), KEY_DAMAGED),
    "data key cut": Damage(lambda site, form, good: (good.content, edited(good.data_key,
                                                                          lambda raw: raw[:-1]).decode()),
                           NOT_OF_ITS_MAKING),
    "data key tampered": Damage(lambda site, form, good: (good.content,
                                                          edited(good.data_key, flip_last).decode()),
                                NOT_OF_ITS_MAKING),
    "data key of an unknown key": Damage(
        lambda site, form, good: (good.content, edited(good.data_key, lambda raw: b"0" * 36 + raw[36:]).decode()),
        NOT_OF_ITS_MAKING),
    "huge": Damage(lambda site, form, good: (b"A" * 300_032, good.data_key),
                   "damaged", ENVELOPES),
    "huge direct": Damage(lambda site, form, good: (b"A" * 300_032, ""), "too large", ("direct",)),
}
ROWS = [(form, name) for name, damage in DAMAGES.items() for form in damage.forms]


@pytest.mark.parametrize(("form", "what"), ROWS)
def test_damaged_configs(site: Site, form: str, what: str) -> None:
    damage = DAMAGES[what]
    name = site.plant(form, Sealed(*damage.make(site, form, site.sealed(form))))
    asked = len(site.emulator.requests)
    assert_unreadable(site, site.mounted, name, damage.number, damage.words)
    if damage.words in (NOT_CIPHERTEXT, KEY_DAMAGED, "damaged, or not", "too large"):
        assert len(site.emulator.requests) == asked, "what can't be a blob was sent to the key service"
    # Nothing of it can be built upon, but it can be replaced.
    site.file(name).write_bytes(b"password: new\n")
    assert site.file(name).read_bytes() == b"password: new\n"
    assert "user.nacos.error" not in os.listxattr(site.file(name))
    assert b"password" not in site.space.detail(name).content
    assert_alive(site, site.mounted)


v3_only = pytest.mark.parametrize("kind", ["v3"])


@v3_only  # the answers of v1 are JSON: always text
def test_decrypted_bytes_that_are_no_text(site: Site) -> None:
    name = site.plant("direct", Sealed(site.blob(b"\xff\xfe not UTF-8").encode(), ""))
    assert_unreadable(site, site.mounted, name, errno.EBADMSG, "what the key service decrypted is not UTF-8")


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("form", ALL)
def test_rotated_and_disabled_keys(site: Site, form: str) -> None:
    """What an earlier version of the key wrapped stays readable. A disabled key is ENOKEY until it is enabled again."""
    name = site.name(form)
    site.save(name, SECRET)
    site.emulator.keys.rotate(KEY)
    fresh = site.mount()
    assert (fresh.path / name).read_bytes() == SECRET
    site.save(name, SECRET + b"after: rotation\n")
    site.emulator.keys.find(KEY).enabled = False
    late = site.mount()
    assert_unreadable(site, late, name, errno.ENOKEY, "Rejected.Disabled")
    assert refused(lambda: (late.path / name).write_bytes(b"password: new\n")) == errno.ENOKEY
    assert b"Rejected.Disabled" in os.getxattr(late.path / name, "user.nacos.error")
    (kept,) = (late.path / ".nacosfs" / "unsaved").iterdir()
    assert (kept / "yours").read_bytes() == b"password: new\n"
    site.emulator.keys.find(KEY, even_disabled=True).enabled = True
    assert (late.path / name).read_bytes() == SECRET + b"after: rotation\n"
    (late.path / name).write_bytes(b"password: newer\n")
    assert "user.nacos.error" not in os.listxattr(late.path / name)


@pytest.mark.parametrize("form", ALL)
def test_direct_encryption_has_a_limit_and_envelopes_have_not(site: Site, form: str) -> None:
    name, large = site.name(form), b"x" * 6145
    site.file(name).write_bytes(large[:-1])
    if form == "direct":
        assert refused(lambda: site.file(name).write_bytes(large)) == errno.EFBIG
        assert b"6144 bytes at most" in os.getxattr(site.file(name), "user.nacos.error")
        assert site.file(name).read_bytes() == large[:-1]
    else:
        site.file(name).write_bytes(large)
        assert site.file(name).read_bytes() == large


@v3_only
def test_text_whose_ciphertext_is_too_large(site: Site) -> None:
    """10 MiB of base64 is the limit; what is more is kept, and is gone from the memory for secrets when it is removed."""
    name, text = site.name("aes-256"), b"0123456789abcde\n" * (8 << 16)
    site.file(name).write_bytes(SECRET)
    for _ in range(4):
        # Told by close, also while the mount, a child of this process, has the file open itself to wake watchers.
        assert refused(lambda: site.file(name).write_bytes(text)) == errno.EFBIG
        assert site.file(name).read_bytes() == SECRET
        (kept,) = (site.mounted.path / ".nacosfs" / "unsaved").glob(f"*{name}")
        assert (kept / "yours").read_bytes() == text
        for entry in list(kept.iterdir()):
            entry.unlink()
        kept.rmdir()


# ---------------------------------------------------------------- key services

# What goes wrong at the service, and what the reason must say of it.
FAULTS = {
    "garbage": "the answer of the key service", "empty": "the answer of the key service", "html": "HTTP 502",
    "torn": "127.0.0.1", "hang-up": "127.0.0.1", "huge": "", "forbidden": "Forbidden.NoPermission",
}


@pytest.mark.parametrize(("form", "fault"), [("aes-256", fault) for fault in FAULTS] + [("direct", "garbage")])
def test_key_service_that_fails(site: Site, form: str, fault: str) -> None:
    name = site.plant(form, site.sealed(form))
    stored = site.space.detail(name)
    site.emulator.fail(fault, times=1000)
    # Not earlier: a mount looks at new configs by itself.
    unknown = site.plant(form, site.sealed(form))
    assert_unreadable(site, site.mounted, unknown, errno.ENOKEY, FAULTS[fault])
    before = len(site.mounted.log_text())
    assert refused(lambda: site.file(name).write_bytes(SECRET + b"more: text\n")) == errno.ENOKEY
    log = site.mounted.log_text()[before:]
    assert [line for line in log.splitlines() if f"{name}: not saved" in line and FAULTS[fault] in line], log
    assert b"correct-horse" not in log.encode() + os.getxattr(site.file(name), "user.nacos.error")
    assert site.space.detail(name) == stored
    site.emulator.heal()
    assert site.file(unknown).read_bytes() == SECRET
    assert_alive(site, site.mounted)


@pytest.mark.parametrize("form", ["aes-256", "direct"])
def test_blob_or_text_of_another_key(site: Site, form: str) -> None:
    """A service that hands out another's blob would make a config that nobody can read; one that hands out another's text is
    found out where there is something to compare it with."""
    name = site.plant(form, site.sealed(form))
    stored = site.space.detail(name)
    site.emulator.fail("other-blob", times=1000)
    assert refused(lambda: site.file(name).write_bytes(b"password: new\n")) == errno.ENOKEY
    assert b"can't decrypt what it has just encrypted" in os.getxattr(site.file(name), "user.nacos.error")
    assert site.space.detail(name) == stored
    site.emulator.heal()
    assert site.file(name).read_bytes() == SECRET
    if form != "direct":
        site.emulator.fail("other-text", times=1000)
        unknown = site.plant(form, site.sealed(form))
        assert_unreadable(site, site.mounted, unknown, errno.EBADMSG, "the data key is not base64")
        site.emulator.heal()
        assert site.file(unknown).read_bytes() == SECRET


def test_slow_key_service(site: Site) -> None:
    """Everything ends within the timeout of the mount; what needs no key service does not wait for it."""
    mounted = site.mount(timeout=2)
    site.emulator.fail("slow", times=1000, seconds=30)
    names = [site.plant("aes-256", site.sealed("aes-256")) for _ in range(4)]
    site.space.publish("plain.yaml", b"a: 1\n")
    with within(7):
        assert_unreadable(site, mounted, names[0], errno.ENOKEY, "127.0.0.1")
    with within(3):
        assert refused(lambda: (mounted.path / "cipher-kms-aes-256-new").write_bytes(SECRET)) == errno.ENOKEY
    with within(1):
        assert (mounted.path / "plain.yaml").read_bytes() == b"a: 1\n"
    # Not once a config: sizes that can't be told are 0.
    with within(1.5):
        assert {entry.name: entry.stat().st_size for entry in os.scandir(mounted.path)}.items() >= \
            {name: 0 for name in names}.items()
    site.emulator.heal()
    for name in names:
        assert (mounted.path / name).read_bytes() == SECRET
        wait_until(lambda: (mounted.path / name).stat().st_size == len(SECRET), what="the true size")


@pytest.mark.parametrize("form", ["aes-256", "direct"])
def test_looking_at_damaged_configs_asks_the_key_service_once(site: Site, form: str) -> None:
    good, group = site.sealed(form), f"ALONE-{form}"
    alone = Space(site.space.server, site.space.namespace, group)
    name = site.name(form)
    mounted = site.mounts(alone.server, alone.namespace, group, options=options_of(site.emulator, site.kind))
    site.emulator.calls()
    alone.publish(name, edited(good.content, flip_last), **({"encrypted_data_key": good.data_key} if good.data_key else {}))
    file = mounted.path / name
    for _ in range(3):
        assert file.stat().st_size == 0
        assert "user.nacos.encrypted" in os.listxattr(file) and os.getxattr(file, "user.nacos.md5")
        subprocess.run(["ls", "-l", mounted.path], check=True, stdout=subprocess.DEVNULL)
        time.sleep(1.1)  # what the kernel may remember
    # Twice when the mount was just looking at the new config by itself.
    assert site.emulator.calls() in (["Decrypt"], ["Decrypt"] * 2)


@pytest.mark.parametrize("how", ["expired", "foreign", "elsewhere"])
def test_certificate_of_the_key_service(site: Site, how: str) -> None:
    """Nothing is sent to a service that can't prove to be the right one."""
    name = site.plant("aes-256", site.sealed("aes-256"))
    mounted = site.mount(kms_endpoint=site.emulator.serve_badly("gateway" if site.kind == "v1" else "dedicated", how))
    site.emulator.calls()
    assert_unreadable(site, mounted, name, errno.ENOKEY, "TLS")
    assert refused(lambda: (mounted.path / name).write_bytes(b"password: new\n")) == errno.ENOKEY
    assert refused(lambda: (mounted.path / "cipher-new.yaml").write_bytes(b"password: new\n")) == errno.ENOKEY
    assert site.emulator.calls() == []
    assert site.file(name).read_bytes() == SECRET


def test_wrong_key_id_and_no_service_at_all(site: Site) -> None:
    """They show when something is saved; reading needs no key id."""
    name = site.plant("direct", site.sealed("direct"))
    mounted = site.mount(kms_key_id="no-such-key")
    assert (mounted.path / name).read_bytes() == SECRET
    assert refused(lambda: (mounted.path / name).write_bytes(b"password: new\n")) == errno.ENOKEY
    assert b"Forbidden.KeyNotFound" in os.getxattr(mounted.path / name, "user.nacos.error")
    mounted = site.mount(kms_endpoint="127.0.0.1:1")
    assert_unreadable(site, mounted, name, errno.ENOKEY, "127.0.0.1:1")


# ---------------------------------------------------------------- the client key of v3


def client_key_with(emulator: Emulator, folder: Path, *options: str) -> Path:
    """The emulator's client key, packed by OpenSSL with those options."""
    original = json.loads(emulator.client_key.file.read_text())
    password = emulator.client_key.password_file.read_text().strip()
    (folder / "old.p12").write_bytes(base64.b64decode(original["PrivateKeyData"]))

    def openssl(*words: object) -> None:
        subprocess.run(["openssl", "pkcs12", *words], check=True, capture_output=True)

    openssl("-in", folder / "old.p12", "-nodes", "-passin", f"pass:{password}", "-out", folder / "key.pem", "-legacy")
    openssl("-export", "-in", folder / "key.pem", "-passout", f"pass:{password}", "-out", folder / "new.p12", *options)
    path = folder / "client-key.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({**original, "PrivateKeyData": base64.b64encode((folder / "new.p12").read_bytes()).decode()}))
    return path


@v3_only
@pytest.mark.parametrize("options", ["-legacy -certpbe PBE-SHA1-RC2-40 -keypbe PBE-SHA1-3DES -macalg sha1",
                                     "-legacy -certpbe PBE-SHA1-RC2-40 -keypbe PBE-SHA1-RC2-40 -macalg sha1",
                                     "-certpbe AES-256-CBC -keypbe AES-256-CBC"])
def test_client_keys_old_and_new(site: Site, options: str, tmp_path: Path) -> None:
    mounted = site.mount(kms_client_key_file=client_key_with(site.emulator, tmp_path, *options.split()))
    name = site.plant("aes-256", site.sealed("aes-256"))
    assert (mounted.path / name).read_bytes() == SECRET
    (mounted.path / name).write_bytes(b"password: new\n")
    wait_until(lambda: site.file(name).read_bytes() == b"password: new\n", what="the new text")


def secret_file(folder: Path, text: str) -> Path:
    path = folder / "secret"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


@pytest.mark.parametrize(("kind", "option", "text", "words"), [
    ("v3", "kms_password_file", "wrong\n", "password is wrong"),
    ("v3", "kms_password_file", "", ""),
    ("v3", "kms_client_key_file", "{\"KeyId\": \"KAAP.x\", \"PrivateKeyData\": \"AAAA\"}", "PKCS#12"),
    ("v3", "kms_client_key_file", "not JSON", "JSON"),
    ("v3", "kms_client_key_file", "", ""),
    ("v3", "kms_ca", "no certificate", "no certificate in it"),
    ("v1", "kms_access_key_file", "accessKey=only\n", "secretKey"),
    ("v1", "kms_access_key_file", "\x00\xff", ""),
    ("v1", "kms_ca", "no certificate", "no certificate in it"),
])
def test_files_of_the_key_service_that_are_wrong(site: Site, option: str, text: str, words: str, tmp_path: Path) -> None:
    """The mount says so in one line that names the file, and does not come up."""
    path = secret_file(tmp_path, text)
    with pytest.raises(MountFailed) as failure:
        site.mount(**{option: path})
    log = failure.value.log.strip()
    assert len(log.splitlines()) == 1 and words in log, log
    assert "wrong\n" not in log and "AAAA" not in log
