# SPDX-License-Identifier: MIT
"""Hosts that are network namespaces on one switch, whose cables can be pulled and made slow and lossy. Needs root; leaves nothing behind."""

import ctypes
import itertools
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
OWNERS = re.compile(r"^cvg(\d+)\.", re.MULTILINE)
NUMBERS = itertools.count(1)


def run(*command, check=True):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30)
    if check and done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def forbidden():
    """Why there can be no hosts here, None when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with Network() as network:
            network.host("probe", "10.0.0.1")
    except OSError as error:
        return f"network namespaces are not to be had here: {error}"
    return None


def enter(fd):
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """In a `with` block of it, the calling thread makes its sockets and processes there. Blocks nest, and threads do not disturb each other."""

    def __init__(self, name):
        self.name = name
        self.before = threading.local()
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "dev", "lo", "up")

    def __enter__(self):
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(there)
        except OSError:
            os.close(here)
            raise
        finally:
            os.close(there)
        self.before.stack = [*getattr(self.before, "stack", []), here]
        return self

    def __exit__(self, *_):
        here = self.before.stack.pop()
        enter(here)
        os.close(here)

    def remove(self):
        run("ip", "netns", "del", self.name, check=False)


class Host(Namespace):
    """One host with one cable to the switch."""

    def __init__(self, network, name, address):
        super().__init__(f"{network.prefix}{name}")
        self.network, self.port, self.address = network, name, address
        self.relay = None
        run("ip", "-n", network.switch.name, "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "-n", self.name, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", self.name, "link", "set", "dev", "eth0", "up")
        run("ip", "-n", network.switch.name, "link", "set", "dev", name, "up")
        self.heal()

    def _plug(self, *where):
        run("ip", "-n", self.network.switch.name, "link", "set", "dev", self.port, *where)

    def cut(self):
        """The network is parted here: nothing passes in either direction, and no end is told."""
        self._plug("nomaster")

    def heal(self):
        self._plug("master", "switch")

    def impair(self, delay_ms=0, loss_percent=0):
        """Frames of both directions are late by so much, and some of them are lost. By netem; a kernel that has none gets a relay of ours instead."""
        netem = ("root", "netem", "limit", 10_000, "delay", f"{delay_ms}ms", "loss", f"{loss_percent}%")
        try:
            run("tc", "-n", self.name, "qdisc", "add", "dev", "eth0", *netem)
            run("tc", "-n", self.network.switch.name, "qdisc", "add", "dev", self.port, *netem)
        except OSError as error:
            if "unknown" not in str(error):
                raise
            self.relay = Relay(self, delay_ms, loss_percent)

    def repair(self):
        if self.relay:
            self.heal()
            self.relay.close()
            self.relay = None
            return
        run("tc", "-n", self.name, "qdisc", "del", "dev", "eth0", "root")
        run("tc", "-n", self.network.switch.name, "qdisc", "del", "dev", self.port, "root")


class Relay:
    """A small switch between a host and the switch, with slow_wire.py on the way."""

    def __init__(self, host, delay_ms, loss_percent):
        self.switch = host.network.switch
        self.bridge, taps = f"b-{host.port}", (f"h-{host.port}", f"s-{host.port}")
        command = [sys.executable, Path(__file__).with_name("slow_wire.py"), *taps, str(delay_ms), str(loss_percent)]
        with self.switch:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if self.process.stdout.readline() != b"ready\n":
                raise OSError("slow_wire.py did not start")
            self._ip("add", "name", self.bridge, "type", "bridge")
            for device, master in ((taps[0], self.bridge), (taps[1], "switch")):
                self._ip("set", "dev", device, "master", master, "up")
            self._ip("set", "dev", self.bridge, "up")
            self._ip("set", "dev", host.port, "master", self.bridge)
        except OSError:
            self.close()
            raise

    def _ip(self, *what):
        run("ip", "-n", self.switch.name, "link", *what)

    def close(self):
        self.process.kill()
        self.process.wait()
        run("ip", "-n", self.switch.name, "link", "del", "dev", self.bridge, check=False)


class Network:
    """One switch, and the hosts on it."""

    def __init__(self):
        self.prefix = f"cvg{os.getpid()}.{next(NUMBERS)}-"
        for pid in set(OWNERS.findall(run("ip", "netns", "list"))):
            if not Path(f"/proc/{pid}").exists():  # it was killed before it could do so itself
                remove_all(f"cvg{pid}.")
        self.hosts = []
        self.switch = None
        try:
            self.switch = Namespace(f"{self.prefix}switch")
            run("ip", "-n", self.switch.name, "link", "add", "name", "switch", "type", "bridge")
            run("ip", "-n", self.switch.name, "link", "set", "dev", "switch", "up")
        except OSError:
            self.close()
            raise

    def host(self, name, address):
        self.hosts.append(Host(self, name, address))
        return self.hosts[-1]

    def close(self):
        for host in self.hosts:
            if host.relay:
                host.relay.close()
        remove_all(self.prefix)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def remove_all(prefix):
    for line in run("ip", "netns", "list", check=False).splitlines():
        if line.startswith(prefix):
            run("ip", "netns", "del", line.split()[0], check=False)
