# SPDX-License-Identifier: MIT
"""Renditions: one upload, several pictures, in each form of archive; all of them or an answer that says which is wrong."""

import email.parser
import email.policy
import io
import os
import tarfile
import threading
import zipfile

import pytest
import requests

import images
from harness import SIGKILL, wait_until
from test_faults import converters_of

PHOTO = images.encoded("jpeg", 640, 480)
THREE = "output=small:width=160,format=jpeg&output=Square:width=100,height=100,fit=cover,format=webp&output=as-is:format=png"
SIZES = {"small": (160, 120), "Square": (100, 100), "as-is": (640, 480)}
NAMES = {"small": "small.jpg", "Square": "Square.webp", "as-is": "as-is.png"}
TYPES = {"jpg": "image/jpeg", "webp": "image/webp", "png": "image/png"}


def from_multipart(answer):
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.content)
    assert not message.defects and message.is_multipart()
    found = {}
    for part in message.iter_parts():
        data = part.get_payload(decode=True)
        name = part.get_filename()
        assert part["Content-Disposition"].params["name"] == name.rsplit(".", 1)[0]
        assert int(part["Content-Length"]) == len(data)
        assert part.get_content_type() == TYPES[name.rsplit(".", 1)[1]]
        found[name] = data
    return found


def from_tar(answer):
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        members = archive.getmembers()
        assert all(m.isfile() and m.mode == 0o644 and m.uid == m.gid == 0 and m.mtime > 1.7e9 for m in members)
        return {m.name: archive.extractfile(m).read() for m in members}


def from_zip(answer):
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert all(i.external_attr >> 16 == 0o100644 and i.date_time[0] > 2020 for i in archive.infolist())
        return {i.filename: archive.read(i) for i in archive.infolist()}


FORMS = {"multipart/mixed": from_multipart, "application/x-tar": from_tar, "application/zip": from_zip}


def send(system, key, query, body=PHOTO, accept="application/zip", **options):
    headers = {"Accept": accept, **options.pop("headers", {})}
    return system.post(f"/v1/renditions?{query}", body, key, headers=headers, **options)


def pictures(system, key, query, body=PHOTO, **options):
    answer = send(system, key, query, body, **options)
    assert answer.status_code == 200, answer.text
    return from_zip(answer)


def refused(answer, status, kind):
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"/problems/{kind}", problem
    return problem


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_opened_by_others(system, key, form):
    answer = send(system, key, THREE, accept=form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].split(";")[0] == form
    assert answer.headers["Vary"] == "Accept" and "convert;dur=" in answer.headers["Server-Timing"]
    found = FORMS[form](answer)
    assert list(found) == [NAMES[name] for name in SIZES]
    for name, size in SIZES.items():
        picture = images.decoded(found[NAMES[name]])
        assert picture.size == size and TYPES[NAMES[name].split(".")[1]] == picture.get_format_mimetype()


@pytest.mark.parametrize("accept, form", [
    (None, "multipart/mixed"),
    ("*/*", "multipart/mixed"),
    ("application/*", "application/x-tar"),
    ("application/zip;q=0.9, application/x-tar;q=0.8, */*;q=0.1", "application/zip"),
    ("application/*;q=0.5, application/x-tar;q=0", "application/zip"),
    ("multipart/mixed;q=0, */*", "application/x-tar"),
    ("text/html, application/x-tar", "application/x-tar"),
])
def test_accept_chooses_the_form(system, key, accept, form):
    answer = send(system, key, "output=a:width=20", accept=accept)
    assert answer.status_code == 200 and answer.headers["Content-Type"].split(";")[0] == form


@pytest.mark.parametrize("accept", ["image/webp", "application/json, text/*", "*/*;q=0"])
def test_form_that_is_not_there_is_told(system, key, accept):
    problem = refused(send(system, key, "output=a:width=20", accept=accept), 406, "not_acceptable")
    assert all(form in problem["detail"] for form in FORMS)


