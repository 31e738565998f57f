# SPDX-License-Identifier: MIT
"""A region on hosts of its own: three API servers, four workers and a meter, which speak over sealed tcp, and HAProxy before them. The addresses are those of
conf/haproxy.cfg and docs/operations.md. Each host has a data folder of its own, and each API's host its own auth cache."""

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

import images
from harness import BIN, PATIENCE_S, REPO, Daemon, UnixConnection, cluster_key, wait_until
from netns import Network

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PHOTO = images.encoded("jpeg", 640, 480)
WORKERS = 4
APIS = 3
METER = "10.0.0.31"
BALANCER = "10.0.0.5"
# Client, time, frontend, backend/server, five times in ms, status.
LOG_LINE = re.compile(r"^\S+ \[[^]]+\] customers \S+/(\S+) [-+0-9/]+ (-?\d+) ", re.MULTILINE)


class HostDaemon(Daemon):
    """A daemon that runs on a host."""

    def __init__(self, host, *args, **options):
        super().__init__(*args, **options)
        self.host = host

    def start(self, wait=True):
        with self.host:
            return super().start(wait)

    def metric(self, name, labels=""):
        with self.host:
            return super().metric(name, labels)


class Balancer:
    """HAProxy with the configuration that we ship."""

    def __init__(self, host, folder):
        self.host, self.log_path, self.stats_path = host, folder / "haproxy.log", folder / "haproxy.sock"
        more = folder / "haproxy.cfg"
        more.write_text(f"global\n    stats socket {self.stats_path}\n")
        with host, open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [HAPROXY, "-db", "-f", str(REPO / "conf" / "haproxy.cfg"), "-f", str(more)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def failed(self):
        """Requests that each server got and did not answer with 200. The log does not have all of them: where a server dies under a request that is not its
        customer's first, HAProxy cuts the customer off without an answer and logs nothing."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(str(self.stats_path))
            stats.sendall(b"show stat\n")
            text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        rows = csv.DictReader(io.StringIO(text.removeprefix("# ")))
        servers = [row for row in rows if row["pxname"] == "apis" and row["svname"] != "BACKEND"]
        return Counter({row["svname"]: int(row["stot"]) - int(row["wredis"]) - int(row["hrsp_2xx"]) for row in servers})

    def finished(self):
        """(server, status) of each request that is over."""
        return LOG_LINE.findall(self.log_path.read_text(errors="replace"))


class Load:
    """`cavage bench` on the customers' host: an open loop, until stop()."""

    def __init__(self, region, rate):
        argv = [
            BIN / "cavage", "bench", region.photo, "--json", "--url", f"http://{BALANCER}:8080", "--key-file", region.key_file,
            "--rate", rate, "--duration", "10m", "--query", "width=64", "--connections", 60,
        ]
        with region.customers:
            self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stop(self):
        """The report, once all that is under way was answered."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=2 * PATIENCE_S)
        assert out, err
        return json.loads(out)


class Region:
    def __init__(self, converter="vips", converters=2, target="300ms"):
        self.data = Path(tempfile.mkdtemp(prefix="cvn-", dir="/tmp"))
        self.network = Network()
        self.converters = converters  # of each worker
        self.target = target  # queue.target_ms
        self.daemons, self.balancer, self.loads = [], None, []
        self.threads = ThreadPoolExecutor()
        self.answered = 0  # what all loads saw
        try:
            self._build(converter)
        except BaseException:
            self.destroy()
            raise

    def _build(self, converter):
        apis = [self._host(f"api{n + 1}", f"10.0.0.{11 + n}") for n in range(APIS)]
        workers = [self._host(f"worker{n + 1}", f"10.0.0.{21 + n}") for n in range(WORKERS)]
        meter = self._host("meter", METER)
        self.customers = self.network.host("customers", "10.0.0.100")
        balancer = self.network.host("balancer", BALANCER)
        self._share(cluster_key(1), "cluster.key", apis + workers + [meter])

        self.authcaches = [self._daemon("authcache", host) for host in apis]
        self.meter = self._daemon("meter", meter, METER_LISTEN=f"tcp://{METER}:7201")
        self.workers = [
            self._daemon(
                "worker", host, WORKER_LISTEN=f"tcp://{host.address}:7001", WORKER_CONVERTERS=self.converters, WORKER_CONVERTER=converter,
            )
            for host in workers
        ]
        self.apis = [
            self._daemon(
                "api", host, API_LISTEN=f"{host.address}:8080", API_ALLOW_PUBLIC_PLAINTEXT="yes", API_RESULTS=f"tcp://{host.address}:7101",
                API_WORKERS=" ".join(f"tcp://{worker.address}:7001" for worker in workers), API_DRAIN_DELAY_MS="1500ms", API_THREADS=1,
                USAGE_ACKS=f"tcp://{host.address}:7202", METER_LISTEN=f"tcp://{METER}:7201", STAGING_BUDGET_BYTES="64M",
                QUEUE_TARGET_MS=self.target,
            )
            for host in apis
        ]
        self._identity(apis)
        for daemon in self.daemons:
            daemon.start(wait=False)
        for daemon in self.daemons:
            daemon.wait_ready()
        self.wait_workers(WORKERS)
        self.balancer = Balancer(balancer, self.data)
        wait_until(lambda: self._serves(BALANCER), "the balancer to serve", interval_s=0.05)
        self.photo = self.data / "photo.jpg"
        self.photo.write_bytes(PHOTO)

    def _serves(self, address):
        try:
            with self.customers:
                return requests.get(f"http://{address}:8080/readyz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def _host(self, name, address):
        folder = self.data / name
        for part in ("run", "secret"):
            (folder / part).mkdir(mode=0o700, parents=True)
        return self.network.host(name, address)

    def _daemon(self, kind, host, **settings):
        daemon = HostDaemon(
            host, f"cavage-{kind}", self.data / host.port, kind, {f"CAVAGE_{name}": str(value) for name, value in settings.items()}, test_mode=True,
        )
        self.daemons.append(daemon)
        return daemon

    def _share(self, text, name, hosts):
        """A file of secrets, brought to some hosts."""
        for host in hosts:
            path = self.data / host.port / "secret" / name
            path.touch(mode=0o600)
            path.write_text(text)

    def _identity(self, hosts):
        """The customers and their keys are made on the first host, and brought from there to the others."""
        first, *others = (self.data / host.port for host in hosts)
        self.authcaches[0].start()
        self._admin(first, "/v1/customers", {"id": "load", "name": "load"})
        self.key = self._admin(first, "/v1/customers/load/keys", {})["key"]
        self.key_file = self.data / "keys"
        self.key_file.write_text(self.key + "\n")
        assert self.authcaches[0].stop() == 0
        for folder in others:
            subprocess.run(["cp", "-a", "--sparse=always", first / "identity", folder], check=True)
            shutil.copy2(first / "secret" / "hash.key", folder / "secret")

    @staticmethod
    def _admin(folder, path, body):
        connection = UnixConnection(str(folder / "run" / "admin.sock"))
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        assert response.status == 201, text
        return json.loads(text)

    # ---- What goes on ----

    def load(self, rate=40):
        """A load that runs: some of its requests were answered."""
        self.loads.append(Load(self, rate))
        self.go_on(rate // 2)
        return self.loads[-1]

    def go_on(self, count=40):
        """Until so many more are over."""
        seen = len(self.balancer.finished())

        def enough():
            assert self.loads[-1].process.poll() is None, self.loads[-1].process.communicate()
            return len(self.balancer.finished()) >= seen + count

        wait_until(enough, f"{count} more requests to be over", interval_s=0.1)

    def shoot(self):
        """One request on its way: its result() is the status and the time of the answer."""

        def send():
            with self.customers:
                answer = requests.post(
                    f"http://{BALANCER}:8080/v1/resize?width=64", data=PHOTO, headers={"Authorization": f"Bearer {self.key}"}, timeout=PATIENCE_S,
                )
            return answer.status_code, time.monotonic()

        return self.threads.submit(send)

    def wait_workers(self, count):
        """Until every API can use so many workers: it counts the converters of those that it heard lately."""
        for api in self.apis:
            wait_until(
                lambda api=api: api.metric("cavage_converters") == count * self.converters, f"{api.host.port} to have {count} workers", interval_s=0.02,
            )

    def wait_serving(self, api):
        """Until the balancer sends requests to it again."""
        wait_until(lambda: self._serves(api.host.address), f"{api.host.port} to serve", interval_s=0.05)
        seen = len(self.balancer.finished())
        wait_until(lambda: any(server == api.host.port for server, _ in self.balancer.finished()[seen:]), "the balancer to use it", interval_s=0.1)

    def usage(self):
        """Records of success that the meter has made durable."""
        done = subprocess.run(
            [BIN / "cavage", "usage", "--data", self.data / "meter", "--by", "hour", "--format", "json"],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True,
        )
        return sum(row["succeeded"] for row in json.loads(done.stdout))

    def check_usage(self, answered, unseen=0):
        """The usage has each of the further answers once, and at most some beside them that their clients did not live to see."""
        self.answered += answered
        wait_until(lambda: self.usage() >= self.answered, f"{self.answered} answers in the usage", interval_s=0.2)
        for api in self.apis:
            wait_until(lambda api=api: api.metric("cavage_usage_spool_bytes") == 0, "the spool to empty", interval_s=0.05)
        total = self.usage()
        assert self.answered <= total <= self.answered + unseen, (total, self.answered, unseen)
        self.answered = total

    # ---- Ends ----

    def stop(self):
        """Drain all in order and check that nothing complained."""
        try:
            for daemons in (self.apis, self.workers, [self.meter], self.authcaches):
                for daemon in daemons:
                    daemon.signal(signal.SIGCONT)
                    daemon.signal(signal.SIGTERM)
                for daemon in daemons:
                    assert daemon.stop() == 0, f"{daemon.host.port}: {daemon.log_text()[-4000:]}"
            for daemon in self.daemons:
                daemon.check_clean()
        finally:
            self.destroy()

    def destroy(self):
        others = [load.process for load in self.loads] + ([self.balancer.process] if self.balancer else [])
        for process in [*others, *(daemon.process for daemon in self.daemons if daemon.process)]:
            if process.poll() is None:
                process.kill()  # ends a paused one too
                process.wait()
        self.threads.shutdown()
        self.network.close()
        if not os.environ.get("CAVAGE_TEST_KEEP"):
            shutil.rmtree(self.data, ignore_errors=True)
