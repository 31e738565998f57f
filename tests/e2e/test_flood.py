# SPDX-License-Identifier: MIT
"""Strangers flood the tcp ports with connections that claim the longest messages: each costs address space for what it claims, and memory for what it
sent. nanomsg reads a message wholly before its seal can be looked at, so nothing earlier could refuse them."""

import os
import socket
import struct

import pytest

import images
import raw_bus
from harness import PATIENCE_S, wait_until

PHOTO = images.encoded("jpeg", 640, 480)
MIB = 1 << 20
FRAME_BYTES = 16 + 16384 + 68  # preamble, longest header, seal
ALWAYS_RETURNED = 32 * MIB  # what glibc maps for itself, whatever came before, and unmaps when it is freed
# What else a daemon may take meanwhile: buffers of nanomsg for its connections, and of the jobs that go on.
SLACK = 16 * MIB
SANITIZED = "CAVAGE_SAN" in os.environ  # sanitizers keep memory of their own, and are slow to give it
CONNECTIONS = 64 if SANITIZED else 300


def memory_of(daemon):
    """Bytes: (address space that was claimed to be written to, memory in use)."""
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmData", "RssAnon"))


def ports_of(running, body=32 * MIB, output=64 * MIB):
    """The ports where long messages come in: (daemon, endpoint, longest message)."""
    return (
        (running.worker, running.job_addresses[0], body + FRAME_BYTES), (running.api, running.result_addresses[0], output + FRAME_BYTES),
        (running.meter, running.usage_address, 4 * MIB + FRAME_BYTES),
    )


def claim(endpoint, length, sent=0):
    """A connection that is through nanomsg's handshake, and has sent part of a message."""
    sock = raw_bus.connect(endpoint)
    raw_bus.read_exactly(sock, 8)
    sock.sendall(struct.pack(">Q", length) + bytes(sent))
    return sock


def is_closed(sock):
    """Whether the other end closes a connection on which it has nothing to say."""
    sock.settimeout(PATIENCE_S)
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def is_open(sock):
    sock.settimeout(0)
    try:
        sock.recv(1)
    except BlockingIOError:
        return True
    return False


def let_go(daemon, held):
    """Close connections, and wait until the daemon has closed its ends."""

    def descriptors():
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    most = descriptors() - len(held)
    for sock in held:
        sock.close()
    wait_until(lambda: descriptors() <= most + 8, "the connections to be let go")


def wait_memory(daemon, condition, what):
    """Until condition(address space, memory in use)."""
    wait_until(lambda: SANITIZED or condition(*memory_of(daemon)), f"{daemon.instance}: {what}")


@pytest.fixture
def flooded(make_system):
    """make(**options): a system over tcp that has done a few jobs, and a function that does one more."""

    def make(**options):
        running = make_system(transport="tcp", **options)
        key = running.new_customer("c")

        def work():
            assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200

        for _ in range(5):
            work()
        return running, work

    return make


def test_claims_cost_address_space_only(flooded):
    running, work = flooded()
    for daemon, endpoint, longest in ports_of(running):
        space, used = memory_of(daemon)
        for _ in range(3):  # floods do not add up
            held = [claim(endpoint, longest, 20_000 if n % 2 else 0) for n in range(CONNECTIONS)]
            wait_memory(daemon, lambda now, _: now - space >= CONNECTIONS * longest * 0.9, "all of the claims to be taken")
            work()
            assert SANITIZED or memory_of(daemon)[0] - space <= CONNECTIONS * longest + SLACK
            assert SANITIZED or memory_of(daemon)[1] - used <= SLACK
            assert all(map(is_open, held))
            let_go(daemon, held)
            # The allocator may keep what is shorter for the next message.
            if longest > ALWAYS_RETURNED:
                wait_memory(daemon, lambda now, _: now - space <= SLACK, "the claims to be given back")
        work()
    assert all(daemon.process.poll() is None for daemon in running.daemons)


def test_what_is_sent_takes_no_more_than_the_longest_message_each(flooded):
    """All of the message but its last byte, where the longest is short."""
    running, work = flooded(env={"CAVAGE_API_MAX_BODY_BYTES": "1M", "CAVAGE_LIMITS_BYTES_OUT": "2M"})
    for daemon, endpoint, longest in ports_of(running, MIB, 2 * MIB):
        _, used = memory_of(daemon)
        for _ in range(3):
            held = [claim(endpoint, longest, longest - 1) for _ in range(16)]
            wait_memory(daemon, lambda _, now: now - used >= 16 * (longest - 2**16), "all that was sent to be read")
            work()
            assert SANITIZED or memory_of(daemon)[1] - used <= 16 * longest + SLACK
            let_go(daemon, held)
        work()


def test_connections_that_claim_too_much_or_speak_otherwise_are_closed(flooded):
    running, work = flooded()
    pids = [daemon.pid for daemon in running.daemons]
    hello = raw_bus.HELLO_PUSH
    firsts = (
        bytes(8), b"\xff" * 8, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", hello[:3] + b"\x01" + hello[4:],
        hello[:5] + b"\x51\x00\x00",  # another PULL
        hello[:7], b"x", b"",  # given up after a second
    )
    ports = ports_of(running)
    spaces = [memory_of(daemon)[0] for daemon, _, _ in ports]
    held = []
    for _, endpoint, longest in ports:
        for length in (longest + 1, longest + 2, 2**31 - 1, 2**31, 2**32 + longest, 2**63 - 1, 2**63, 2**64 - 1):
            held.append((endpoint, length, claim(endpoint, length, 100)))
        for first in firsts:
            sock = socket.create_connection(raw_bus.host_port(endpoint), timeout=PATIENCE_S)
            sock.sendall(first)
            sock.recv(8)  # its own first bytes, which it says to anybody
            held.append((endpoint, first, sock))
        work()
    for endpoint, said, sock in held:
        assert is_closed(sock), (endpoint, said)
        sock.close()
    for (daemon, _, _), space in zip(ports, spaces):
        assert SANITIZED or memory_of(daemon)[0] - space <= SLACK
    work()
    assert pids == [daemon.pid for daemon in running.daemons] and all(daemon.process.poll() is None for daemon in running.daemons)