def test_multipart_body_works_alike(system, key):
    plain = pictures(system, key, THREE)
    answer = system.post(f"/v1/renditions?{THREE}", None, key, headers={"Accept": "application/zip"}, files={"image": ("p.jpg", PHOTO)})
    assert answer.status_code == 200 and from_zip(answer) == plain


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "gif"])
def test_pictures_are_those_of_single_requests(system, key, kind):
    photo = images.encoded(kind, 1100, 800)
    wanted = [
        "width=50", "width=101", "width=220", "width=345", "width=640,format=webp", "width=300,height=300,fit=cover,position=north",
        "width=200,height=300,fit=contain,background=tomato", "height=99,rotate=90,flip=1", "crop=100,50,600,500,width=200",
        "width=150,kernel=mitchell,grayscale=1", "width=333,blur=2", "width=1400,enlarge=1", "dpr=2,width=60,effort=3",
    ]
    query = "&".join(f"output=n{i}:{'' if 'format' in one else 'format=png,'}{one}" for i, one in enumerate(wanted))
    together = list(pictures(system, key, query, photo).values())
    assert len(together) == len(wanted)
    for one, made in zip(wanted, together):
        options = one.replace(",", "&").replace("100&50&600&500", "100,50,600,500")
        alone = system.post(f"/v1/resize?{'' if 'format' in one else 'format=png&'}{options}", photo, key)
        assert alone.status_code == 200, alone.text
        a, b = images.decoded(made), images.decoded(alone.content)
        assert a.size == b.size and images.psnr(a, b) >= 35, (one, images.psnr(a, b))


def test_photo_of_the_corpus_keeps_its_quality(system, key):
    photo = images.corpus("photo-1500x1225-256k.jpg")
    if not photo:
        pytest.skip("the corpus is not there")
    widths = [100, 160, 320, 480, 640, 800, 1200]
    together = pictures(system, key, "&".join(f"output=w{w}:width={w}" for w in widths), photo)
    for width in widths:
        alone = system.post(f"/v1/resize?width={width}", photo, key).content
        a, b = images.decoded(together[f"w{width}.jpg"]), images.decoded(alone)
        assert a.size == b.size and images.psnr(a, b) >= 35, (width, images.psnr(a, b))


