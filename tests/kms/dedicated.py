"""A dedicated instance: protobuf over HTTPS, signed with the client key (RSA, PKCS#1 v1.5, SHA-256)."""

from __future__ import annotations

import base64
import datetime
import hashlib
import secrets
import uuid
from email.utils import parsedate_to_datetime
from typing import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from .certificates import ClientKey
from .keys import Keys, KeyServiceError

VERSION_HEADER = "x-kms-migrationkeyversionid"
SKEW = 15 * 60


def write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_message(fields: dict[int, int | str | bytes]) -> bytes:
    out = b""
    for number, value in sorted(fields.items()):
        if isinstance(value, int):
            out += write_varint(number << 3) + write_varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += write_varint(number << 3 | 2) + write_varint(len(data)) + data
    return out


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def read_message(data: bytes) -> dict[int, int | bytes]:
    fields: dict[int, int | bytes] = {}
    at = 0
    try:
        while at < len(data):
            tag, at = read_varint(data, at)
            value, at = read_varint(data, at)
            if tag & 7 == 2:
                if at + value > len(data):
                    raise IndexError
                fields[tag >> 3] = data[at:at + value]
                at += value
            elif tag & 7 == 0:
                fields[tag >> 3] = value
            else:
                raise IndexError
    except IndexError:
        raise KeyServiceError(400, "InvalidParam", "The request body is invalid.") from None
    return fields


class Dedicated:
    def __init__(self, keys: Keys, client_key: ClientKey) -> None:
        self.keys, self.client_key = keys, client_key

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        if headers.get("x-kms-acccesskeyid") != self.client_key.id:
            raise KeyServiceError(401, "Unauthorized", "The client key is unknown.")
        if headers.get("x-kms-signaturemethod") != "RSA_PKCS1_SHA_256" or \
                headers.get("x-kms-apiversion") != "dkms-gcs-0.2" or \
                headers.get("content-type") != "application/x-protobuf":
            raise KeyServiceError(400, "InvalidParam", "A header is invalid.")
        try:
            date = parsedate_to_datetime(headers.get("date", ""))
            skew = abs((date - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
        except (TypeError, ValueError):
            skew = SKEW + 1
        if skew > SKEW:
            raise KeyServiceError(400, "InvalidParam", "The Param Date is invalid.")
        body_hash = hashlib.sha256(body).hexdigest().upper()
        if headers.get("content-sha256") != body_hash:
            raise KeyServiceError(400, "InvalidParam", "The Param Content-SHA256 is invalid.")
        to_sign = f"POST\n{body_hash}\napplication/x-protobuf\n{headers['date']}\n" + "".join(
            f"{name}:{headers[name].strip()}\n" for name in sorted(headers) if name.startswith("x-kms-")) + "/"
        scheme, _, signature = headers.get("authorization", "").partition(" ")
        try:
            self.client_key.public_key.verify(base64.b64decode(signature, validate=True), to_sign.encode(),
                                              padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            scheme = ""
        if scheme != "Bearer":
            raise KeyServiceError(400, "InvalidParam", "The Param Authorization is invalid.")

    def answer(self, headers: Mapping[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """Headers and body of the answer to a good request. KeyServiceError for the others."""
        self.verify(headers, body)
        request = read_message(body)
        api = headers.get("x-kms-apiname", "")
        if api == "GenerateDataKey":
            return self._generate(request)
        if api == "Encrypt":
            return self._encrypt(request)
        if api == "Decrypt":
            return self._decrypt(request, headers)
        raise KeyServiceError(404, "InvalidAction", "No such API.")

    @staticmethod
    def _text(request: dict[int, int | bytes], number: int) -> str:
        value = request.get(number)
        if not isinstance(value, bytes):
            raise KeyServiceError(400, "InvalidParam", f"Field {number} is missing.")
        return value.decode()

    def _generate(self, request: dict[int, int | bytes]) -> tuple[dict[str, str], bytes]:
        key = self.keys.find(self._text(request, 1))
        size = request.get(3)
        if not isinstance(size, int) or not 1 <= size <= 1024:
            raise KeyServiceError(400, "InvalidParam", "NumberOfBytes is invalid.")
        # The first version, however often the key was rotated: as Encrypt.
        version, text = key.versions[0], secrets.token_bytes(size)
        iv, ciphertext = self.keys.wrap(key, version, text)
        return {VERSION_HEADER: version.id}, write_message(
            {1: key.id, 2: iv, 3: text, 4: ciphertext, 5: str(uuid.uuid4()), 6: "AES_GCM"})

    def _encrypt(self, request: dict[int, int | bytes]) -> tuple[dict[str, str], bytes]:
        key, text = self.keys.find(self._text(request, 1)), request.get(2)
        if not isinstance(text, bytes):
            raise KeyServiceError(400, "InvalidParam", "Plaintext is missing.")
        version = key.versions[0]
        iv, ciphertext = self.keys.wrap(key, version, text)
        return {VERSION_HEADER: version.id}, write_message(
            {1: key.id, 2: ciphertext, 3: iv, 4: str(uuid.uuid4()), 5: "AES_GCM"})

    def _decrypt(self, request: dict[int, int | bytes], headers: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
        ciphertext, iv = request.get(1), request.get(5)
        if not isinstance(ciphertext, bytes) or not isinstance(iv, bytes):
            raise KeyServiceError(400, "InvalidParam", "CiphertextBlob or Iv is missing.")
        try:
            key, text = self.keys.unwrap(headers.get(VERSION_HEADER, ""), iv, ciphertext)
        except KeyServiceError as error:
            if error.code == "InvalidParameter":
                error.code = "InvalidParam"
            raise
        return {VERSION_HEADER: headers[VERSION_HEADER]}, write_message(
            {1: key.id, 2: text, 3: str(uuid.uuid4()), 4: "AES_GCM"})


def error_body(error: KeyServiceError) -> bytes:
    return write_message({1: error.status, 2: error.code, 3: error.message, 4: str(uuid.uuid4())})
