# SPDX-License-Identifier: MIT
"""`cavage up`: one command runs it all, restarts what dies, drains, and works for an ordinary user."""

import json
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
import requests

import images
from harness import BIN, PATIENCE_S, Daemon, children_of, descendants_of, pid_alive, wait_until

PHOTO = images.encoded("jpeg", 320, 240)
FREE = {f"CAVAGE_{name}_OPS_LISTEN": "127.0.0.1:0" for name in ("API", "WORKER", "AUTHCACHE", "METER")}


class Up:
    def __init__(self, data, user=None, env=None):
        self.data = data
        self.process = subprocess.Popen(
            [str(BIN / "cavage"), "up", "--data", str(data), "--listen", "127.0.0.1:0", "--converters", "2", "--json"],
            env={**os.environ, **(FREE if env is None else env)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, user=user, group=user, cwd="/",
        )
        self.told = None

    def wait_serving(self):
        assert select.select([self.process.stdout], [], [], 2 * PATIENCE_S)[0], "`cavage up` says nothing"
        self.told = json.loads(self.process.stdout.readline())
        return self

    def resize(self):
        return requests.post(
            self.told["url"] + "/v1/resize?width=50", data=PHOTO, headers={"Authorization": f"Bearer {self.told['key']}"}, timeout=PATIENCE_S
        )

    def pid_of(self, program):
        """By its command line: whoever is not root may not see the program of a process that is not dumpable."""
        for pid in children_of(self.process.pid):
            try:
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            # Between fork and exec it is still the command line of `cavage up`.
            if Path(os.fsdecode(argv[0])).name == program:
                return pid
        return None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(2 * PATIENCE_S)

    def destroy(self):
        """End it and its daemons, whatever state a failed test left them in."""
        if self.process.poll() is None:
            family = descendants_of(self.process.pid)
            self.process.kill()
            self.process.wait()
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.process.stdout.close()


@pytest.fixture
def data():
    made = Path(tempfile.mkdtemp(prefix="cvg-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def make_up(data):
    """make_up(folder, …) starts one and waits until it serves; what still runs after the test is ended."""
    made = []

    def make(folder=data, wait=True, **options):
        made.append(Up(folder, **options))
        return made[-1].wait_serving() if wait else made[-1]

    yield make
    for up in made:
        up.destroy()


def test_up_serves_and_drains(data, make_up):
    up = make_up()
    assert up.resize().status_code == 200
    mode = stat.S_IMODE((data / "demo.key").stat().st_mode)
    assert mode == 0o600 and (data / "demo.key").read_text().strip() == up.told["key"]
    family = children_of(up.process.pid)
    assert up.stop() == 0
    assert not any(map(pid_alive, family))
    rows = json.loads(subprocess.run(
        [str(BIN / "cavage"), "usage", "--data", str(data), "--format", "json"], capture_output=True, text=True, check=True).stdout)
    assert sum(row["requests"] for row in rows) == 1


def test_up_again_keeps_the_key(make_up):
    first = make_up()
    first.stop()
    second = make_up()
    assert second.told["key"] == first.told["key"]
    assert second.resize().status_code == 200
    assert second.stop() == 0


@pytest.mark.parametrize("program", ["cavage-api", "cavage-worker", "cavage-authcache", "cavage-meter"])
def test_killed_daemon_is_started_again(data, make_up, program):
    up = make_up()
    victim = up.pid_of(program)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: up.pid_of(program) not in (None, victim), f"{program} to be started again")

    def serves():
        try:
            # A new API may listen on another free port; the run file tells.
            listen = json.loads((data / "run" / "api.json").read_text())["listen"]
            up.told["url"] = f"http://{listen}"
            return up.resize().status_code == 200
        except (requests.RequestException, FileNotFoundError, json.JSONDecodeError):
            return False

    wait_until(serves, "the system to serve on")
    assert up.stop() == 0


def test_second_up_on_the_same_data_is_refused(data, make_up):
    up = make_up()
    again = subprocess.run([str(BIN / "cavage"), "up", "--data", str(data)], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert again.returncode == 1 and again.stderr
    assert up.stop() == 0


def status_of(data, *options):
    """What `cavage status` says once it finds all ready; a daemon that answers late is not."""

    def ready():
        done = subprocess.run([str(BIN / "cavage"), "status", "--data", str(data), *options], capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    return wait_until(ready, "all daemons to be ready", interval_s=0.1)


def test_status_tells_what_runs(data, make_up):
    up = make_up()
    text = status_of(data)
    for name in ("api", "worker", "authcache", "meter"):
        assert name in text
    second = Daemon("cavage-worker", data, "worker2", {**FREE, "CAVAGE_WORKER_LISTEN": "ipc://jobs2.sock", "CAVAGE_WORKER_CONVERTERS": "1"}).start()
    try:
        names = {entry["name"]: entry for entry in json.loads(status_of(data, "--json"))["daemons"]}
        assert list(names) == ["authcache", "meter", "worker", "api", "worker2"]
        assert names["worker2"]["state"] == "ready" and "jobs" in names["worker2"]["figures"]
    finally:
        second.stop()
    assert up.stop() == 0


def test_long_data_path_works(data, make_up):
    deep = data / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    up = make_up(deep)
    assert up.resize().status_code == 200
    run = Path((deep / "run.path").read_text().strip())
    assert (run / "api.json").exists()
    assert up.stop() == 0
    assert not run.exists() and not (deep / "run.path").exists()


def test_many_can_start_at_once(data, make_up):
    # Where the operations ports are not configured, all of them reach for the same ones.
    ups = [make_up(data / str(n), wait=False, env={}) for n in range(3)]
    for up in ups:
        assert up.wait_serving().resize().status_code == 200
    assert [up.stop() for up in ups] == [0, 0, 0]


def test_drain_that_failed_is_told(make_up):
    up = make_up()
    api, worker = up.pid_of("cavage-api"), up.pid_of("cavage-worker")
    os.kill(worker, signal.SIGSTOP)
    up.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{api}").exists(), "the API's end to have been taken note of")
    os.kill(worker, signal.SIGKILL)
    assert up.process.wait(2 * PATIENCE_S) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_ordinary_user_can_run_it(data, make_up):
    nobody = pwd.getpwnam("nobody").pw_uid
    home = data / "home"
    home.mkdir()
    os.chmod(data, 0o755)
    os.chown(home, nobody, pwd.getpwnam("nobody").pw_gid)
    # The build may lie where only root can go.
    shutil.copytree(BIN.parent / "bin", data / "bin")
    up = make_up(home, user=nobody)
    assert up.resize().status_code == 200
    assert up.stop() == 0


def test_resize_command_writes_pictures(data, make_up, tmp_path):
    up = make_up()
    (tmp_path / "in.jpg").write_bytes(PHOTO)
    subprocess.run(
        [str(BIN / "cavage"), "resize", str(tmp_path / "in.jpg"), "--width", "64", "--out", str(tmp_path / "out"), "--data", str(data)],
        check=True, timeout=PATIENCE_S,
    )
    made = list((tmp_path / "out").iterdir())
    assert len(made) == 1 and images.decoded(made[0].read_bytes()).width == 64
    assert up.stop() == 0


def test_usage_errors_exit_2():
    for args in (["bogus"], ["up", "--no-such"], ["resize"], ["key"]):
        assert subprocess.run([str(BIN / "cavage"), *args], capture_output=True, timeout=PATIENCE_S, check=False).returncode == 2
    assert subprocess.run([str(BIN / "cavage"), "--version"], capture_output=True, timeout=PATIENCE_S, check=False).returncode == 0


@pytest.mark.parametrize("program", ["cavage", "cavage-api", "cavage-worker", "cavage-authcache", "cavage-meter"])
def test_help_and_version(program):
    for option in ("--help", "--version"):
        done = subprocess.run([str(BIN / program), option], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0 and done.stdout
    assert subprocess.run([str(BIN / program), "--bogus"], capture_output=True, timeout=PATIENCE_S, check=False).returncode == 2


def test_bad_configuration_is_named(data):
    (data / "bad.conf").write_text("[api]\nmax_connections = lots\n")
    for program in ("cavage-api", "cavage-meter"):
        done = subprocess.run(
            [str(BIN / program), "--config", str(data / "bad.conf"), "--data", str(data)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 2
        assert "bad.conf:2" in done.stderr and "max_connections" in done.stderr


def test_keys_that_do_not_go_together_are_refused(data):
    conf = data / "bad.conf"
    for text, named in (
        ("[staging]\nextent_bytes = 65000\n", "staging.extent_bytes"),
        ("[staging]\nextent_bytes = 2M\nbudget_bytes = 1M\n", "staging.budget_bytes"),
        ("[api]\nlisten = 0.0.0.0:0\n", "api.allow_public_plaintext"),
    ):
        conf.write_text(text)
        options = ["--config", str(conf), "--data", str(data / "d")]
        for command, status in (([BIN / "cavage", "config", "check"], 1), ([BIN / "cavage", "up"], 2), ([BIN / "cavage-api"], 2)):
            done = subprocess.run([*map(str, command), *options], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert done.returncode == status and named in done.stderr


def test_empty_config_variable_means_none(data):
    done = subprocess.run(
        [str(BIN / "cavage"), "config", "check", "--data", str(data)], env={**os.environ, "CAVAGE_CONFIG": ""}, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
