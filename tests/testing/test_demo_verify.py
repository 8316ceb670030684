"""The demo's own route sees what went wrong: a verifier that cannot fail proves nothing."""

import hashlib
import json
import secrets
from urllib.parse import quote

import pytest

from crossdock.testing import EmbeddedGCS, EmbeddedS3
from crossdock.testing.demo.data import Sample, samples
from crossdock.testing.demo.plain import PlainGCS, PlainS3
from crossdock.testing.demo.verify import verify

HEADERS = {"Content-Type": "text/plain", "x-amz-meta-owner": "finance"}


def sample(key, data, headers=HEADERS):
    return Sample(key=key, group="test", data=data, sha256=hashlib.sha256(data).hexdigest(), headers=headers)


LOAD = (sample("a//b", b"one"), sample("x/ü", b"two"), sample("empty", b"", {"Content-Type": "text/csv"}))


@pytest.fixture
def stores():
    with EmbeddedS3(buckets=("landing",)) as s3, EmbeddedGCS(buckets=("archive",)) as gcs:
        with PlainS3(s3.url) as plain:
            for one in LOAD:
                plain.put("landing", one.key, one.data, one.headers, None)
        for one in LOAD:
            arrive(gcs, one)
        yield s3, gcs


def arrive(gcs, one, **changed):
    """Put an object into the destination, as a perfect mover would, or with something changed."""
    user = {name[11:]: value for name, value in one.headers.items() if name.startswith("x-amz-meta-")}
    resource = {"name": one.key, "contentType": one.headers["Content-Type"], "metadata": user, **changed}
    data = resource.pop("data", one.data)
    mark = secrets.token_hex(16)
    body = (
        f"--{mark}\r\nContent-Type: application/json\r\n\r\n{json.dumps(resource)}\r\n"
        f"--{mark}\r\nContent-Type: application/octet-stream\r\n\r\n"
    ).encode() + data
    body += f"\r\n--{mark}--".encode()
    with PlainGCS(gcs.url) as plain:
        plain.ask(
            "POST",
            "/upload/storage/v1/b/archive/o?uploadType=multipart",
            body,
            {"Content-Type": f"multipart/related; boundary={mark}"},
        )


def verdict(stores):
    s3, gcs = stores
    return verify(s3.url, gcs.url, bucket="landing", to_bucket="archive", expected=LOAD)


def test_a_perfect_copy_has_no_difference(stores):
    found = verdict(stores)

    assert found.ok
    assert found.differences == ()
    assert (found.objects, found.bytes, found.published) == (3, 6, 3)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"data": b"0ne"}, "the bytes differ"),
        ({"data": b"on"}, "the bytes differ (3 at the source, 2 arrived)"),
        ({"contentType": "text/html"}, "content-type was 'text/plain' and is 'text/html'"),
        ({"metadata": {}}, "x-amz-meta-owner was 'finance' and is None"),
        ({"metadata": {"owner": "finance", "more": "1"}}, "x-amz-meta-more was None and is '1'"),
        ({"cacheControl": "no-store"}, "cache-control was None and is 'no-store'"),
    ],
)
def test_a_changed_object_is_told(stores, changed, told):
    arrive(stores[1], LOAD[0], **changed)
    found = verdict(stores)

    assert not found.ok
    assert any(told in line for line in found.differences)


def test_a_missing_and_a_foreign_key_are_told(stores):
    with PlainGCS(stores[1].url) as plain:
        plain.ask("DELETE", f"/storage/v1/b/archive/o/{quote('a//b', safe='')}")
    arrive(stores[1], sample("a/b", b"one"))

    assert {"'a//b' did not arrive", "'a/b' is in the destination only"} == set(verdict(stores).differences)


def test_an_upload_left_open_is_told(stores):
    with PlainGCS(stores[1].url) as plain:
        plain.ask("POST", "/upload/storage/v1/b/archive/o?uploadType=resumable&name=half", b"{}")

    assert verdict(stores).differences == ("an upload of 'half' in archive was left open",)


def test_bytes_that_were_wrong_at_the_source_already_are_told(stores):
    wrong = b"not what was published"
    with PlainS3(stores[0].url) as plain:
        plain.put("landing", LOAD[0].key, wrong, HEADERS, None)
    arrive(stores[1], LOAD[0], data=wrong)

    assert any("is not the published" in line for line in verdict(stores).differences)


def test_the_load_is_what_the_issue_asks_for():
    """Published files with published digests, 633 tzdata files, awkward sizes, at least 30 hostile keys, each key once."""
    load = samples(16)
    groups = {}
    for one in load:
        groups.setdefault(one.group, []).append(one)

    assert len(load) == len({one.key for one in load})
    assert all(one.sha256 for one in groups["bokeh_sampledata"])
    assert len(groups["bokeh_sampledata"]) >= 40
    assert [one.key.rpartition("/")[2] for one in groups["tzdata"] if one.sha256 is None] == ["RECORD"]
    assert len(groups["tzdata"]) >= 600
    assert len(groups["hostile keys"]) >= 30
    assert 0 in {len(one.read()) for one in groups["empty objects"]}
