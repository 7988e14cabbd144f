"""A gateway before a Nacos server that wants signed requests, as a managed Nacos does: an open-source server takes no notice of
signatures. What is signed well goes on to the server, as its admin.

    with SigningGateway(server, {"AK": Account("AK", "secret")}) as gateway:
        ... gateway.port, gateway.refusals ...

The rules are those of the official Java client (SpasAdapter and ServerHttpAgent of 1.4.1, CalculateV4SigningKeyUtil of 2.4.3).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Mapping
from urllib.parse import parse_qs, urlsplit

from harness.servers import NacosServer

# What tells the version is open to anybody; a managed one may hide it.
OPEN_PATHS = ("/nacos/v3/admin/core/state", "/nacos/v1/console/server/state", "/nacos/v1/core/cluster/self")
CLOCK_SKEW = 60


def mac(key: bytes, text: str, algorithm: str) -> bytes:
    return hmac.new(key, text.encode(), algorithm).digest()


def v4_key(secret: str, day: str, region: str) -> str:
    key = ("aliyun_v4" + secret).encode()
    for word in (day, region, "mse-nacos", "aliyun_v4_request"):
        key = mac(key, word, "sha256")
    return base64.b64encode(key).decode()


class Refused(Exception):
    pass


class SigningGateway:
    """`accounts` maps access keys to objects with `secret`, `token` and `ends` (kms.gateway.Account), and is read anew each time."""

    def __init__(self, server: NacosServer, accounts: Mapping[str, Any], region: str | None = None) -> None:
        self.server = server
        self.accounts = accounts
        self.region = region  # None: signatures without one
        self.token = server.admin.login()
        self.refusals: list[str] = []
        self.accepted: list[tuple[str, str]] = []  # access key, path
        gateway = self

        class Handler(_Handler):
            owner = gateway

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port: int = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def __enter__(self) -> SigningGateway:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def verify(self, path: str, body: bytes, headers: Mapping[str, str]) -> str:
        """The access key, or Refused."""
        query = parse_qs(urlsplit(path).query, keep_blank_values=True)
        parameters = {**query, **parse_qs(body.decode(errors="replace"), keep_blank_values=True)}
        namespace = (parameters.get("tenant") or parameters.get("namespaceId") or [""])[0]
        group = (parameters.get("group") or parameters.get("groupName") or [""])[0]
        resource = f"{namespace}+{group}" if namespace and group else group
        access_key, timestamp = headers.get("Spas-AccessKey"), headers.get("Timestamp")
        if not access_key or not timestamp or not headers.get("Spas-Signature"):
            raise Refused("not signed")
        account = self.accounts.get(access_key)
        if not account:
            raise Refused(f"access key {access_key} is unknown")
        if account.ends and account.ends < time.time():
            raise Refused(f"access key {access_key} has ended")
        if (account.token or None) != headers.get("Spas-SecurityToken"):
            raise Refused("another security token")
        if abs(int(timestamp) / 1000 - time.time()) > CLOCK_SKEW:
            raise Refused("another time")
        if (headers.get("signatureVersion") == "v4") != (self.region is not None):
            raise Refused("another version of signatures")
        key = account.secret
        if self.region is not None:
            key = v4_key(key, time.strftime("%Y%m%d", time.gmtime(int(timestamp) / 1000)), self.region)
        text = f"{resource}+{timestamp}" if resource else timestamp
        if headers["Spas-Signature"] != base64.b64encode(mac(key.encode(), text, "sha1")).decode():
            raise Refused(f"wrong signature of {resource!r}")
        return access_key


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: SigningGateway

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in ("connection", "authorization", "host")
                   and not name.lower().startswith("spas-")}
        if path not in OPEN_PATHS:
            try:
                self.owner.accepted.append((self.owner.verify(self.path, body, self.headers), path))
            except Refused as refused:
                self.owner.refusals.append(f"{self.command} {self.path}: {refused}")
                self._answer(403, b'{"status":403,"error":"Forbidden","message":"Invalid signature"}', {})
                return
            headers["Authorization"] = f"Bearer {self.owner.token}"
        upstream = http.client.HTTPConnection("127.0.0.1", self.owner.server.port, timeout=60)
        upstream.request(self.command, self.path, body or None, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self._answer(answer.status, content, {
            name: value for name, value in answer.getheaders()
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "keep-alive")})

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        try:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True
