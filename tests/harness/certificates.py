"""Certificates made for the tests: an authority, and what it signs.

    authority = Authority(directory / "ca")             # directory/ca.pem
    server = authority.issue(directory / "server", addresses=["127.0.0.1"])
    authority.issue(directory / "client", seconds=5)    # expires soon; issued again, the files are replaced
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = 86400


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path  # PKCS#8, as Java wants it


class Authority:
    def __init__(self, path: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"authority {path.name}")
        self.ca = path.with_suffix(".pem")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self._name, self._key, DAY).add_extension(constraints, critical=True)
        _replace(self.ca, _pem(certificate.sign(self._key, hashes.SHA256())), 0o644)

    def issue(self, path: Path, addresses: Iterable[str] = (), names: Iterable[str] = (), seconds: float = DAY) -> Certificate:
        """A certificate and its key, in PATH.pem and PATH.key. Negative seconds: it expired so long ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(path.name), key, seconds)
        hosts = [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses] + [x509.DNSName(each) for each in names]
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        issued = Certificate(path.with_suffix(".pem"), path.with_suffix(".key"))
        _replace(issued.key, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()), 0o600)
        _replace(issued.cert, _pem(builder.sign(self._key, hashes.SHA256())), 0o644)
        return issued

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, seconds: float) -> x509.CertificateBuilder:
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=2))
                .not_valid_after(now + datetime.timedelta(seconds=seconds)))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """As a good renewer does: nobody ever sees half a file."""
    new = path.with_name(path.name + ".new")
    new.touch(mode)
    new.write_bytes(content)
    os.rename(new, path)
