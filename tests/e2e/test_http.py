# SPDX-License-Identifier: MIT
"""The HTTP contract: every status, keep-alive, framing, refusals that arrive, and slow clients."""

import http.client
import json
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
import requests

import images
from harness import PATIENCE_S, System, wait_until
from raw_http import Connection, request

pytestmark = pytest.mark.tsan
PHOTO = images.encoded("jpeg")
BIG = PHOTO + bytes(829_183 - len(PHOTO))  # decoders ignore what follows the picture


def auth(key):
    return f"Authorization: Bearer {key}"


def wrong_key(key):
    return key[:-1] + ("0" if key[-1] != "0" else "1")


def problem(status, headers, body):
    assert headers["content-type"] == "application/problem+json"
    told = json.loads(body)
    assert told["status"] == status
    assert told["request_id"] == headers["x-request-id"]
    return told


@pytest.fixture(scope="module")
def system():
    """As that of all tests, but clients that pause may take their time with what is refused."""
    running = System(env={"CAVAGE_API_DISCARD_MS": "30s"})
    yield running.start()
    running.stop()


@pytest.fixture
def connection(system):
    opened = Connection(system.address)
    yield opened
    opened.close()


def test_answer_carries_the_contract_s_headers(system, key):
    answer = system.post("/v1/resize?width=100", PHOTO, key, headers={"X-Request-Id": "my-id.1"})
    assert answer.status_code == 200
    assert answer.headers["X-Request-Id"] == "my-id.1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    timing = dict(re.findall(r"(\w+);dur=([0-9.]+)", answer.headers["Server-Timing"]))
    assert {"auth", "stage", "queue", "convert"} <= set(timing)
    assert float(timing["convert"]) > 0


def test_malformed_request_id_is_replaced(system, key):
    answer = system.post("/v1/resize?width=100", PHOTO, key, headers={"X-Request-Id": "no spaces, please"})
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,128}", answer.headers["X-Request-Id"])


def test_traceparent_goes_through(system, key):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert system.post("/v1/resize?width=100", PHOTO, key, headers={"traceparent": trace}).headers["traceparent"] == trace
    assert "traceparent" not in system.post("/v1/resize?width=100", PHOTO, key, headers={"traceparent": "junk"}).headers


def test_multipart_with_one_file(system, key):
    answer = system.post("/v1/resize?width=100", None, key, files={"image": ("x.jpg", PHOTO, "image/jpeg")})
    assert answer.status_code == 200, answer.text
    assert images.decoded(answer.content).width == 100


@pytest.mark.parametrize("files", [[("a", ("a.jpg", PHOTO)), ("b", ("b.jpg", PHOTO))], [("a", (None, "no file"))]], ids=["two files", "no file"])
def test_multipart_without_exactly_one_file_is_400(system, key, files):
    assert system.post("/v1/resize?width=100", None, key, files=files).status_code == 400


def test_chunked_body(system, key):
    answer = system.post("/v1/resize?width=100", iter([PHOTO[:1000], PHOTO[1000:]]), key)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/healthz", 200), ("GET", "/readyz", 200), ("GET", "/nowhere", 404), ("POST", "/healthz", 405), ("GET", "/v1/resize", 405), ("DELETE", "/v1/info", 405)],
)
def test_paths_and_methods(connection, method, target, status):
    for _ in range(2):  # the connection is kept
        code, headers, body = connection.send(request(method, target)).answer()
        assert code == status
        if status >= 400:
            problem(code, headers, body)
        if status == 405:
            assert headers["allow"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 401), (("Authorization: Basic dGVzdDp0ZXN0",), 401), (("Authorization: Bearer junk",), 401),
        (("Authorization: Bearer cvg_0123456789abcdef_" + "0" * 64,), 401),
    ],
)
def test_bad_credentials_are_401_and_the_connection_is_kept(connection, headers, status):
    for _ in range(3):
        code, answer_headers, body = connection.send(request("POST", "/v1/resize?width=9", headers, PHOTO)).answer()
        assert code == status
        assert answer_headers["www-authenticate"].startswith("Bearer")
        problem(code, answer_headers, body)


def test_wrong_secret_is_401(connection, key):
    assert connection.send(request("POST", "/v1/resize?width=9", [auth(wrong_key(key))], PHOTO)).answer()[0] == 401


