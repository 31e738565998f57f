#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A wire between two TAP devices that it makes: slow_wire.py NAME NAME DELAY_MS LOSS_PERCENT. It ends with its standard input."""

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x0002 | 0x1000
MOST_FRAMES = 10_000  # under way in one direction; further ones are lost, as in any queue
FRAME_BYTES = 2048


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_NO_PI))
    return fd


def read_all(fd):
    try:
        while True:
            yield os.read(fd, FRAME_BYTES)
    except OSError:  # no more for now, or the device is not up yet
        return


def write(fd, frame):
    try:
        os.write(fd, frame)
    except OSError:
        pass  # lost


def relay(ends, delay_s, loss):
    under_way = {end: deque() for end in ends}
    poll = select.poll()
    for fd in (*ends, sys.stdin.fileno()):
        poll.register(fd, select.POLLIN)
    while True:
        due = min((queue[0][0] for queue in under_way.values() if queue), default=None)
        wait_ms = None if due is None else max(0, (due - time.monotonic()) * 1000)
        ready = [fd for fd, _ in poll.poll(wait_ms)]
        if sys.stdin.fileno() in ready:
            return
        now = time.monotonic()
        for end, other in (ends, ends[::-1]):
            for frame in read_all(end) if end in ready else ():
                if random.random() >= loss and len(under_way[other]) < MOST_FRAMES:
                    under_way[other].append((now + delay_s, frame))
            while under_way[other] and under_way[other][0][0] <= now:
                write(other, under_way[other].popleft()[1])


def main():
    ends = tuple(tap(name) for name in sys.argv[1:3])
    print("ready", flush=True)
    relay(ends, float(sys.argv[3]) / 1000, float(sys.argv[4]) / 100)


if __name__ == "__main__":
    main()
