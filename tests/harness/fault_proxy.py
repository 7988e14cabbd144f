"""An HTTP proxy before a server, which can spoil single requests: what no real server will do on demand.

    with FaultProxy(server.port) as proxy:
        proxy.spoil("answer lost", publishing)      # the next request that `publishing` is true of
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Wanted = Callable[["Request"], bool]


class Request:
    def __init__(self, method: str, path: str, body: bytes) -> None:
        self.method, self.path, self.body = method, path, body


def publishing(request: Request) -> bool:
    """A publish with a content: not the question whether one may write, which has an empty one."""
    return (request.method == "POST" and request.path.endswith(("/cs/configs", "/cs/config"))
            and b"content=&" not in request.body + b"&")


def asking_to_write(request: Request) -> bool:
    """The question whether one may write: a publish without a content, which is always refused."""
    return (request.method == "POST" and request.path.endswith(("/cs/configs", "/cs/config"))
            and b"content=&" in request.body + b"&")


def listening(request: Request) -> bool:
    """Waits to be told of changes."""
    return "/cs/configs/listener" in request.path


def reading(request: Request) -> bool:
    """The content of one config, as clients get it."""
    return (request.method == "GET" and ("/v3/client/cs/config?" in request.path or "/v1/cs/configs?" in request.path)
            and "search=" not in request.path and "show=all" not in request.path)


def reading_back(request: Request) -> bool:
    return request.method == "GET" and ("show=all" in request.path or "/v3/admin/cs/config?" in request.path)


def anything(request: Request) -> bool:
    return True


# What can happen to a request. The answers of statuses are what servers were seen to send.
TOKEN_REFUSALS = {
    "token expired": (403, b'{"status":403,"error":"Forbidden","message":"token expired!"}'),
    "401": (401, b"{}"),
}
STATUSES = {
    "403 for good": (403, b'{"status":403,"error":"Forbidden","message":"authorization failed!"}'),
    "409": (409, b"requested file is being modified, please try later."),
    "429": (429, b"429"),
    "500": (500, b"caused: internal"),
    "503": (503, b"server limit match."),
}
# Where the server gets the request all the same.
STORED = ("answer lost", "answer torn", "answer garbage", "answer drips")
# Where it does not.
NOT_STORED = ("reset before", "reset in body", *STATUSES)


class _Held:
    def __init__(self, wanted: Wanted, answer: bool) -> None:
        self.wanted, self.answer = wanted, answer
        self.reached, self.ended = threading.Event(), threading.Event()


class FaultProxy:
    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.requests: list[Request] = []
        self._plan: list[tuple[str, Wanted, int]] = []
        self._held: list[_Held] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spoil(self, fault: str, wanted: Wanted, times: int = 1) -> None:
        with self._lock:
            self._plan.append((fault, wanted, times))

    @contextlib.contextmanager
    def hold(self, wanted: Wanted, answer: bool = False) -> Iterator[threading.Event]:
        """Until the end of the block such requests wait before they go on (with `answer`: their answers do); the event
        is set when the first one does."""
        held = _Held(wanted, answer)
        with self._lock:
            self._held.append(held)
        try:
            yield held.reached
        finally:
            with self._lock:
                self._held.remove(held)
            held.ended.set()

    def wait_while_held(self, request: Request, answer: bool) -> None:
        with self._lock:
            wait_for = [held for held in self._held if held.answer == answer and held.wanted(request)]
        for held in wait_for:
            held.reached.set()
            held.ended.wait()

    def heal(self) -> None:
        with self._lock:
            self._plan.clear()

    def count(self, wanted: Wanted) -> int:
        return sum(wanted(request) for request in self.requests)

    def take_fault(self, request: Request) -> str | None:
        with self._lock:
            self.requests.append(request)
            for index, (fault, wanted, times) in enumerate(self._plan):
                if wanted(request):
                    if times == 1:
                        del self._plan[index]
                    else:
                        self._plan[index] = (fault, wanted, times - 1)
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultProxy

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        request = Request(self.command, self.path, body)
        fault = self.owner.take_fault(request)
        self.owner.wait_while_held(request, False)
        if fault in ("reset before", "reset in body"):
            self._forward_part(body if fault == "reset in body" else b"")
            self._reset()
            return
        if fault in TOKEN_REFUSALS:
            self._answer(*TOKEN_REFUSALS[fault])
            return
        if fault in STATUSES:
            self._answer(*STATUSES[fault])
            return
        answer, content = self._forward(body)
        self.owner.wait_while_held(request, True)
        if fault == "answer lost":
            self._reset()
        elif fault == "answer garbage":
            self.wfile.write(b"\x00\xffnot HTTP at all\r\n\r\n")
            self.close_connection = True
        else:
            self._pass_on(answer, content, fault)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _forward_part(self, body: bytes) -> None:
        """Half a request reaches the server, which then sees the connection break."""
        if not body:
            return
        with socket.create_connection(("127.0.0.1", self.owner.target_port)) as upstream:
            head = f"{self.command} {self.path} HTTP/1.1\r\n{self.headers.as_string().strip()}\r\n\r\n"
            upstream.sendall(head.replace("\r\n", "\n").replace("\n", "\r\n").encode() + body[:len(body) // 2])

    def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        upstream = http.client.HTTPConnection("127.0.0.1", self.owner.target_port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        upstream.request(self.command, self.path, body or None, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        return answer, content

    def _pass_on(self, answer: http.client.HTTPResponse, content: bytes, fault: str | None) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "keep-alive"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "answer torn":
            self.wfile.write(content[:len(content) // 2])
            self.close_connection = True
            self._reset()
        elif fault == "answer drips":
            for index in range(len(content)):
                self.wfile.write(content[index:index + 1])
                self.wfile.flush()
                time.sleep(0.05)
        else:
            with contextlib.suppress(OSError):  # nobody waits for it any more
                self.wfile.write(content)

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        """A reset, not an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