def test_secret_never_reaches_log_or_error(system, key):
    secret = key.split("_")[2]
    answer = system.post("/v1/resize?width=0", PHOTO, key)
    assert secret not in answer.text and secret not in str(answer.headers)
    for daemon in system.daemons:
        assert secret not in daemon.log_text()


def test_suspended_customer_is_403(system):
    key = system.new_customer("sleepy")
    assert system.post("/v1/resize?width=9", PHOTO, key).status_code == 200
    assert system.admin("PATCH", "/v1/customers/sleepy", {"state": "suspended"})[0] == 200
    assert wait_until(lambda: system.post("/v1/resize?width=9", PHOTO, key).status_code == 403, "the suspension to be in force")


def test_connection_is_kept_after_answers_that_allow_it(connection, key):
    steps = [
        (request("POST", "/v1/resize?width=9", [auth(key)], PHOTO), 200),
        (request("POST", "/v1/resize?width=0", [auth(key)], PHOTO), 400),
        (request("POST", "/v1/resize?width=9", [], PHOTO), 401),
        (request("GET", "/nowhere"), 404),
        (request("POST", "/v1/resize?width=9", [auth(key)], b"not an image"), 415),
        (request("POST", "/v1/resize?width=9", [auth(key)], PHOTO[:3000]), 422),
        (request("POST", "/v1/info", [auth(key)], PHOTO), 200),
    ]
    for sent, status in steps:
        assert connection.send(sent).answer()[0] == status


def test_rate_limit_is_429_with_retry_after(system):
    key = system.new_customer("eager", rate_per_s=1, burst=3)
    answers = [system.post("/v1/resize?width=9", PHOTO, key) for _ in range(12)]
    refused = [a for a in answers if a.status_code == 429]
    assert refused and answers[0].status_code == 200
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert "RateLimit" in refused[0].headers and "RateLimit-Policy" in refused[0].headers
    assert refused[0].headers["Content-Type"] == "application/problem+json"


def test_post_without_length_is_411(connection, key):
    code, headers, body = connection.send(request("POST", "/v1/resize?width=9", [auth(key)], length=False)).answer()
    assert code == 411
    problem(code, headers, body)


def test_announced_body_over_the_limit_is_413(connection, key):
    head = request("POST", "/v1/resize?width=9", [auth(key), f"Content-Length: {33 * 1024 * 1024}", "Expect: 100-continue"], length=False)
    code, headers, body = connection.send(head).answer()
    assert code == 413
    assert problem(code, headers, body)["limit"] == 32 * 1024 * 1024


def test_chunked_body_that_outgrows_the_limit_is_413(make_system):
    running = make_system(env={"CAVAGE_API_MAX_BODY_BYTES": "100000"})
    key = running.new_customer("chunky")
    raw = Connection(running.address)
    raw.send(request("POST", "/v1/resize?width=9", [auth(key), "Transfer-Encoding: chunked"], length=False))
    chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
    for _ in range(20):
        raw.send(chunk)
    code, headers, body = raw.send(b"0\r\n\r\n").answer()
    assert code == 413
    problem(code, headers, body)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 5", "Content-Length: 6"], ["Content-Length: 5", "Content-Length: 5"], ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip"], ["Transfer-Encoding: chunked, chunked"], ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding:\r\n chunked", "Content-Length: 5"], ["Content-Length: 5", "Transfer-Encoding:\r\n\tchunked"],
        ["X: a\r\n b", "Content-Length: 5"], ["X: a\nTransfer-Encoding: chunked"], ["X: a\rTransfer-Encoding: chunked", "Content-Length: 5"], ["Content-Length: 5\0"], ["Transfer-Encoding: chunked\0x"],
        [": nameless", "Content-Length: 5"], ["Content-Length : 5"], ["Content-Length: 5x"], ["Content-Length: -1"], ["Content-Length: 99999999999999999999"],
    ],
)
def test_doubtful_framing_is_400_and_closes(connection, key, headers):
    connection.send(request("POST", "/v1/resize?width=9", [auth(key), *headers], length=False) + b"5\r\nhello\r\n0\r\n\r\n")
    try:
        code, answer_headers, _ = connection.answer()
    except EOFError:
        pytest.fail("closed without an answer")
    assert code in (400, 413) if "9999" in headers[0] else code == 400
    assert answer_headers.get("connection", "").lower() == "close"


