"""What the emulator's TLS and client keys are made of: a root CA, a CA below it, servers' certificates good and bad, and a client
key in a PKCS#12 of the old kind."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass
class Signed:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption())


def sign(name: str, issuer: Signed | None, is_ca: bool, expired: bool = False, host: str = "127.0.0.1") -> Signed:
    """A new certificate; of a CA, or of a server at that address."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
               .issuer_name(issuer.certificate.subject if issuer else subject)
               .serial_number(x509.random_serial_number())
               .not_valid_before(now - 30 * DAY).not_valid_after(now - DAY if expired else now + 30 * DAY)
               .add_extension(x509.BasicConstraints(is_ca, None), critical=True))
    if not is_ca:
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        names.append(x509.IPAddress(ipaddress.ip_address(host)))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Signed(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


class Authority:
    """A root, a CA below it, and the files that clients and servers need."""

    def __init__(self, folder: Path, name: str = "emulator") -> None:
        self.folder = folder
        self.root = sign(f"{name} root", None, True)
        self.below = sign(f"{name} CA", self.root, True)
        self.root_file = self._write(f"{name}-root.pem", self.root.certificate_pem())
        self.below_file = self._write(f"{name}-below.pem", self.below.certificate_pem())
        # As the cloud gives it, and the other way round.
        self.ca_file = self._write(f"{name}-ca.pem", self.root.certificate_pem() + self.below.certificate_pem())
        self.reversed_ca_file = self._write(f"{name}-ca-reversed.pem",
                                            self.below.certificate_pem() + self.root.certificate_pem())

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path

    def server_file(self, name: str, expired: bool = False, host: str = "127.0.0.1") -> Path:
        """Key and chain of a server, in one file."""
        server = sign(name, self.below, False, expired, host)
        return self._write(f"{name}.pem", server.key_pem() + server.certificate_pem() + self.below.certificate_pem())


@dataclass
class ClientKey:
    id: str
    public_key: rsa.RSAPublicKey
    file: Path  # the JSON
    password_file: Path


def make_client_key(folder: Path, key_id: str) -> ClientKey:
    owner = sign(key_id, None, False)
    password = "emulator-password"
    encryption = (serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2000)
                  .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
                  .build(password.encode()))
    package = pkcs12.serialize_key_and_certificates(b"client", owner.key, owner.certificate, None, encryption)
    files = []
    for name, text in (("client-key.json", json.dumps({"KeyId": key_id,
                                                       "PrivateKeyData": base64.b64encode(package).decode()})),
                       ("client-key-password", password + "\n")):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        files.append(path)
    return ClientKey(key_id, owner.key.public_key(), *files)