def test_animation_is_kept_where_it_can_be(system, key):
    out = io.BytesIO()
    frames = [images.scene(120, 80, seed) for seed in range(4)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    found = pictures(system, key, "output=a:width=60,format=webp&output=b:width=30&output=c:format=png&output=d:page=2,format=jpeg", out.getvalue())
    assert [images.decoded(data).n_frames if hasattr(images.decoded(data), "n_frames") else 1 for data in found.values()] == [4, 4, 1, 1]


def test_sixteen_outputs_and_not_one_more(system, key):
    query = "&".join(f"output=o{i}:width={10 + i}" for i in range(16))
    found = pictures(system, key, query)
    assert [images.decoded(data).width for data in found.values()] == list(range(10, 26))
    problem = refused(send(system, key, query + "&output=p:width=9"), 400, "bad_parameter")
    assert (problem["output"], problem["parameter"]) == ("17", "output") and "16" in problem["detail"]


@pytest.mark.parametrize("query, output, parameter", [
    ("output=a:width=5&output=b:width=0", "b", "width"),
    ("output=a:width=5&output=b:format=auto", "b", "format"),
    ("output=a:width=5&output=b:colour=red", "b", "colour"),
    ("output=a:width=5&output=A:width=6", "2", "output"),
    ("output=../a:width=5", "1", "output"),
    ("output=a.jpg:width=5", "1", "output"),
    ("output=%00:width=5", "1", "output"),
    ("output=aux:width=5", "1", "output"),
    ("output=:width=5", "1", "output"),
    ("output=a:width=16383,height=16383,fit=fill", "a", "width"),
    ("", None, "output"),
    ("width=5", None, "width"),
])
def test_faults_are_told_before_the_body_is_read(system, key, query, output, parameter):
    problem = refused(send(system, key, query, headers={"Expect": "100-continue"}), 400, "bad_parameter")
    assert (problem.get("output"), problem["parameter"]) == (output, parameter), problem
    assert not output or output in problem["detail"]


def test_path_takes_post_alone(system, key):
    answer = requests.get(system.url("/v1/renditions?output=a"), headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert answer.status_code == 405 and answer.headers["Allow"] == "POST"


def records(running, count):
    def enough():
        rows = running.usage_records()
        return rows if sum(row["requests"] for row in rows) >= count else None

    return wait_until(enough, f"{count} requests in the usage", interval_s=0.1)


def raw_records(running, count):
    """The records of the open hour's raw file, which a meter in test mode makes."""
    running.close_open_hours()
    return wait_until(lambda: running.raw_usage(count), "the raw files")


def test_usage_is_one_record_with_all_outputs(make_system):
    running = make_system()
    key = running.new_customer("ann")
    found = pictures(running, key, THREE)
    out = io.BytesIO()
    frames = [images.scene(80, 60, seed) for seed in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    moving = pictures(running, key, "output=a:width=40&output=b:width=20", out.getvalue())
    refused(send(running, key, "output=a:width=10&output=b:crop=600,0,41,10"), 400, "bad_parameter")
    row = records(running, 3)[0]
    pixels = 160 * 120 + 100 * 100 + 640 * 480 + 3 * (40 * 30 + 20 * 15)
    assert (row["operation"], row["requests"], row["succeeded"], row["outputs"]) == ("renditions", 3, 2, 5)
    assert row["output_bytes"] == sum(map(len, found.values())) + sum(map(len, moving.values()))
    assert row["output_pixels"] == pixels
    assert row["input_bytes"] == 2 * len(PHOTO) + len(out.getvalue())
    first, second, third = sorted(raw_records(running, 3), key=lambda record: record["time_us"])
    assert first["request"] == THREE and first["output_format"] == "mixed" and first["outputs"] == 3
    assert second["request"] == "output=a:width=40&output=b:width=20" and second["output_format"] == "gif"
    assert third["outcome"] == "bad_parameter" and third["outputs"] == 0 and third["output_bytes"] == 0


@pytest.mark.parametrize("query, status, kind, output, parameter", [
    ("output=a:width=5&output=b:crop=600,0,41,10", 400, "bad_parameter", "b", "crop"),
    ("output=a:width=5&output=b:width=7&output=c:page=4", 400, "bad_parameter", "c", "page"),
    ("output=a:width=600,max_bytes=100&output=b:width=7", 422, "image_too_large", "a", "max_bytes"),
])
def test_output_that_cannot_be_made_is_named(system, key, query, status, kind, output, parameter):
    problem = refused(send(system, key, query), status, kind)
    assert (problem["output"], problem["parameter"]) == (output, parameter) and f", {output}:" in problem["detail"], problem


def test_damaged_image_is_no_output_s_fault(system, key):
    whole = images.encoded("png", 300, 200)
    assert "output" not in refused(send(system, key, THREE, whole[: len(whole) // 2]), 422, "undecodable")
    assert "output" not in refused(send(system, key, THREE, b"GIF89b" + bytes(100)), 415, "not_an_image")


def test_sum_of_the_outputs_is_bounded(make_system):
    running = make_system(env={"CAVAGE_LIMITS_BYTES_OUT": "200K"})
    key = running.new_customer("ann")
    one = "width=300,format=png"
    size = len(running.post("/v1/resize?" + one.replace(",", "&"), PHOTO, key).content)
    fits = 200 * 1024 // size
    assert 1 <= fits < 15
    assert len(pictures(running, key, "&".join(f"output=o{i}:{one}" for i in range(fits)))) == fits
    problem = refused(send(running, key, "&".join(f"output=o{i}:{one}" for i in range(fits + 1))), 422, "image_too_large")
    assert problem["limit"] == 200 * 1024 and problem["actual"] == size * (fits + 1)
    assert problem["output"] == f"o{fits}" and "together" in problem["detail"]


def test_killed_converter_costs_no_output(make_system):
    running = make_system(converters=1, test_mode=True, env={"CAVAGE_WORKER_CONVERTER": "sleep:700ms", "CAVAGE_QUEUE_RETRY_PERCENT": "100"})
    key = running.new_customer("ann")
    answers = []
    sender = threading.Thread(target=lambda: answers.append(send(running, key, THREE)))
    sender.start()
    wait_until(lambda: running.worker.metric("cavage_converters_busy") == 1, "the converter to be at work")
    os.kill(converters_of(running.worker)[0], SIGKILL)
    sender.join()
    assert answers[0].status_code == 200, answers[0].text
    assert len(from_zip(answers[0])) == 3
    row = records(running, 1)[0]
    assert (row["requests"], row["succeeded"], row["outputs"]) == (1, 1, 3)
    assert running.worker.metric("cavage_converters_lost_total") == 1


@pytest.mark.parametrize("act", ["babble", "lies", "garbage"])
def test_lies_about_outputs_end_the_converter(make_system, act):
    running = make_system(test_mode=True)
    key = running.new_customer("ann")
    refused(send(running, key, THREE, PHOTO + b"CVGTEST " + act.encode()), 422, "poison")
    assert running.worker.metric("cavage_converter_violations_total", 'what="protocol"') == 2
    assert len(pictures(running, key, THREE)) == 3
