# SPDX-License-Identifier: MIT
"""What goes over nanomsg's tcp, by hand: a client that may send anything, sealed by whoever has the cluster's key, and a relay that keeps what it
passes on."""

import ctypes
import hashlib
import socket
import struct
import threading

from harness import PATIENCE_S, free_ports

HELLO_PUSH = bytes([0, 0x53, 0x50, 0, 0, 0x50, 0, 0])  # the first bytes of a PUSH; a PULL answers with 0x51


def message(data):
    """As it goes over a connection: its length, big-endian, and its bytes."""
    return struct.pack(">Q", len(data)) + data


def host_port(endpoint):
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    return host, int(port)


def connect(endpoint, hello=HELLO_PUSH):
    """A connection to a PULL, with the first bytes sent."""
    sock = socket.create_connection(host_port(endpoint), timeout=PATIENCE_S)
    sock.sendall(hello)
    return sock


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def send(endpoint, *messages):
    """Deliver messages over a connection of their own; they have been read by the other end's kernel when this returns."""
    with connect(endpoint) as sock:
        read_exactly(sock, 8)
        for data in messages:
            sock.sendall(message(data))
        sock.shutdown(socket.SHUT_WR)
        try:
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass


def frame(kind, header, body=b""):
    return b"CVG1" + struct.pack("<BBHII", 1, kind, 0, len(header), len(body)) + header + body


def field(number, value):
    """A bytes field or a number of protobuf; small ones only."""
    if isinstance(value, bytes):
        return bytes([number << 3 | 2, len(value)]) + value
    return bytes([number << 3, value])


def hello(api_boot, result_address):
    return frame(1, field(1, api_boot) + field(3, 0) + field(4, result_address.encode()))


def seal(key_line, data, sender, receiver=bytes(16), counter=1):
    """Sealed with XChaCha20-Poly1305 under a line of the file of cluster keys, as docs/protocol.md says."""
    number, key = key_line.split()
    cipher, number = 1, int(number)
    text = b"cavage seal 1".ljust(16, b"\0") + struct.pack("<BI", cipher, number) + sender + receiver
    session = hashlib.blake2b(text, digest_size=32, key=bytes.fromhex(key)).digest()
    behind = struct.pack("<Q", counter) + sender + receiver + struct.pack("<IB3x", number, cipher) + b"CVS1"
    out = ctypes.create_string_buffer(len(data) + 16)
    length = ctypes.c_ulonglong
    ctypes.CDLL("libsodium.so.23").crypto_aead_xchacha20poly1305_ietf_encrypt(
        out, None, data, length(len(data)), behind, length(len(behind)), None, struct.pack("<Q", counter).ljust(24, b"\0"), session,
    )
    return out.raw + behind


class Relay:
    """Stands before a PULL: passes on all that comes, and keeps a copy of each message."""

    def __init__(self, target):
        self.target = target
        self.endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self.kept = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(host_port(self.endpoint))
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(host_port(self.target))
            except OSError:
                near.close()
                continue
            self.sockets += [near, far]
            threading.Thread(target=self._forth, args=(near, far), daemon=True).start()
            threading.Thread(target=self._back, args=(near, far), daemon=True).start()

    def _forth(self, near, far):
        try:
            far.sendall(read_exactly(near, 8))
            while True:
                head = read_exactly(near, 8)
                data = read_exactly(near, struct.unpack(">Q", head)[0])
                with self.lock:
                    self.kept.append(data)
                far.sendall(head + data)
        except OSError:
            pass
        near.close()
        far.close()

    @staticmethod
    def _back(near, far):
        try:
            while data := far.recv(65536):
                near.sendall(data)
        except OSError:
            pass
        near.close()
        far.close()

    def messages(self):
        with self.lock:
            return list(self.kept)

    def close(self):
        self.listener.close()
        for sock in self.sockets:
            sock.close()
