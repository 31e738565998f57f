# SPDX-License-Identifier: MIT
"""Several APIs and workers on one machine that speak over sealed tcp."""

import images
from harness import wait_until

PHOTO = images.encoded("jpeg", 640, 480)


def test_a_request_crosses_sealed_tcp(make_system):
    running = make_system(transport="tcp")
    key = running.new_customer("c")
    for _ in range(5):
        assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    assert running.worker.metric("cavage_sealed_messages_total", 'result="opened"') > 5
    assert running.api.metric("cavage_sealed_messages_total", 'result="opened"') > 5
    for daemon in (running.api, running.worker):
        for reason in ("malformed", "not_for_us", "reflected", "unknown_key", "forged", "replayed"):
            assert daemon.metric("cavage_sealed_messages_total", f'result="{reason}"') == 0, reason
