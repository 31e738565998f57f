# SPDX-License-Identifier: MIT
"""A DNS server with one zone in memory, on an address of its own, and a daemon's command that has it as the only server."""

import os
import socket
import struct
import threading

TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}


class FakeDns:
    """Answers A and AAAA from `zone`, {name: [address, …]}; SERVFAIL for a name that is not in it, and for the families in `broken`.
    Binds port 53, so it needs root."""

    def __init__(self, zone, address=None):
        self.zone = zone
        self.broken = set()
        self.address = address or f"127.53.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 1}"
        self.asked = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((self.address, 53))
        self.sock.settimeout(0.05)
        self.closing = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while not self.closing:
            try:
                query, sender = self.sock.recvfrom(4096)
            except TimeoutError:
                continue
            self.asked += 1
            answer = self._answer(query)
            if answer:
                self.sock.sendto(answer, sender)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        family = TYPES.get(struct.unpack(">H", query[at + 1 : at + 3])[0])
        addresses = self.zone.get(".".join(labels))
        if addresses is None or family in self.broken:
            return query[:2] + struct.pack(">HHHHH", 0x8182, 1, 0, 0, 0) + question
        records = b""
        count = 0
        for text in addresses:
            if family and (":" in text) == (family == socket.AF_INET6):
                data = socket.inet_pton(family, text)
                records += struct.pack(">HHHIH", 0xC00C, 1 if family == socket.AF_INET else 28, 1, 0, len(data)) + data
                count += 1
        return query[:2] + struct.pack(">HHHHH", 0x8180, 1, count, 0, 0) + question + records

    def wrap(self, daemon, folder):
        """Have the daemon start in a mount namespace in which this server is the only one."""
        conf = folder / "resolv.conf"
        conf.write_text(f"nameserver {self.address}\noptions timeout:1 attempts:1\n")
        daemon.argv = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(conf), *daemon.argv]

    def close(self):
        self.closing = True
        self.thread.join()
        self.sock.close()
