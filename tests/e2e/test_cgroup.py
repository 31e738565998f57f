# SPDX-License-Identifier: MIT
"""Converters in a cgroup, which a tree of files stands for: what the kernel ends there for want of memory is the image's fault."""

import os
import signal
import threading
from pathlib import Path

import pytest

import images
from harness import children_of, descendants_of, wait_until

PHOTO = images.encoded("jpeg", 320, 240)
HANG = PHOTO + b"CVGTEST hang"
EVENTS = "low 0\nhigh 0\nmax 1\noom {0}\noom_kill {0}\noom_group_kill 0\n"


@pytest.fixture
def tree(tmp_path):
    """A hierarchy in which /unit is handed over, and the worker is in /unit/daemons with others."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("30 23 0:26 / /cgroups rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/unit/daemons\n")
    (tmp_path / "cgroups/unit/daemons").mkdir(parents=True)
    for name, text in {"cgroup.controllers": "cpu memory\n", "cgroup.subtree_control": "", "cgroup.procs": "", "daemons/cgroup.procs": "1\n"}.items():
        (tmp_path / "cgroups/unit" / name).write_text(text)
    try:
        os.setxattr(tmp_path / "cgroups/unit", "user.delegate", b"1")
    except OSError:
        pytest.skip("the file system of the tests keeps no extended attributes")
    return tmp_path


def converter(running):
    found = [pid for pid in descendants_of(running.worker.pid) if "convert" in Path(f"/proc/{pid}/comm").read_text()]
    return found[0] if len(found) == 1 else None


def test_kernel_ends_a_converter_for_its_memory(make_system, tree):
    running = make_system(converters=1, test_mode=True, env={"CAVAGE_TEST_CGROUP_ROOT": str(tree), "CAVAGE_QUEUE_RETRY_PERCENT": "100", "CAVAGE_WORKER_MEMORY_BYTES": "500M"})
    group = tree / "cgroups/unit" / f"cavage-converters-{running.worker.pid}"
    assert running.worker.events("memory_bounded")[0]["cgroup"] == str(group)
    assert running.worker.metric("cavage_converters_memory_cgroup") == 1
    assert int((group / "memory.max").read_text()) > 500 << 20
    assert int((group / "cgroup.procs").read_text()) in children_of(running.worker.pid)

    key = running.new_customer("large")
    answers = []
    client = threading.Thread(target=lambda: answers.append(running.post("/v1/resize?width=9", HANG, key)))
    client.start()
    for kills in (1, 2):
        wait_until(lambda: running.worker.metric("cavage_worker_wait_seconds_count") == kills, "the image to be worked on")
        (group / "memory.events").write_text(EVENTS.format(kills))
        os.kill(wait_until(lambda: converter(running), "its converter"), signal.SIGKILL)
        wait_until(lambda: running.worker.metric("cavage_converters_lost_total") == kills, "the converter to be replaced")
    client.join()
    assert answers[0].status_code == 422 and answers[0].json()["type"].endswith("poison"), answers[0].text
    assert running.worker.metric("cavage_converter_violations_total", 'what="memory"') == 2
    assert running.worker.metric("cavage_converters_crashed_total") == 2
    assert running.post("/v1/resize?width=9", PHOTO, key).status_code == 200


def test_converter_killed_from_outside_is_not_its_images_fault(make_system, tree):
    running = make_system(converters=1, test_mode=True, env={"CAVAGE_TEST_CGROUP_ROOT": str(tree)})
    os.kill(wait_until(lambda: converter(running), "the converter"), signal.SIGKILL)
    wait_until(lambda: running.worker.metric("cavage_converters_lost_total") == 1, "the converter to be replaced")
    assert running.worker.metric("cavage_converter_violations_total", 'what="memory"') == 0
    assert running.worker.metric("cavage_converters_crashed_total") == 0


def test_without_a_cgroup_the_supervisor_alone_watches(make_system, tree):
    (tree / "cgroups/unit/cgroup.controllers").write_text("cpu io\n")
    running = make_system(converters=1, test_mode=True, env={"CAVAGE_TEST_CGROUP_ROOT": str(tree)})
    assert running.worker.events("memory_watched")[0]["reason"] == "the worker's cgroup has no memory controller"
    assert running.worker.metric("cavage_converters_memory_cgroup") == 0
    assert sorted(path.name for path in (tree / "cgroups/unit").iterdir() if path.is_dir()) == ["daemons"]
