# SPDX-License-Identifier: MIT
"""`cavage up`: one command runs it all, restarts what dies, drains, and works for an ordinary user."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
import requests

import images
from harness import BIN, PATIENCE_S, children_of, pid_alive, wait_until

PHOTO = images.encoded("jpeg", 320, 240)
FREE = {f"CAVAGE_{name}_OPS_LISTEN": "127.0.0.1:0" for name in ("API", "WORKER", "AUTHCACHE", "METER")}


class Up:
    def __init__(self, data, user=None):
        self.data = data
        self.process = subprocess.Popen(
            [str(BIN / "cavage"), "up", "--data", str(data), "--listen", "127.0.0.1:0", "--converters", "2", "--json"],
            env={**os.environ, **FREE}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, user=user, group=user, cwd="/",
        )
        self.told = json.loads(self.process.stdout.readline())

    def resize(self):
        return requests.post(
            self.told["url"] + "/v1/resize?width=50", data=PHOTO, headers={"Authorization": f"Bearer {self.told['key']}"}, timeout=PATIENCE_S
        )

    def pid_of(self, program):
        for pid in children_of(self.process.pid):
            try:
                if Path(os.readlink(f"/proc/{pid}/exe")).name == program:
                    return pid
            except OSError:
                continue
        return None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(2 * PATIENCE_S)


@pytest.fixture
def data():
    made = Path(tempfile.mkdtemp(prefix="cvg-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_up_serves_and_drains(data):
    up = Up(data)
    assert up.resize().status_code == 200
    mode = stat.S_IMODE((data / "demo.key").stat().st_mode)
    assert mode == 0o600 and (data / "demo.key").read_text().strip() == up.told["key"]
    family = children_of(up.process.pid)
    assert up.stop() == 0
    assert not any(map(pid_alive, family))
    rows = json.loads(subprocess.run(
        [str(BIN / "cavage"), "usage", "--data", str(data), "--format", "json"], capture_output=True, text=True, check=True).stdout)
    assert sum(row["requests"] for row in rows) == 1


def test_up_again_keeps_the_key(data):
    first = Up(data)
    first.stop()
    second = Up(data)
    assert second.told["key"] == first.told["key"]
    assert second.resize().status_code == 200
    assert second.stop() == 0


@pytest.mark.parametrize("program", ["cavage-api", "cavage-worker", "cavage-authcache", "cavage-meter"])
def test_killed_daemon_is_started_again(data, program):
    up = Up(data)
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


def test_second_up_on_the_same_data_is_refused(data):
    up = Up(data)
    again = subprocess.run([str(BIN / "cavage"), "up", "--data", str(data)], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert again.returncode == 1 and again.stderr
    assert up.stop() == 0


def test_status_tells_what_runs(data):
    up = Up(data)
    text = subprocess.run([str(BIN / "cavage"), "status", "--data", str(data)], capture_output=True, text=True, check=True).stdout
    for name in ("api", "worker", "authcache", "meter"):
        assert name in text
    assert up.stop() == 0


def test_long_data_path_works(data):
    deep = data / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    up = Up(deep)
    assert up.resize().status_code == 200
    assert up.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_ordinary_user_can_run_it(data):
    nobody = pwd.getpwnam("nobody").pw_uid
    home = data / "home"
    home.mkdir()
    os.chmod(data, 0o755)
    os.chown(home, nobody, pwd.getpwnam("nobody").pw_gid)
    # The build may lie where only root can go.
    shutil.copytree(BIN.parent / "bin", data / "bin")
    up = Up(home, user=nobody)
    assert up.resize().status_code == 200
    assert up.stop() == 0


def test_resize_command_writes_pictures(data, tmp_path):
    up = Up(data)
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