@pytest.mark.parametrize(
    "head", ["/healthz HTTP/1.1", "/healthz HTTP/1.2", "/healthz HTTP/1.1\r\nHost: a\r\nHost: b", "/healthz x HTTP/1.1\r\nHost: x", "/healthz\tHTTP/1.1 HTTP/1.1\r\nHost: x"]
)
def test_doubtful_head_is_a_problem(connection, head):
    code, headers, body = connection.send(f"GET {head}\r\n\r\n".encode()).answer()
    assert code == 400
    assert problem(code, headers, body)["type"] == "/problems/bad_framing"
    assert connection.closed()


LIBRARY_REFUSES = [
    (400, b"GET /healthz\r\n\r\n"), (400, b"GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n"),
    (400, b"POST /v1/info HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"),
    (400, b"POST /v1/info HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    (413, b"POST /v1/info HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    (414, b"GET /" + 70_000 * b"a" + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    (431, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + 70_000 * b"a" + b"\r\n\r\n"),
    (505, b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n"),
]


@pytest.mark.parametrize("code, head", LIBRARY_REFUSES)
def test_what_the_library_refuses_is_closed(connection, code, head):
    """The statuses that docs/http-api.md lists; their bodies are the library's."""
    answer_code, headers = connection.send(head).head()
    assert answer_code == code and headers["connection"] == "close" and "content-type" not in headers
    try:
        while connection.socket.recv(65536):
            pass
    except ConnectionResetError:
        pass


def test_what_is_no_request_is_closed_without_an_answer(connection):
    assert connection.send(b"GARBAGE\r\n\r\n").closed()


def test_expect_continue_gets_100_then_the_answer(connection, key):
    connection.send(request("POST", "/v1/resize?width=9", [auth(key), "Expect: 100-continue", f"Content-Length: {len(PHOTO)}"], length=False))
    assert connection.head()[0] == 100
    assert connection.send(PHOTO).answer()[0] == 200


def test_expect_continue_is_refused_before_the_body(connection):
    connection.send(request("POST", "/v1/resize?width=9", ["Expect: 100-continue", f"Content-Length: {len(PHOTO)}"], length=False))
    assert connection.head()[0] == 401


def test_refusal_reaches_http_client(system, key):
    host, port = system.address
    for _ in range(50):
        client = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        client.request("POST", "/v1/resize?width=9", BIG, {"Authorization": f"Bearer {wrong_key(key)}"})
        assert client.getresponse().status == 401
        client.close()


def test_refusal_reaches_http_client_that_sends_far_more(system, key):
    host, port = system.address
    for _ in range(10):
        client = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        client.request("POST", "/v1/resize?width=9", bytes(6_000_000), {"Authorization": f"Bearer {wrong_key(key)}"})
        assert client.getresponse().status == 401
        client.close()


def test_refusal_reaches_curl(system, key, tmp_path):
    (tmp_path / "big.jpg").write_bytes(BIG)
    for extra in ([], ["-H", "Expect:"]):
        done = subprocess.run(
            ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {wrong_key(key)}", *extra,
             "--data-binary", f"@{tmp_path}/big.jpg", system.url("/v1/resize?width=9")],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )
        assert (done.returncode, done.stdout) == (0, "401"), done.stderr


NODE = """
const [url, key, size] = process.argv.slice(1);
const body = new Uint8Array(Number(size));
(async () => {
  for (let i = 0; i < 50; i++) {
    const answer = await fetch(url, { method: 'POST', body, headers: { Authorization: 'Bearer ' + key } });
    await answer.arrayBuffer();
    if (answer.status !== 401) throw new Error('status ' + answer.status);
  }
})().catch((e) => { console.error(e.cause || e); process.exit(1); });
"""


def test_refusal_reaches_node_fetch(system, key):
    if not shutil.which("node"):
        pytest.skip("needs node")
    done = subprocess.run(
        ["node", "-e", NODE, system.url("/v1/resize?width=9"), wrong_key(key), "829183"], capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr


def test_slow_sender_is_408_at_the_deadline(make_system):
    running = make_system(env={"CAVAGE_API_REQUEST_DEADLINE_MS": "1500"})
    key = running.new_customer("slow")
    raw = Connection(running.address)
    raw.send(request("POST", "/v1/resize?width=9", [auth(key), "Content-Length: 1000"], length=False))
    stop = threading.Event()

    def drip():
        try:
            while not stop.wait(0.1):
                raw.send(b"x")
        except OSError:
            pass

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        code, headers, body = raw.answer()
    finally:
        stop.set()
        thread.join()
    assert code == 408
    problem(code, headers, body)
    wait_until(lambda: running.post("/v1/resize?width=9", PHOTO, key).status_code == 200, "the next request to be served")


def test_slow_header_does_not_hold_a_connection(make_system):
    running = make_system(env={"CAVAGE_API_REQUEST_DEADLINE_MS": "1000", "CAVAGE_API_KEEPALIVE_MS": "1500"})
    raw = Connection(running.address)
    raw.send(b"POST /v1/resize HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    ended = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < ended:
            raw.send(b"x")
            time.sleep(0.05)
            raw.socket.setblocking(False)
            try:
                data = raw.socket.recv(4096)
                assert data == b"" or b" 408 " in data.split(b"\r\n", 1)[0]
                return
            except BlockingIOError:
                pass
            finally:
                raw.socket.setblocking(True)
    except (BrokenPipeError, ConnectionResetError):
        return
    pytest.fail("a slow header held its connection")


def test_half_a_request_line_is_408_and_says_why(make_system):
    running = make_system(env={"CAVAGE_API_REQUEST_DEADLINE_MS": "500"})
    raw = Connection(running.address)
    code, headers, body = raw.send(b"POST /v1/re").answer()
    assert code == 408
    assert "500 ms" in problem(code, headers, body)["detail"]
    raw.close()


def test_idle_connections_make_room_for_new_ones(make_system):
    running = make_system(env={"CAVAGE_API_MAX_CONNECTIONS": "16"})
    key = running.new_customer("crowd")
    idle = []
    for _ in range(40):
        raw = Connection(running.address)
        assert raw.send(request("GET", "/healthz")).answer()[0] == 200
        idle.append(raw)
    assert running.post("/v1/resize?width=9", PHOTO, key).status_code == 200
    assert idle[0].closed()
    for raw in idle:
        raw.close()


def test_job_beyond_its_deadline_is_504(make_system):
    running = make_system(test_mode=True, env={"CAVAGE_WORKER_CONVERTER": "sleep:60000", "CAVAGE_API_REQUEST_DEADLINE_MS": "4000"})
    key = running.new_customer("late")
    answer = running.post("/v1/resize?width=9", PHOTO, key)
    assert answer.status_code == 504, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_full_queue_is_503_with_retry_after(make_system):
    running = make_system(converters=1, test_mode=True, env={"CAVAGE_WORKER_CONVERTER": "sleep:1000", "CAVAGE_QUEUE_MAX_JOBS": "2", "CAVAGE_API_REQUEST_DEADLINE_MS": "60s"})
    keys = [running.new_customer(f"c{n}") for n in range(8)]
    answers = []
    threads = [threading.Thread(target=lambda k=k: answers.append(running.post("/v1/resize?width=9", PHOTO, k))) for k in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [a for a in answers if a.status_code == 503]
    assert refused and all(a.status_code in (200, 503) for a in answers)
    assert all(int(a.headers["Retry-After"]) >= 1 for a in refused)


def test_refused_body_leaves_the_arena_before_its_rest_is_read(make_system):
    running = make_system(env={"CAVAGE_API_MAX_BODY_BYTES": "500000", "CAVAGE_API_DISCARD_MS": "60s", "CAVAGE_API_REQUEST_DEADLINE_MS": "60s"})
    key = running.new_customer("big")
    raw = Connection(running.address)
    raw.send(request("POST", "/v1/resize?width=9", [auth(key), "Transfer-Encoding: chunked"], length=False))
    raw.send(b"493e0\r\n" + bytes(300_000) + b"\r\n")
    wait_until(lambda: running.api.metric("cavage_staged_bytes") >= 300_000, "the body to be staged")
    raw.send(b"493e0\r\n" + bytes(300_000) + b"\r\n")
    wait_until(lambda: running.api.metric("cavage_staged_bytes") == 0, "the staged bytes to be released", timeout_s=10)
    code, headers, body = raw.send(b"0\r\n\r\n").answer()
    assert code == 413
    problem(code, headers, body)


def test_body_that_can_never_be_staged_is_413(make_system):
    # A customer may hold a quarter of 1 MiB, in whole extents.
    running = make_system(env={"CAVAGE_STAGING_BUDGET_BYTES": "1M", "CAVAGE_API_DISCARD_MS": "30s"})
    key = running.new_customer("big")
    raw = Connection(running.address)
    code, headers, body = raw.send(request("POST", "/v1/resize?width=9", [auth(key)], bytes(262_145))).answer()
    assert code == 413
    told = problem(code, headers, body)
    assert (told["limit"], told["actual"]) == (262_144, 262_145)
    chunked = request("POST", "/v1/resize?width=9", [auth(key), "Transfer-Encoding: chunked"], length=False)
    code, headers, body = raw.send(chunked + b"40001\r\n" + bytes(262_145) + b"\r\n0\r\n\r\n").answer()
    assert (code, problem(code, headers, body)["limit"]) == (413, 262_144)
    assert raw.send(request("POST", "/v1/resize?width=9", [auth(key)], PHOTO)).answer()[0] == 200
    raw.close()


def test_customer_s_share_of_the_connections_is_429_beyond_it(make_system):
    running = make_system(env={"CAVAGE_API_MAX_CONNECTIONS": "8", "CAVAGE_STAGING_CUSTOMER_PERCENT": "25"})
    greedy, other = running.new_customer("greedy"), running.new_customer("other")
    halves = [Connection(running.address) for _ in range(2)]
    for raw in halves:
        raw.send(request("POST", "/v1/resize?width=9", [auth(greedy), "Content-Length: 5000"], length=False) + bytes(100))
    wait_until(lambda: running.api.metric("cavage_staged_bytes") == 200, "the uploads to be staged")
    refused = running.post("/v1/resize?width=9", PHOTO, greedy)
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["type"] == "/problems/share_used" and "connections" in refused.json()["detail"]
    assert refused.headers["Connection"] == "close"
    assert running.post("/v1/resize?width=9", PHOTO, other).status_code == 200
    halves.pop().close()
    wait_until(lambda: running.post("/v1/resize?width=9", PHOTO, greedy).status_code == 200, "the share to be free again")
    halves.pop().close()


def test_customer_s_idle_connections_are_of_its_share(make_system):
    running = make_system(env={"CAVAGE_API_MAX_CONNECTIONS": "8", "CAVAGE_STAGING_CUSTOMER_PERCENT": "25"})
    many, other = running.new_customer("many"), running.new_customer("other")

    def served(key):
        raw = Connection(running.address)
        assert raw.send(request("POST", "/v1/resize?width=9", [auth(key)], PHOTO)).answer()[0] == 200
        return raw

    of_other = served(other)
    of_many = [served(many) for _ in range(6)]
    # The last two are kept, and the other customer's; the second request of a kept one costs nothing.
    assert [raw.closed() for raw in of_many[:4]] == [True] * 4
    for raw, key in ((of_many[4], many), (of_many[5], many), (of_other, other)):
        assert raw.send(request("POST", "/v1/resize?width=9", [auth(key)], PHOTO)).answer()[0] == 200
    # A connection is its last customer's.
    assert of_many[4].send(request("POST", "/v1/resize?width=9", [auth(other)], PHOTO)).answer()[0] == 200
    of_many.append(served(many))
    assert of_many[5].send(request("POST", "/v1/resize?width=9", [auth(many)], PHOTO)).answer()[0] == 200
    for raw in [of_other, *of_many]:
        raw.close()


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_refusal_at_the_limit_of_connections_reaches_http_client(make_system, connections):
    running = make_system(env={"CAVAGE_API_MAX_CONNECTIONS": str(connections), "CAVAGE_STAGING_CUSTOMER_PERCENT": "100"})
    key = running.new_customer("crowd")
    host, port = running.address
    outcomes = []
    linger_s = 2  # for so long what a refused client still sends is read

    def client():
        for _ in range(4):
            one = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
            begin = time.monotonic()
            try:
                one.request("POST", "/v1/resize?width=9", BIG, {"Authorization": f"Bearer {key}"})
                outcomes.append(one.getresponse().status)
            except OSError as error:
                outcomes.append(repr(error) if time.monotonic() - begin < linger_s else 503)
            finally:
                one.close()

    threads = [threading.Thread(target=client) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 96 and set(outcomes) <= {200, 503}, outcomes
    assert {200, 503} <= set(outcomes)


def test_late_drain_answers_503_and_tells_by_its_exit_status(make_system):
    running = make_system(converters=1, test_mode=True, env={"CAVAGE_WORKER_CONVERTER": "sleep:60s", "CAVAGE_API_DRAIN_MS": "300"})
    key = running.new_customer("late")
    job, half = Connection(running.address), Connection(running.address)
    job.send(request("POST", "/v1/resize?width=9", [auth(key)], PHOTO))
    half.send(request("POST", "/v1/resize?width=9", [auth(key), "Content-Length: 5000"], length=False) + bytes(100))
    wait_until(lambda: (running.api.metric("cavage_staged_bytes") or 0) >= len(PHOTO) + 100, "both bodies to be staged")
    running.api.signal(signal.SIGTERM)
    for raw in (job, half):
        code, headers, body = raw.answer()
        assert code == 503 and int(headers["retry-after"]) >= 1
        assert problem(code, headers, body)["type"] == "/problems/draining"
        raw.close()
    assert running.api.process.wait(PATIENCE_S) == 1
    assert running.api.events("drain_cut")[0]["requests"] >= 2


def test_readiness_is_never_claimed_too_early(make_system):
    running = make_system()
    for daemon in running.workers:
        daemon.stop()
    running.api.stop()
    running.api.start(wait=False)
    info = wait_until(running.api.info, "the run file")
    for _ in range(20):
        assert requests.get(info["ops"] + "/readyz", timeout=PATIENCE_S).status_code == 503
    assert [entry["level"] for entry in running.api.events("not_ready")][-1] == "info"


def test_parameter_where_there_is_none_is_named(system, key):
    answer = system.post("/v1/info?w=1", PHOTO, key)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "w")


def test_full_arena_is_503_and_a_customer_s_share_429(make_system):
    # Sixteen extents in all, eight for a customer: open uploads fill them.
    running = make_system(env={"CAVAGE_STAGING_BUDGET_BYTES": "1M", "CAVAGE_STAGING_CUSTOMER_PERCENT": "50"})
    keys = [running.new_customer(f"c{n}") for n in range(3)]
    uploads = []
    for key in keys[:2]:
        raw = Connection(running.address)
        raw.send(request("POST", "/v1/resize?width=9", [auth(key), "Content-Length: 500000"], length=False) + bytes(450_000))
        uploads.append(raw)
    wait_until(lambda: (running.api.metric("cavage_staged_bytes") or 0) >= 900_000, "the uploads to be staged")
    mine = running.post("/v1/resize?width=9", bytes(400_000), keys[0])
    other = running.post("/v1/resize?width=9", bytes(400_000), keys[2])
    assert (mine.status_code, other.status_code) == (429, 503)
    assert mine.headers["Retry-After"] and other.headers["Retry-After"]
    for raw in uploads:
        raw.close()
    wait_until(lambda: running.api.metric("cavage_staged_bytes") == 0, "the staged bytes to be released")
    assert running.post("/v1/resize?width=9", PHOTO, keys[0]).status_code == 200


def test_client_that_leaves_frees_its_job(make_system):
    running = make_system(converters=1, test_mode=True, env={"CAVAGE_WORKER_CONVERTER": "sleep:300"})
    key = running.new_customer("leaver")
    for _ in range(20):
        raw = Connection(running.address)
        raw.send(request("POST", "/v1/resize?width=9", [auth(key)], PHOTO))
        raw.close()
    answer = running.post("/v1/resize?width=9", PHOTO, key)
    assert answer.status_code == 200, answer.text
    wait_until(lambda: running.api.metric("cavage_staged_bytes") == 0, "everything staged to be released")


def test_half_closing_client_is_still_answered(connection, key):
    import socket

    connection.send(request("POST", "/v1/resize?width=9", [auth(key)], PHOTO))
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.answer()[0] == 200


def test_pipelined_requests_are_answered_in_order(connection, key):
    connection.send(b"".join(request("POST", f"/v1/resize?width={w}", [auth(key)], PHOTO) for w in (11, 12, 13)))
    for width in (11, 12, 13):
        status, _, body = connection.answer()
        assert status == 200
        assert images.decoded(body).width == width


def test_many_clients_at_once(system, key):
    failures = []

    def client(n):
        with requests.Session() as session:
            for i in range(10):
                answer = system.post(f"/v1/resize?width={20 + n}", PHOTO, key, session=session)
                if answer.status_code != 200 or images.decoded(answer.content).width != 20 + n:
                    failures.append((n, i, answer.status_code))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
