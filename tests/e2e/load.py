# SPDX-License-Identifier: MIT
"""A bounded closed-loop load in threads, which counts every answer."""

import threading
from collections import Counter

import requests

from harness import PATIENCE_S


running = []  # what a test that failed may have left behind


class Load:
    """`clients` threads that POST `body` until stop(), or until each has sent `most` requests."""

    def __init__(self, url, key, body, clients=4, most=5000):
        self.url, self.key, self.body, self.most = url, key, body, most
        self.statuses = Counter()
        self.broken = 0  # no answer: connection refused or cut
        self.details = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.answered_by = [0] * clients
        self.threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(clients)]

    def start(self):
        running.append(self)
        for thread in self.threads:
            thread.start()
        return self

    def _client(self, number):
        session = requests.Session()
        for _ in range(self.most):
            if self.stopping.is_set():
                break
            try:
                url = self.url() if callable(self.url) else self.url
                answer = session.post(url, data=self.body, headers={"Authorization": f"Bearer {self.key}"}, timeout=PATIENCE_S)
            except requests.RequestException:
                with self.lock:
                    self.broken += 1
                session = requests.Session()
                self.stopping.wait(0.05)
                continue
            with self.lock:
                self.answered_by[number] += 1
                self.statuses[answer.status_code] += 1
                if answer.status_code != 200:
                    self.details.append(answer.text[:300])
        session.close()

    @property
    def answered(self):
        with self.lock:
            return sum(self.statuses.values())

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(2 * PATIENCE_S)
            assert not thread.is_alive(), "a client hangs"
        return self
