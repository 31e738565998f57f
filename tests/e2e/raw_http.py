# SPDX-License-Identifier: MIT
"""HTTP by hand, for requests that no library would send."""

import socket

from harness import PATIENCE_S


class Connection:
    """One TCP connection; answers are read to their Content-Length."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)
        return self

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"closed after {self.buffer!r}")
        self.buffer += data

    def head(self):
        """(status, {lower-case name: value}) of the next head, 100 Continue included."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        text, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = text.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        return int(lines[0].split(" ")[1]), headers

    def answer(self):
        """(status, headers, body) of the next final answer."""
        status, headers = self.head()
        while status == 100:
            status, headers = self.head()
        length = int(headers.get("content-length", 0))
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return status, headers, body

    def closed(self):
        """True when the server closes without saying more."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()


def request(method, target, headers=(), body=b"", length=True):
    """Bytes of a request; Content-Length is added unless length is False."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *headers]
    if length and (body or method == "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
