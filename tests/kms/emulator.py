#!/usr/bin/python3
"""An emulator of a cloud's key service, all of it on 127.0.0.1: the shared gateway ("v1"), a dedicated instance ("v3"), both over
TLS with a CA of their own, and the metadata service of a machine with a RAM role.

    with Emulator(folder) as emulator:
        emulator.gateway_host, emulator.dedicated_host, emulator.authority.ca_file, emulator.metadata_url, ...
        emulator.fail("throttle", times=2)      # the next two requests
        emulator.requests                       # what came, in order

By hand: `cd tests && python3 -m kms.emulator FOLDER` prints the settings as JSON and runs until it is interrupted.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Callable

from . import dedicated, gateway
from .certificates import Authority, make_client_key
from .keys import Keys, KeyServiceError

DEFAULT_KEY = "acs-mse-default-key-0001"
KEY = "key-emulator0001"
OTHER_KEY = "key-emulator0002"
ROLE = "emulator-role"
ROLE_PATH = "/latest/meta-data/ram/security-credentials/"

# What goes wrong on demand, as error answers: HTTP status and code.
REFUSALS = {
    "throttle": (400, "Rejected.Throttling"),
    "unavailable": (503, "ServiceUnavailableTemporary"),
    "internal": (500, "InternalFailure"),
    "forbidden": (403, "Forbidden.NoPermission"),
}
# And in other ways: see Handler.
FAULTS = {*REFUSALS, "slow", "garbage", "html", "torn", "hang-up", "huge", "empty", "no-version", "other-blob", "other-text"}


@dataclass
class Fault:
    kind: str
    times: int
    api: str | None  # None: any
    seconds: float


@dataclass
class Request:
    """What came, and how it ended."""

    service: str  # "gateway", "dedicated", "metadata"
    api: str
    target: str  # the URL, as a log of the server would have it
    status: int = 0
    code: str = ""


@dataclass
class Role:
    """What the metadata service knows."""

    name: str = ROLE
    needs_token: bool = False  # version 2 only
    has_tokens: bool = True  # False: version 1 only
    life: float = 3600
    code: str = "Success"
    broken: bool = False
    tokens: set[str] = field(default_factory=set)
    issued: list[gateway.Account] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    emulator: "Emulator"

    def log_message(self, *_: object) -> None:
        pass

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def _send(self, status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _play(self, fault: Fault, content_type: str) -> bool:
        """Answers in the way of the fault; False when there is still a true answer to give."""
        if fault.kind == "slow":
            self.emulator.stopping.wait(fault.seconds)
            return False
        if fault.kind == "hang-up":
            self._hang_up()
        elif fault.kind == "torn":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"Plaintext\": \"AAAA")
            self.wfile.flush()
            self._hang_up()
        elif fault.kind == "garbage":
            self._send(200, b"\xff\x00\x12{[garbage" * 20, content_type)
        elif fault.kind == "html":
            self._send(502, b"<html><h1>502 Bad Gateway</h1></html>", "text/html")
        elif fault.kind == "huge":
            self._send(200, b"x" * (2 << 20), content_type)
        elif fault.kind == "empty":
            self._send(200, b"", content_type)
        else:
            return False
        return True


class GatewayHandler(Handler):
    def do_POST(self) -> None:
        body = self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = self.emulator.note("gateway", headers.get("x-acs-action", ""), self.path)
        fault = self.emulator.take_fault(request.api)
        if fault and self._play(fault, "application/json"):
            return
        try:
            if fault and fault.kind in REFUSALS:
                raise KeyServiceError(*REFUSALS[fault.kind], "on demand")
            path, _, query = self.path.partition("?")
            if path != "/":
                raise KeyServiceError(404, "InvalidAction.NotFound", path)
            answer = self.emulator.gateway.answer("POST", query, headers, body)
            if fault and fault.kind == "other-blob" and "CiphertextBlob" in answer:
                answer["CiphertextBlob"] = self.emulator.gateway._wrap(OTHER_KEY, b"something else")["CiphertextBlob"]
            if fault and fault.kind == "other-text" and "Plaintext" in answer:
                answer["Plaintext"] = "something else"
            request.status = 200
            self._send(200, json.dumps(answer).encode(), "application/json")
        except KeyServiceError as error:
            request.status, request.code = error.status, error.code
            self._send(error.status, gateway.error_body(error), "application/json")


class DedicatedHandler(Handler):
    TYPE = "application/x-protobuf"

    def do_POST(self) -> None:
        body = self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = self.emulator.note("dedicated", headers.get("x-kms-apiname", ""), self.path)
        fault = self.emulator.take_fault(request.api)
        if fault and self._play(fault, self.TYPE):
            return
        try:
            if fault and fault.kind in REFUSALS:
                raise KeyServiceError(*REFUSALS[fault.kind], "on demand")
            if self.path != "/":
                raise KeyServiceError(404, "InvalidAction", self.path)
            answer_headers, answer = self.emulator.dedicated.answer(headers, body)
            if fault and fault.kind == "no-version":
                answer_headers = {}
            if fault and fault.kind == "other-blob":
                fields = dedicated.read_message(answer)
                key = self.emulator.keys.find(OTHER_KEY)
                iv, ciphertext = self.emulator.keys.wrap(key, key.versions[0], b"something else")
                if request.api == "Encrypt":
                    answer = dedicated.write_message({**fields, 2: ciphertext, 3: iv})
            if fault and fault.kind == "other-text" and request.api == "Decrypt":
                answer = dedicated.write_message({**dedicated.read_message(answer), 2: b"something else"})
            request.status = 200
            self._send(200, answer, self.TYPE, answer_headers)
        except KeyServiceError as error:
            request.status, request.code = error.status, error.code
            self._send(error.status, dedicated.error_body(error), self.TYPE)


class MetadataHandler(Handler):
    def _refused(self, request: Request) -> bool:
        """Did the role's settings end it?"""
        role = self.emulator.role
        if role.broken:
            request.status = 500
            self._send(500, b"broken", "text/plain")
            return True
        token = self.headers.get("x-aliyun-ecs-metadata-token")
        if (role.needs_token and not token) or (token and token not in role.tokens):
            request.status = 403
            self._send(403, b"Forbidden", "text/plain")
            return True
        return False

    def do_PUT(self) -> None:
        self._read_body()
        request = self.emulator.note("metadata", "token", self.path)
        role = self.emulator.role
        life = self.headers.get("x-aliyun-ecs-metadata-token-ttl-seconds", "")
        if role.broken or not role.has_tokens or self.path != "/latest/api/token" or not life.isdigit():
            request.status = 404
            self._send(404, b"", "text/plain")
            return
        token = secrets.token_urlsafe(32)
        role.tokens.add(token)
        request.status = 200
        self._send(200, token.encode(), "text/plain")

    def do_GET(self) -> None:
        request = self.emulator.note("metadata", "role", self.path)
        fault = self.emulator.take_fault("metadata", exactly=True)
        if (fault and self._play(fault, "application/json")) or self._refused(request):
            return
        role = self.emulator.role
        if self.path == ROLE_PATH:
            request.status = 200
            self._send(200, role.name.encode(), "text/plain")
        elif self.path == ROLE_PATH + role.name:
            account = self.emulator.gateway.new_temporary(role.life)
            role.issued.append(account)
            assert account.ends
            stamp = "%Y-%m-%dT%H:%M:%SZ"
            request.status = 200
            self._send(200, json.dumps({
                "Code": role.code, "AccessKeyId": account.id, "AccessKeySecret": account.secret,
                "SecurityToken": account.token, "Expiration": time.strftime(stamp, time.gmtime(account.ends)),
                "LastUpdated": time.strftime(stamp, time.gmtime())}).encode(), "application/json")
        else:
            request.status = 404
            self._send(404, b"", "text/plain")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        pass  # clients that hang up, or won't have our certificate: that's what the tests are about


