"""The shared gateway: `POST /` with an ACS3-HMAC-SHA256 signature, parameters in the query or in a form body, JSON answers.

Signatures are verified as the real one does: every x-acs- header must be signed, the body must have the hash that was signed, a
nonce counts once, the clock may be wrong by a quarter of an hour.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import re
import secrets
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Mapping
from urllib.parse import parse_qsl, quote

from .keys import IV_SIZE, VERSION_SIZE, Keys, KeyServiceError

EMPTY_HASH = hashlib.sha256(b"").hexdigest()
SKEW = 15 * 60
NEEDED = ("host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version")


@dataclass
class Account:
    """An access key; with a token, a temporary one."""

    id: str
    secret: str
    token: str | None = None
    ends: float | None = None


def refuse(status: int, code: str, message: str = "") -> KeyServiceError:
    return KeyServiceError(status, code, message or code)


def percent(text: str) -> str:
    return quote(text, safe="-_.~")


class Gateway:
    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._lock = threading.Lock()
        self._accounts: dict[str, Account] = {}
        self._nonces: set[str] = set()

    def add_account(self, account: Account) -> None:
        with self._lock:
            self._accounts[account.id] = account

    def remove_account(self, account_id: str) -> None:
        with self._lock:
            self._accounts.pop(account_id, None)

    def new_temporary(self, life: float) -> Account:
        account = Account("STS." + secrets.token_hex(8), secrets.token_hex(16), secrets.token_urlsafe(120),
                          time.time() + life)
        self.add_account(account)
        return account

    # ------------------------------------------------------------ signatures

    def verify(self, method: str, query: str, headers: Mapping[str, str], body: bytes) -> None:
        match = re.fullmatch(r"ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})",
                             headers.get("authorization", ""))
        if not match:
            raise refuse(400, "IncompleteSignature")
        access_key_id, names, signature = match[1], match[2].split(";"), match[3]
        account = self._account(access_key_id, headers)
        self._check_headers(names, headers, body)
        canonical_query = "&".join(f"{percent(name)}={percent(value)}"
                                   for name, value in sorted(parse_qsl(query, keep_blank_values=True)))
        canonical = "\n".join([method, "/", canonical_query,
                               "".join(f"{name}:{headers[name].strip()}\n" for name in names),
                               ";".join(names), headers["x-acs-content-sha256"]])
        to_sign = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
        right = hmac.new(account.secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, signature):
            raise refuse(400, "SignatureDoesNotMatch")
        with self._lock:
            if headers["x-acs-signature-nonce"] in self._nonces:
                raise refuse(400, "SignatureNonceUsed")
            self._nonces.add(headers["x-acs-signature-nonce"])

    def _account(self, access_key_id: str, headers: Mapping[str, str]) -> Account:
        with self._lock:
            account = self._accounts.get(access_key_id)
        if not account:
            raise refuse(404, "InvalidAccessKeyId.NotFound")
        if account.token is not None:
            if "x-acs-security-token" not in headers:
                raise refuse(400, "MissingSecurityToken")
            if headers["x-acs-security-token"] != account.token:
                raise refuse(400, "InvalidSecurityToken.MismatchWithAccessKey")
            if headers.get("x-acs-accesskey-id", access_key_id) != access_key_id:
                raise refuse(400, "InvalidAccessKeyId")
            assert account.ends
            if time.time() > account.ends:
                raise refuse(403, "InvalidSecurityToken.Expired")
        return account

    @staticmethod
    def _check_headers(names: list[str], headers: Mapping[str, str], body: bytes) -> None:
        if names != sorted(set(names)) or any(name not in headers for name in names):
            raise refuse(400, "IncompleteSignature", "SignedHeaders")
        must = set(NEEDED) | {name for name in headers if name.startswith("x-acs-")}
        if not must <= set(names):
            raise refuse(400, "IncompleteSignature", "not signed: " + ", ".join(must - set(names)))
        if body and "content-type" not in names:
            raise refuse(400, "IncompleteSignature", "content-type is not signed")
        if headers["x-acs-content-sha256"] != hashlib.sha256(body).hexdigest():
            raise refuse(400, "SignatureDoesNotMatch", "x-acs-content-sha256")
        if headers["x-acs-version"] != "2016-01-20":
            raise refuse(400, "InvalidVersion")
        try:
            date = datetime.datetime.strptime(headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ")
        except ValueError:
            raise refuse(400, "IllegalTimestamp") from None
        if abs((date - datetime.datetime.utcnow()).total_seconds()) > SKEW:
            raise refuse(400, "InvalidTimeStamp.Expired")

    # ------------------------------------------------------------ actions

    def answer(self, method: str, query: str, headers: Mapping[str, str], body: bytes) -> dict[str, object]:
        """The JSON of a good request. KeyServiceError for the others."""
        self.verify(method, query, headers, body)
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        if body:
            if not headers["content-type"].startswith("application/x-www-form-urlencoded"):
                raise refuse(400, "InvalidContentType")
            parameters.update(parse_qsl(body.decode(), keep_blank_values=True))
        action = headers["x-acs-action"]
        handler = getattr(self, "_do_" + action, None)
        if not handler:
            raise refuse(404, "InvalidAction.NotFound")
        try:
            return {**handler(parameters), "RequestId": str(uuid.uuid4()).upper()}
        except KeyError as missing:
            raise refuse(400, "MissingParameter", str(missing)) from None

    def _wrap(self, key_name: str, text: bytes) -> dict[str, object]:
        key = self.keys.find(key_name)
        version = key.versions[-1]
        iv, ciphertext = self.keys.wrap(key, version, text)
        blob = base64.b64encode(version.id.encode() + iv + ciphertext).decode()
        return {"CiphertextBlob": blob, "KeyId": key.id, "KeyVersionId": version.id}

    def _do_GenerateDataKey(self, parameters: dict[str, str]) -> dict[str, object]:
        size = {"AES_256": 32, "AES_128": 16}.get(parameters.get("KeySpec", "AES_256"))
        if not size:
            raise refuse(400, "InvalidParameter", "KeySpec")
        text = base64.b64encode(secrets.token_bytes(size))
        return {**self._wrap(parameters["KeyId"], text), "Plaintext": text.decode()}

    def _do_Encrypt(self, parameters: dict[str, str]) -> dict[str, object]:
        return self._wrap(parameters["KeyId"], parameters["Plaintext"].encode())

    def _do_Decrypt(self, parameters: dict[str, str]) -> dict[str, object]:
        try:
            blob = base64.b64decode(parameters["CiphertextBlob"], validate=True)
            version_id = blob[:VERSION_SIZE].decode("ascii")
        except ValueError:
            raise refuse(400, "InvalidParameter", "CiphertextBlob") from None
        iv = blob[VERSION_SIZE:VERSION_SIZE + IV_SIZE]
        key, text = self.keys.unwrap(version_id, iv, blob[VERSION_SIZE + IV_SIZE:])
        return {"Plaintext": text.decode(), "KeyId": key.id, "KeyVersionId": version_id}

    def _do_DescribeKey(self, parameters: dict[str, str]) -> dict[str, object]:
        key = self.keys.find(parameters["KeyId"], even_disabled=True)
        return {"KeyMetadata": {"KeyId": key.id, "Arn": f"acs:kms:emulator:1:key/{key.id}",
                                "KeyState": "Enabled" if key.enabled else "Disabled", "KeySpec": "Aliyun_AES_256"}}

    def _do_SetDeletionProtection(self, parameters: dict[str, str]) -> dict[str, object]:
        return {}


def error_body(error: KeyServiceError) -> bytes:
    return json.dumps({"Code": error.code, "Message": error.message, "RequestId": str(uuid.uuid4()).upper(),
                       "HostId": "emulator"}).encode()
