"""A way to a server that can be closed: passes bytes on, refuses, denies, throttles or never answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

ANSWERS = {
    "deny": (403, "InvalidAccessKeyId"),
    "busy": (503, "SlowDown"),
    "throttle": (429, "TooManyRequests"),
    "broken": (500, "InternalError"),
}


class Gate:
    """Listens on `port`. `mode`: "pass", "down", "stall", "slow", or a key of ANSWERS."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.mode = "pass"
        self.requests = 0
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def switch(self, mode: str) -> None:
        """From now on; connections that are open are cut."""
        self.mode = mode
        for open_socket in list(self._open):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.switch("closed")
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        self.requests += 1
        with contextlib.suppress(OSError), client:
            if self.mode in ("pass", "slow"):
                self._forward(client)
            elif self.mode in ANSWERS:
                client.recv(65536)
                status, code = ANSWERS[self.mode]
                body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
                head = f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                client.sendall((head + body).encode())
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            elif self.mode == "stall":
                while client.recv(65536):
                    pass
        self._open.discard(client)

    def _forward(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._upstream_port)) as server:
            self._open.add(server)
            back = threading.Thread(target=self._pipe, args=(server, client))
            back.start()
            self._pipe(client, server)
            back.join()
            self._open.discard(server)

    def _pipe(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.mode == "slow":
                    time.sleep(0.05)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def gate(upstream_port: int) -> Iterator[Gate]:
    """An open gate to a port on loopback."""
    made = Gate(upstream_port)
    try:
        yield made
    finally:
        made.close()