class TlsServer(Server):
    """Shakes hands in the thread of the connection, so that one that never does holds up nobody."""

    context: ssl.SSLContext

    def finish_request(self, request: socket.socket, client_address: object) -> None:
        with suppress(OSError):
            request.settimeout(60)
            tls = self.context.wrap_socket(request, server_side=True)
            try:
                super().finish_request(tls, client_address)  # type: ignore[arg-type]
            finally:
                with suppress(OSError):
                    tls.shutdown(socket.SHUT_RDWR)
                tls.close()


class Emulator:
    """See the head of this file. folder: an empty directory for its certificates and keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stopping = threading.Event()
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._servers: list[Server] = []
        self.keys = Keys()
        self.keys.add(DEFAULT_KEY, "alias/acs/mse")
        self.keys.add(KEY, "alias/emulator")
        self.keys.add(OTHER_KEY)
        self.gateway = gateway.Gateway(self.keys)
        self.account = gateway.Account("LTAI5tEmulator", secrets.token_hex(15))
        self.gateway.add_account(self.account)
        self.authority = Authority(folder)
        self.client_key = make_client_key(folder, "KAAP.emulator")
        self.dedicated = dedicated.Dedicated(self.keys, self.client_key)
        self.role = Role()
        good = self.authority.server_file("server")
        self.gateway_host = self._serve(GatewayHandler, good)
        self.dedicated_host = self._serve(DedicatedHandler, good)
        self.metadata_url = "http://" + self._serve(MetadataHandler, None)
        self.access_key_file = self.write_access_key("access-key", self.account)

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self, handler: type[Handler], certificate: Path | None) -> str:
        bound: Callable[..., Handler] = type(handler.__name__, (handler,), {"emulator": self})
        server: Server
        if certificate:
            server = TlsServer(("127.0.0.1", 0), bound)  # type: ignore[arg-type]
            server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.context.load_cert_chain(certificate)
        else:
            server = Server(("127.0.0.1", 0), bound)  # type: ignore[arg-type]
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    def serve_badly(self, service: str, how: str) -> str:
        """The address of one more server, whose certificate is "expired", "foreign" (of a CA that nobody trusts), or "elsewhere" (of
        another host)."""
        authority = Authority(self.folder, "foreign") if how == "foreign" else self.authority
        certificate = authority.server_file(f"{service}-{how}", expired=how == "expired",
                                            host="127.0.0.9" if how == "elsewhere" else "127.0.0.1")
        return self._serve(GatewayHandler if service == "gateway" else DedicatedHandler, certificate)

    def write_access_key(self, name: str, account: gateway.Account) -> Path:
        path = self.folder / name
        new = self.folder / (name + ".new")
        new.touch(mode=0o600)
        new.write_text(f"accessKey={account.id}\nsecretKey={account.secret}\n"
                       + (f"securityToken={account.token}\n" if account.token else ""))
        return new.rename(path)

    # ------------------------------------------------------------ faults, and what happened

    def fail(self, kind: str, times: int = 1, api: str | None = None, seconds: float = 60) -> None:
        """The next requests (of that API; "metadata" for the metadata service) go wrong that way."""
        assert kind in FAULTS, kind
        with self._lock:
            self._faults.append(Fault(kind, times, api, seconds))

    def heal(self) -> None:
        with self._lock:
            self._faults.clear()

    def take_fault(self, api: str, exactly: bool = False) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.api == api or (fault.api is None and not exactly):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                    return fault
        return None

    def note(self, service: str, api: str, target: str) -> Request:
        request = Request(service, api, target)
        with self._lock:
            self.requests.append(request)
        return request

    def calls(self) -> list[str]:
        """The APIs that were asked for since the last time, and forgets them."""
        with self._lock:
            calls = [request.api for request in self.requests]
            self.requests.clear()
        return calls

    def settings(self) -> dict[str, str]:
        return {"gateway": self.gateway_host, "dedicated": self.dedicated_host, "metadata": self.metadata_url,
                "ca_file": str(self.authority.ca_file), "access_key_file": str(self.access_key_file),
                "client_key_file": str(self.client_key.file), "password_file": str(self.client_key.password_file),
                "key_id": KEY, "role": self.role.name}


def main() -> None:
    with Emulator(Path(sys.argv[1])) as emulator:
        print(json.dumps(emulator.settings(), indent=1), flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
