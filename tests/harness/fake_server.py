"""A small pretended Nacos server that can be told to answer as badly as one likes.

    with FakeNacos("3.1.0") as server:
        server.configs["public", "APP", "a.txt"] = b"one"
        with server.fault("/v3/client/cs/config", status(500, b"broken")):
            ...

An answer is a function that gets the request (a BaseHTTPRequestHandler with `path` and `parameters`) and writes to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator

Answer = Callable[[Any], None]
TOKEN = "token-of-the-fake-server"
MODIFIED_MS = 1_700_000_000_123


# ---------------------------------------------------------------- answers


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(request: Any) -> None:
        request.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def document(value: Any, code: int = 200) -> Answer:
    return status(code, json.dumps(value).encode(), Content_Type="application/json")


def wrapped(data: Any, code: int = 0) -> Answer:
    return document({"code": code, "message": "success" if code == 0 else "failed", "data": data})


def truncated(body: bytes) -> Answer:
    """Promises more than it sends."""
    return status(200, body, Content_Length=str(len(body) + 100))


def dripping(body: bytes, pause: float = 0.1) -> Answer:
    """Ends some day."""

    def answer(request: Any) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        for position in range(len(body)):
            request.wfile.write(body[position:position + 1])
            time.sleep(pause)

    return answer


def flooding(size: int, start: bytes = b"", filler: bytes = b"x") -> Answer:
    """A body of so many bytes, without a length before it."""

    def answer(request: Any) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(start)
        piece = filler * 65536
        for _ in range(size // len(piece)):
            request.wfile.write(piece)

    return answer


def bytes_of(data: bytes) -> Answer:
    """Anything but HTTP."""
    return lambda request: request.wfile.write(data)


def hanging(request: Any) -> None:
    request.server.fake.ended.wait()


def broken(request: Any) -> None:
    """The connection goes without an answer."""
    request.connection.shutdown(socket.SHUT_RDWR)


# ---------------------------------------------------------------- the server


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


@dataclass
class FakeNacos:
    generation: str = "3.1.0"
    namespaces: list[str] = field(default_factory=lambda: ["public"])
    configs: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    token_seconds: int = 18000
    page_size_max: int = 5000

    def __post_init__(self) -> None:
        self.faults: dict[str, tuple[Answer, Callable[[Any], bool]]] = {}
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.fake = self  # type: ignore[attr-defined]
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> FakeNacos:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    @contextlib.contextmanager
    def fault(self, path: str, answer: Answer, when: Callable[[Any], bool] = lambda request: True) -> Iterator[None]:
        """Until the end of the block, this is the answer to requests for that path (below /nacos)."""
        self.faults[path] = answer, when
        try:
            yield
        finally:
            del self.faults[path]

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    # ------------------------------------------------------------ what a healthy one answers

    def answer(self, request: Any) -> Answer:
        fault, when = self.faults.get(request.api_path, (None, None))
        if fault and when(request):
            return fault
        kind = f"{request.command} {request.api_path}"
        return (self._answer_3 if self.generation.startswith("3") else self._answer_2)(kind, request.parameters)

    def _answer_3(self, kind: str, parameters: dict[str, str]) -> Answer:
        key = tuple(parameters.get(name, "") for name in ("namespaceId", "groupName", "dataId"))
        match kind:
            case "GET /v3/admin/core/state":
                return wrapped({"version": self.generation})
            case "POST /v3/auth/user/login":
                return document({"accessToken": TOKEN, "tokenTtl": self.token_seconds})
            case "GET /v3/admin/core/namespace/list":
                return wrapped([{"namespace": name} for name in self.namespaces])
            case "GET /v3/client/cs/config":
                if key not in self.configs:
                    return wrapped(None, 20004)
                return wrapped({**self._content(key), "contentType": "text", "lastModified": MODIFIED_MS})
            case "GET /v3/admin/cs/config":
                if key not in self.configs:
                    return document({"code": 20004, "data": "config not exist"}, 404)
                return wrapped(self.detail(key))
            case "GET /v3/admin/cs/config/list":
                rows = [{"namespaceId": k[0], "groupName": k[1], "dataId": k[2], "md5": self._content(k)["md5"]}
                        for k in self._matching(key)]
                return wrapped(self._page(rows, parameters))
            case "POST /v3/admin/cs/config":
                if not parameters.get("content"):
                    return document({"code": 10000, "data": "content missing"}, 400)
                self.configs[key] = parameters["content"].encode()
                return wrapped(True)
            case "DELETE /v3/admin/cs/config":
                self.configs.pop(key, None)
                return wrapped(True)
        return document({"status": 404, "message": "No endpoint"}, 404)

    def _answer_2(self, kind: str, parameters: dict[str, str]) -> Answer:
        key = tuple(parameters.get(name, "") for name in ("tenant", "group", "dataId"))
        key = (key[0] or "public", *key[1:])
        match kind:
            case "GET /v1/console/server/state":
                return document({"version": self.generation})
            case "POST /v1/auth/login" | "POST /v1/auth/users/login":
                return document({"accessToken": TOKEN, "tokenTtl": self.token_seconds})
            case "GET /v1/console/namespaces":
                return document({"code": 200, "data": [{"namespace": "" if name == "public" else name}
                                                       for name in self.namespaces]})
            case "GET /v1/cs/configs" if "search" in parameters:
                rows = [{"tenant": "" if k[0] == "public" else k[0], "group": k[1], "dataId": k[2],
                         "content": self.configs[k].decode()} for k in self._matching(key)]
                return document(self._page(rows, parameters))
            case "GET /v1/cs/configs" if parameters.get("show") == "all":
                return document(self.detail(key)) if key in self.configs else status(200)
            case "GET /v1/cs/configs":
                if key not in self.configs:
                    return status(404, b"config data not exist\n")
                return status(200, self.configs[key], Content_MD5=self._content(key)["md5"], Config_Type="text")
            case "POST /v1/cs/configs":
                if not parameters.get("content"):
                    return status(400, b"content is blank")
                self.configs[key] = parameters["content"].encode()
                return status(200, b"true")
            case "DELETE /v1/cs/configs":
                self.configs.pop(key, None)
                return status(200, b"true")
        return document({"status": 404, "message": "No endpoint"}, 404)

    def _content(self, key: tuple[str, ...]) -> dict[str, str]:
        content = self.configs[key]
        return {"content": content.decode(), "md5": hashlib.md5(content).hexdigest()}

    def detail(self, key: tuple[str, ...]) -> dict[str, Any]:
        return {**self._content(key), "dataId": key[2], "type": "text", "modifyTime": MODIFIED_MS, "desc": None,
                "configTags": None, "appName": None, "encryptedDataKey": ""}

    def _matching(self, key: tuple[str, ...]) -> list[tuple[str, str, str]]:
        return [k for k in list(self.configs) if k[0] == key[0] and key[1] in ("", k[1])]

    def _page(self, rows: list[dict[str, Any]], parameters: dict[str, str]) -> dict[str, Any]:
        number, size = int(parameters["pageNo"]), min(int(parameters["pageSize"]), self.page_size_max)
        return {"totalCount": len(rows), "pageNumber": number, "pagesAvailable": -(-len(rows) // size),
                "pageItems": rows[(number - 1) * size:number * size]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.api_path = url.path.removeprefix("/nacos")
        self.parameters = dict(urllib.parse.parse_qsl(f"{url.query}&{body}", keep_blank_values=True))
        fake: FakeNacos = self.server.fake  # type: ignore[attr-defined]
        fake.requests.append(Request(self.command, self.api_path, self.parameters, dict(self.headers)))
        answer = fake.answer(self)
        # What is no sound answer leaves nothing behind that a connection could be kept for.
        self.close_connection = self.api_path in fake.faults
        with contextlib.suppress(OSError):
            answer(self)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass
