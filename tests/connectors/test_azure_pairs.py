"""Azure beside the other stores: through the public names, by URL, small data, both directions."""

from __future__ import annotations

import pytest
from azurite import KEY as ACCOUNT_KEY

import crossdock as xd
from crossdock.model import MIB, Metadata
from crossdock.testing import EmbeddedGCS, EmbeddedS3
from crossdock.testing.hostile import FULL_METADATA
from crossdock.testing.suite.base import content

BODIES = {
    "dir/zero": b"",
    "dir/small \u00fc": b"some bytes",
    "dir//odd": b"odd",
    "large": content(11 * MIB + 5),
}


@pytest.fixture
def s3():
    with EmbeddedS3() as server:
        server.create_bucket("src")
        credentials = {"key": "an-access-key-of-a-test", "secret": "secret-of-a-test", "region": "us-east-1"}
        yield "s3://src/", {"endpoint_url": server.url, **credentials}


@pytest.fixture
def gs():
    with EmbeddedGCS() as server:
        server.create_bucket("dst")
        yield "gs://dst/", {"endpoint_url": server.url, "token": "anon"}


@pytest.fixture
def az(azurite):
    name = azurite.make_container()
    return f"az://{name}/", {"endpoint_url": azurite.url, "account_key": ACCOUNT_KEY}


def fill(end, bodies=BODIES):
    store = xd.source(end[0], **end[1]).store
    for key, body in bodies.items():
        store.put(key, body, metadata=FULL_METADATA)


def test_s3_to_azure_to_gcs(s3, az, gs, azurite, tmp_path):
    """Bytes and metadata arrive over two migrations, proven; each again moves nothing; one changed object moves alone."""
    fill(s3)
    name = az[0].removeprefix("az://").rstrip("/")
    legs = [(s3, az), (az, gs)]

    for number, (source, sink) in enumerate(legs):
        for again in range(2):
            report = xd.migrate(
                source[0],
                sink[0],
                source_options=source[1],
                sink_options={**sink[1], "part_size": "5MiB"},
                run_dir=f"{tmp_path}/{number}-{again}",
            )

            expected = (0, len(BODIES)) if again else (len(BODIES), 0)
            assert (report.counts.copied, report.counts.skipped) == expected
            assert report.counts.failed == 0
    assert {key: azurite.read(name, key) for key in azurite.keys(name)} == BODIES
    target = xd.source(gs[0], **gs[1]).store
    for key, body in BODIES.items():
        assert body == bytes(target.read(key).read_all())
        assert target.stat(key).metadata == FULL_METADATA

    azurite.container(name).upload_blob("dir/small \u00fc", b"same bytes", overwrite=True)
    changed = xd.migrate(
        az[0], gs[0], source_options=az[1], sink_options=gs[1], run_dir=f"{tmp_path}/changed"
    )
    assert (changed.counts.copied, changed.counts.skipped) == (1, len(BODIES) - 1)


@pytest.mark.parametrize("key", BODIES)
def test_one_object_there_and_back(s3, az, azurite, key):
    """``xd.copy``: what is compared is said in the receipt."""
    fill(s3, {key: BODIES[key]})
    there = xd.copy(f"{s3[0]}{key}", f"{az[0]}copy/{key}", source_options=s3[1], sink_options=az[1])
    back = xd.copy(f"{az[0]}copy/{key}", f"{s3[0]}back/{key}", source_options=az[1], sink_options=s3[1])
    store = xd.source(s3[0], **s3[1]).store

    assert azurite.read(az[0][5:-1], f"copy/{key}") == BODIES[key]
    assert bytes(store.read(f"back/{key}").read_all()) == BODIES[key]
    assert store.stat(f"back/{key}").metadata == FULL_METADATA
    assert there.verification >= xd.Verification.V1
    assert back.verification >= xd.Verification.V1
    assert (there.method, back.method) == (("parts", "parts") if key == "large" else ("put", "put"))


def test_a_stream_of_unknown_length(az, azurite):
    sink = xd.AzureSink(az[0], **az[1], part_size="1MiB")
    receipt = sink((content(700_000, seed=number) for number in range(5)), key="stream")

    assert azurite.read(az[0][5:-1], "stream") == b"".join(
        content(700_000, seed=number) for number in range(5)
    )
    assert receipt.method == "stream"
    assert receipt.verification == xd.Verification.V1


def test_a_source_that_dies_leaves_the_destination_as_it_was(az, azurite):
    sink = xd.AzureSink(az[0], **az[1], part_size="1MiB")
    sink(b"old", key="k")

    def dying():
        for _ in range(3):
            yield bytes(MIB)
        raise OSError("the source died")

    with pytest.raises(OSError, match="the source died"):
        sink(dying(), key="k")
    assert azurite.keys(az[0][5:-1]) == ["k"]
    assert azurite.read(az[0][5:-1], "k") == b"old"


def test_a_read_back_is_compared(az):
    receipt = xd.AzureSink(az[0], **az[1], verify="v3")(b"some bytes", key="k")

    assert receipt.verification == xd.Verification.V3


def test_keys_azure_forbids_are_found_before_anything_moves(s3, az, azurite, tmp_path):
    """Named one by one, and never in the way of the others."""
    fill(s3, {"good": b"1", "back\\slash": b"2", "dots./x": b"3", "control\x01": b"4"})
    report = xd.migrate(s3[0], az[0], source_options=s3[1], sink_options=az[1], run_dir=f"{tmp_path}/run")

    assert (report.counts.copied, report.counts.failed) == (1, 3)
    assert azurite.keys(az[0][5:-1], uncommitted=True) == ["good"]


def test_metadata_azure_cannot_hold_fails_alone(az, azurite, tmp_path):
    """Names and letters that only need another spelling arrive; what has none is refused with a reason."""
    source = xd.source("memory://azure-metadata/")
    source.store.put("good", b"1", metadata=Metadata(user={"any-name at.all": "\u00fc"}))
    source.store.put("bad", b"2", metadata=Metadata(user={"name": "line\nbreak"}))
    source.store.put("worse", b"3", metadata=Metadata(user={"Name": "1", "name": "2"}))
    report = xd.migrate("memory://azure-metadata/", az[0], sink_options=az[1], run_dir=f"{tmp_path}/run")

    assert (report.counts.copied, report.counts.failed) == (1, 2)
    assert azurite.keys(az[0][5:-1]) == ["good"]
    assert xd.source(az[0], **az[1]).store.stat("good").metadata == Metadata(
        user={"any-name at.all": "\u00fc"}
    )
