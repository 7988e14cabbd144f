"""A TCP proxy before a server, which can be told to misbehave."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading


def free_port() -> int:
    """A port of the loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TcpProxy:
    """Forwards to a port of the loopback; with `tls` it speaks TLS to its clients.

    stall() holds back all that flows, in open and new connections; refuse() closes everything; resume() ends both.
    `openings` has the first bytes that came on each connection, before any TLS of ours.
    """

    def __init__(self, target_port: int, tls: ssl.SSLContext | None = None,
                 listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.target_port = target_port
        self.openings: list[bytes] = []
        self.is_deaf = threading.Event()  # an answer is being lost
        self._lost: bytes | None = None
        self.tls = tls  # for the next connections
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._address, self.port = listen
        self._listen()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._flowing.set()

    def stall(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()
        if self._listener.fileno() == -1:
            self._listen()

    def refuse(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Breaks the open connections."""
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def lose_answer_to(self, text: bytes) -> None:
        """Lets the next request that has this text in it pass, and nothing more back on that connection: cut() it."""
        self.is_deaf.clear()
        self._lost = text

    def _listen(self) -> None:
        self._listener = socket.create_server((self._address, self.port), backlog=200)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(client)
            with self._lock:
                self._sockets.add(client)
            opening = client.recv(16, socket.MSG_PEEK)
            with self._lock:
                self._sockets.remove(client)
                self.openings.append(opening)
            if self.tls:
                client = stack.enter_context(self.tls.wrap_socket(client, server_side=True))
            server = stack.enter_context(socket.create_connection(("127.0.0.1", self.target_port)))
            with self._lock:
                self._sockets |= {client, server}
            deaf = threading.Event()
            back = threading.Thread(target=self._copy_back, args=(server, client, deaf), daemon=True)
            back.start()
            self._copy(client, server, deaf)
            back.join()
            with self._lock:
                self._sockets -= {client, server}

    def _copy(self, source: socket.socket, target: socket.socket, deaf: threading.Event) -> None:
        seen = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                if self._lost:
                    seen += data
                    if self._lost in seen:
                        self._lost = None
                        deaf.set()
                        self.is_deaf.set()
                    seen = seen[-len(self._lost or b"."):]
                target.sendall(data)
        self._end(source, target)

    def _copy_back(self, source: socket.socket, target: socket.socket, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                if not deaf.is_set():
                    target.sendall(data)
        self._end(source, target)

    @staticmethod
    def _end(source: socket.socket, target: socket.socket) -> None:
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class ServerProxy:
    """Proxies before both ports of a server: that of HTTP, and that of gRPC, which clients expect 1000 above it.

    `grpc` says what is at the second: "proxy", nobody ("refused"), or what swallows all attempts ("black hole").
    """

    def __init__(self, server_port: int, grpc: str = "proxy", http_tls: ssl.SSLContext | None = None,
                 grpc_tls: ssl.SSLContext | None = None) -> None:
        self.port = _free_port_pair()
        self.http = TcpProxy(server_port, http_tls, ("127.0.0.1", self.port))
        self.grpc: TcpProxy | None = None
        self._swallowed: list[socket.socket] = []
        if grpc == "proxy":
            self.grpc = TcpProxy(server_port + 1000, grpc_tls, ("127.0.0.1", self.port + 1000))
        elif grpc == "black hole":
            self._swallow(self.port + 1000)

    def __enter__(self) -> ServerProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.__exit__()
        if self.grpc:
            self.grpc.__exit__()
        for each in self._swallowed:
            each.close()

    def _swallow(self, port: int) -> None:
        """A listener whose queue is full: the kernel drops what comes then."""
        listener = socket.create_server(("127.0.0.1", port), backlog=0)
        self._swallowed.append(listener)
        for _ in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
            self._swallowed.append(waiting)


def _free_port_pair() -> int:
    """A free port with another one 1000 above it, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(12000, 31000)
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1000))
            return port
