# SPDX-License-Identifier: MIT
"""An image that ended two converters is refused for a while, and a storm of it ends no more of them."""

import threading

import images
from harness import wait_until
from load import Load

PHOTO = images.encoded("jpeg", 320, 240)
CRASH = PHOTO + b"CVGTEST crash"


def lost(running):
    return running.worker.metric("cavage_converters_lost_total")


def refused(running):
    return running.api.metric("cavage_poison_refused_total")


def test_poison_is_remembered_for_its_customer_alone(make_system):
    running = make_system(test_mode=True, env={"CAVAGE_QUEUE_RETRY_PERCENT": "100"})
    key, other = running.new_customer("first"), running.new_customer("second")
    path = "/v1/resize?width=9"
    assert running.post(path, CRASH, key).status_code == 422
    assert lost(running) == 2 and refused(running) == 0
    for again in (path, "/v1/resize?width=10&format=png", "/v1/info"):
        answer = running.post(again, CRASH, key)
        assert answer.status_code == 422 and answer.json()["type"].endswith("poison"), answer.text
    assert lost(running) == 2 and refused(running) == 3
    assert running.post(path, PHOTO, key).status_code == 200
    assert running.post(path, CRASH, other).status_code == 422
    assert lost(running) == 4 and refused(running) == 3
    wait_until(lambda: sum(row["requests"] for row in running.usage_records()) == 6, "every answer in the usage", interval_s=0.1)


def test_poison_is_forgotten_after_its_time(make_system):
    running = make_system(test_mode=True, env={"CAVAGE_API_POISON_MS": "6s", "CAVAGE_QUEUE_RETRY_PERCENT": "100"})
    key = running.new_customer("patient")
    assert running.post("/v1/resize?width=9", CRASH, key).status_code == 422
    assert running.post("/v1/resize?width=9", CRASH, key).status_code == 422
    assert lost(running) == 2

    def tried_again():
        assert running.post("/v1/resize?width=9", CRASH, key).status_code == 422
        return lost(running) == 4

    wait_until(tried_again, "the image to be tried again", interval_s=0.1)


def test_storm_of_poison_ends_few_converters_and_others_are_served(make_system):
    running = make_system(test_mode=True)
    key, other = running.new_customer("stormy"), running.new_customer("calm")
    calm = Load(running.url("/v1/resize?width=32"), other, PHOTO, 2).start()
    statuses = []

    def send():
        for _ in range(5):
            statuses.append(running.post("/v1/resize?width=9", CRASH, key).status_code)

    storm = [threading.Thread(target=send) for _ in range(16)]
    for thread in storm:
        thread.start()
    for thread in storm:
        thread.join()
    seen = calm.answered
    wait_until(lambda: calm.answered >= seen + 20, "others to be served")
    calm.stop()
    assert statuses == [422] * 80
    assert set(calm.statuses) == {200} and not calm.broken, calm.details
    # What ran before the first of them was known as poison; each alone would have ended two.
    assert 2 <= lost(running) <= 8
    assert refused(running) >= 70
