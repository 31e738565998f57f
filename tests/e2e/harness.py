# SPDX-License-Identifier: MIT
"""Starts real daemons on free ports in a folder of their own, talks to them, and ends them by their process ids."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import requests

REPO = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("CAVAGE_BIN", REPO / "build" / "bin"))
SANITIZER_LINE = re.compile(r"(ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error: )")
# Sanitizer builds are several times slower; every wait is bounded, none is a measurement.
PATIENCE_S = float(os.environ.get("CAVAGE_TEST_PATIENCE_S", "30"))


def wait_until(condition, what, timeout_s=None, interval_s=0.01):
    """Poll until condition() is true and return its value; fail with `what` after the timeout."""
    deadline = time.monotonic() + (timeout_s or PATIENCE_S)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for: {what}")
        time.sleep(interval_s)


def pid_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid):
    """Pids of the direct children of a process, by all of its threads."""
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(p) for p in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def descendants_of(pid):
    found = []
    for child in children_of(pid):
        found.append(child)
        found += descendants_of(child)
    return found


class Daemon:
    """One daemon process and its log."""

    def __init__(self, program, data, instance, env=None, test_mode=False, args=()):
        self.program = program
        self.instance = instance
        self.run_file = data / "run" / f"{instance}.json"
        self.log_path = data / "log" / f"{instance}.log"
        self.argv = [str(BIN / program), "--data", str(data), "--instance", instance, *args]
        if test_mode:
            self.argv.append("--test")
        self.env = {**os.environ, **(env or {})}
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def start(self, wait=True):
        self.log_path.parent.mkdir(exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.argv, env=self.env, stdin=subprocess.DEVNULL, stderr=log, stdout=log)
        if wait:
            self.wait_ready()
        return self

    def info(self):
        """The run file of the running process, or None while it is not ready."""
        try:
            info = json.loads(self.run_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return info if info["pid"] == self.pid else None

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.instance} ended with {self.process.returncode}:\n{self.log_text()[-4000:]}")
            return self.info()

        return wait_until(ready, f"{self.instance} to be ready")

    def signal(self, signo):
        os.kill(self.pid, signo)

    def kill(self):
        """kill -9, and wait for the end."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout_s=None):
        """SIGTERM, wait for the drain, return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)  # a test that failed may have left it stopped
            self.process.terminate()
        try:
            return self.process.wait(timeout_s or PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.instance} did not drain:\n{self.log_text()[-4000:]}") from None

    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def events(self, name):
        """Log lines of one event, as objects."""
        found = []
        for line in self.log_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if entry.get("event") == name:
                found.append(entry)
        return found

    def metric(self, name, labels=""):
        """Value of one series of /metrics, None when it is not there."""
        text = requests.get(self.info()["ops"] + "/metrics", timeout=PATIENCE_S).text
        wanted = name + (f"{{{labels}}}" if labels else "")
        for line in text.splitlines():
            if line.rsplit(" ", 1)[0] == wanted:
                return float(line.rsplit(" ", 1)[1])
        return None

    def check_clean(self):
        """Fail on any word of a sanitizer."""
        hits = [line for line in self.log_text().splitlines() if SANITIZER_LINE.search(line)]
        assert not hits, f"{self.instance}: {hits[:5]}\n{self.log_text()[-6000:]}"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Ports:
    """Ports of this process alone, below those that the kernel gives to outgoing connections: a thousand, claimed by an abstract unix socket."""

    FIRST, LAST, BLOCK = 10_000, 32_000, 1000

    def __init__(self):
        for self.first in range(self.FIRST, self.LAST, self.BLOCK):
            self.claim = socket.socket(socket.AF_UNIX)
            try:
                self.claim.bind(f"\0cavage-test-ports-{self.first}")
                break
            except OSError:
                self.claim.close()
        else:
            raise RuntimeError("too many test runs at once: every block of ports is taken")
        self.next = 0

    def free(self, count):
        """Ports that nobody listens on; each is given again only when all others were."""
        found = []
        for _ in range(self.BLOCK):
            port = self.first + self.next
            self.next = (self.next + 1) % self.BLOCK
            with socket.socket() as probe:
                try:
                    probe.bind(("0.0.0.0", port))
                except OSError:
                    continue
            found.append(port)
            if len(found) == count:
                return found
        raise RuntimeError(f"no {count} of {self.BLOCK} ports are free")


ports = None


def free_ports(count):
    """Ports on which nobody listens, of any address of this host."""
    global ports
    ports = ports or Ports()
    return ports.free(count)


def cluster_key(number):
    """A line of the file of cluster keys."""
    return f"{number} {os.urandom(32).hex()}\n"


class System:
    """The four daemons over one data folder: any number of APIs and workers, which speak over unix sockets or, sealed, over tcp."""

    def __init__(self, workers=1, converters=2, env=None, test_mode=False, apis=1, transport="ipc"):
        self.data = Path(tempfile.mkdtemp(prefix="cvg-", dir="/tmp"))
        self.data.chmod(0o700)
        self.test_mode = test_mode
        self.transport = transport
        if transport == "tcp":
            ends = [f"tcp://127.0.0.1:{port}" for port in free_ports(workers + 2 * apis + 1)]
            jobs, results, acks, usage = ends[:workers], ends[workers:][:apis], ends[workers + apis :][:apis], ends[-1]
            self.write_cluster_keys(cluster_key(1))
        else:
            jobs = [f"ipc://jobs{n}.sock" for n in range(workers)]
            results = [f"ipc://results{n or ''}.sock" for n in range(apis)]
            acks, usage = [f"ipc://acks{n or ''}.sock" for n in range(apis)], "ipc://usage.sock"
        self.job_addresses, self.result_addresses, self.ack_addresses, self.usage_address = jobs, results, acks, usage
        self.env = {
            "CAVAGE_API_LISTEN": "127.0.0.1:0",
            "CAVAGE_API_WORKERS": " ".join(jobs),
            "CAVAGE_API_RESULTS": results[0],
            "CAVAGE_USAGE_ACKS": acks[0],
            "CAVAGE_METER_LISTEN": usage,
            "CAVAGE_API_OPS_LISTEN": "127.0.0.1:0",
            "CAVAGE_WORKER_OPS_LISTEN": "127.0.0.1:0",
            "CAVAGE_WORKER_CONVERTERS": str(converters),
            "CAVAGE_AUTHCACHE_OPS_LISTEN": "127.0.0.1:0",
            "CAVAGE_METER_OPS_LISTEN": "127.0.0.1:0",
            # Sanitizers and a busy machine make conversions slow: only tests of overload refuse what would wait long.
            "CAVAGE_QUEUE_TARGET_MS": "10m",
            "CAVAGE_QUEUE_LARGE_TARGET_MS": "10m",
            **(env or {}),
        }
        self.authcache = self._daemon("cavage-authcache", "authcache")
        self.meter = self._daemon("cavage-meter", "meter")
        self.workers = [
            self._daemon("cavage-worker", f"worker{n}", {"CAVAGE_WORKER_LISTEN": address}) for n, address in enumerate(jobs)
        ]
        self.apis = [
            self._daemon("cavage-api", f"api{n}", {
                "CAVAGE_API_RESULTS": address, "CAVAGE_USAGE_ACKS": acks[n], "CAVAGE_USAGE_SPOOL_DIR": f"spool{n}",
            }) if n else self._daemon("cavage-api", "api")
            for n, address in enumerate(results)
        ]

    def _daemon(self, program, instance, env=None):
        return Daemon(program, self.data, instance, {**self.env, **(env or {})}, self.test_mode)

    def write_cluster_keys(self, *lines):
        """Replace the file of cluster keys. Running daemons read it at SIGHUP."""
        folder = self.data / "secret"
        folder.mkdir(mode=0o700, exist_ok=True)
        aside = folder / "cluster.new"
        aside.touch(mode=0o600)
        aside.write_text("".join(lines))
        aside.rename(folder / "cluster.key")

    @property
    def worker(self):
        return self.workers[0]

    @property
    def api(self):
        return self.apis[0]

    @property
    def daemons(self):
        return [self.authcache, self.meter, *self.workers, *self.apis]

    def start(self):
        (self.data / "run").mkdir(mode=0o700, exist_ok=True)
        try:
            for daemon in self.daemons:
                daemon.start(wait=False)
            for daemon in self.daemons:
                daemon.wait_ready()
            self.wait_serving()
        except BaseException:
            self.destroy()
            raise
        return self

    def wait_serving(self):
        """Until /readyz of every API says that it can serve."""

        def ready(api):
            try:
                return requests.get(self.url("/readyz", api), timeout=5).status_code == 200
            except (requests.RequestException, TypeError):
                return False

        for api in self.apis:
            wait_until(lambda api=api: ready(api), f"{api.instance} to serve")

    @property
    def address(self):
        """(host, port) of the API."""
        host, port = self.api.info()["listen"].rsplit(":", 1)
        return host, int(port)

    def url(self, path, api=None):
        return f"http://{(api or self.api).info()['listen']}{path}"

    def admin(self, method, path, body=None):
        """One call of the management API: (status, decoded JSON or None)."""
        connection = UnixConnection(str(self.data / "run" / "admin.sock"))
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None

    def new_customer(self, customer, **limits):
        """A new customer with one key; returns the key's text."""
        status, answer = self.admin("POST", "/v1/customers", {"id": customer, "name": customer, **limits})
        assert status == 201, answer
        return self.new_key(customer)

    def new_key(self, customer):
        status, answer = self.admin("POST", f"/v1/customers/{customer}/keys", {})
        assert status == 201, answer
        return answer["key"]

    def post(self, path, body, key, headers=None, session=None, api=None, **options):
        sender = session or requests
        return sender.post(
            self.url(path, api), data=body, headers={"Authorization": f"Bearer {key}", **(headers or {})}, timeout=PATIENCE_S, **options
        )

    def usage_records(self):
        """What the meter has made durable, as `cavage usage --format json` sums it: by month, which hardly ever ends while a test runs."""
        done = subprocess.run(
            [str(BIN / "cavage"), "usage", "--data", str(self.data), "--by", "month", "--from", "-24h", "--format", "json"],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True,
        )
        return json.loads(done.stdout)

    def close_open_hours(self):
        """Have the meter, in test mode from now on, make the files of the hour that is open too."""
        assert self.meter.stop() == 0
        self.meter.argv.append("--test")
        self.meter.env["CAVAGE_TEST_CLOSE_OPEN_HOURS"] = "1"
        self.meter.start()

    def raw_usage(self, count):
        """The records in the raw files of all hours; None while they are fewer than `count`."""
        files = sorted((self.data / "usage").glob("raw/*/*/*/*.jsonl.zst"))
        text = subprocess.run(["zstdcat", *map(str, files)], capture_output=True, check=True).stdout.decode() if files else ""
        records = [json.loads(line) for line in text.splitlines()]
        return records if len(records) >= count else None

    def cli(self, *args, check=True):
        return subprocess.run(
            [str(BIN / "cavage"), *args, "--data", str(self.data)], capture_output=True, text=True, timeout=2 * PATIENCE_S, check=check
        )

    def stop(self):
        """Drain all in order and check that nothing complained."""
        try:
            for daemon in [*self.apis, *self.workers, self.meter, self.authcache]:
                if daemon.process and daemon.process.poll() is None:
                    status = daemon.stop()
                    assert status == 0, f"{daemon.instance} ended with {status}:\n{daemon.log_text()[-4000:]}"
            for daemon in self.daemons:
                daemon.check_clean()
        finally:
            self.destroy()

    def destroy(self):
        for daemon in self.daemons:
            daemon.kill()
        if not os.environ.get("CAVAGE_TEST_KEEP"):
            shutil.rmtree(self.data, ignore_errors=True)


SIGKILL = signal.SIGKILL
