"""Keys as a key service has them: versions, aliases, states; and blobs.

A blob is what the real service's look like: 36 bytes version id, 12 bytes IV, AES-256-GCM ciphertext, 16 bytes tag.
"""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLAINTEXT_LIMIT = 6144
VERSION_SIZE = 36
IV_SIZE = 12


class KeyServiceError(Exception):
    """What the service answers instead: HTTP status and error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Version:
    id: str
    master: bytes


@dataclass
class Key:
    id: str
    aliases: list[str]
    versions: list[Version] = field(default_factory=list)
    enabled: bool = True


class Keys:
    """All keys. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: list[Key] = []

    def add(self, key_id: str, *aliases: str, version_id: str | None = None, master: bytes | None = None) -> Key:
        key = Key(key_id, list(aliases), [Version(version_id or str(uuid.uuid4()), master or os.urandom(32))])
        with self._lock:
            self._keys.append(key)
        return key

    def rotate(self, key_id: str) -> None:
        """From now on another version is the primary one."""
        self.find(key_id, even_disabled=True).versions.append(Version(str(uuid.uuid4()), os.urandom(32)))

    def find(self, name: str, even_disabled: bool = False) -> Key:
        with self._lock:
            for key in self._keys:
                if name == key.id or name in key.aliases:
                    break
            else:
                raise KeyServiceError(404, "Forbidden.KeyNotFound", "The specified key is not found.")
        self._check(key, even_disabled)
        return key

    def _check(self, key: Key, even_disabled: bool) -> None:
        if not key.enabled and not even_disabled:
            raise KeyServiceError(409, "Rejected.Disabled", "The key state is not valid.")

    def wrap(self, key: Key, version: Version, text: bytes) -> tuple[bytes, bytes]:
        """IV, and ciphertext with tag."""
        if len(text) > PLAINTEXT_LIMIT:
            raise KeyServiceError(400, "InvalidParameter", "The specified parameter Plaintext is too long.")
        iv = os.urandom(IV_SIZE)
        return iv, AESGCM(version.master).encrypt(iv, text, None)

    def unwrap(self, version_id: str, iv: bytes, ciphertext: bytes) -> tuple[Key, bytes]:
        with self._lock:
            found = [(key, version) for key in self._keys for version in key.versions if version.id == version_id]
        if not found:
            raise KeyServiceError(400, "InvalidParameter", "The specified parameter CiphertextBlob is not valid.")
        key, version = found[0]
        self._check(key, False)
        try:
            return key, AESGCM(version.master).decrypt(iv, ciphertext, None)
        except (InvalidTag, ValueError):
            raise KeyServiceError(400, "InvalidParameter", "The specified parameter CiphertextBlob is not valid.") from None
