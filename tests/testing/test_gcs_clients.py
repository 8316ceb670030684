"""The clients people use all work against the embedded GCS; each fixture shows how to point one at it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crossdock.testing import EmbeddedGCS

MIB = 1 << 20
LARGE = os.urandom(MIB) * 20 + b"tail"


@pytest.fixture
def gcs():
    with EmbeddedGCS(buckets=("landing",)) as server:
        yield server


@pytest.fixture
def storage(gcs):
    """google-cloud-storage: an endpoint and anonymous credentials."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(
        project="p", credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=gcs.url)
    )
    yield client
    client.close()
    client._http.close()


@pytest.fixture
def store(gcs):
    """obstore: object_store takes another base URL only from inside a service account key."""
    from obstore.store import GCSStore

    key = {
        "gcs_base_url": gcs.url,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    return GCSStore(
        "landing",
        config={"service_account_key": json.dumps(key), "skip_signature": True},
        client_options={"allow_http": True},
    )


@pytest.fixture
def rclone(gcs, tmp_path):
    """rclone: an anonymous remote made of flags, no configuration file."""

    def run(*arguments: str) -> str:
        command = [
            str(Path(sys.executable).with_name("rclone")),
            "--config",
            str(tmp_path / "none.conf"),
            "--gcs-endpoint",
            f"{gcs.url}/storage/v1/",
            "--gcs-anonymous",
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_google_cloud_storage_writes_reads_lists_copies_and_deletes(gcs, storage):
    bucket = storage.bucket("landing")
    blob = bucket.blob("a//b c%2F+🚀", chunk_size=MIB)
    blob.metadata = {"who": "me"}
    blob.upload_from_string(b"small", content_type="text/plain", if_generation_match=0)
    bucket.copy_blob(blob, bucket, "copied")
    bucket.blob("composed").compose([blob, bucket.blob("copied")])
    listed = [(b.name, b.size, b.content_type) for b in storage.list_blobs("landing")]
    bytes_read = bucket.blob("a//b c%2F+🚀").download_as_bytes()
    bucket.delete_blobs(["copied", "composed"])

    assert listed == [("a//b c%2F+🚀", 5, "text/plain"), ("composed", 10, None), ("copied", 5, "text/plain")]
    assert bytes_read == b"small"
    assert list(gcs.objects("landing")) == ["a//b c%2F+🚀"]
    assert gcs.objects("landing")["a//b c%2F+🚀"].metadata.custom == {"who": "me"}


def test_google_cloud_storage_uploads_large_objects_in_resumable_chunks(gcs, storage, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    storage.bucket("landing").blob("large", chunk_size=8 * MIB).upload_from_filename(
        str(path), checksum="crc32c"
    )

    assert gcs.objects("landing")["large"].data == LARGE
    assert gcs.faults.requests["chunk.put"] == 2
    assert gcs.faults.requests["chunk.final"] == 1
    assert gcs.open_uploads("landing") == {}


def test_google_cloud_storage_sees_a_precondition_fail(storage):
    from google.api_core.exceptions import PreconditionFailed

    blob = storage.bucket("landing").blob("x")
    blob.upload_from_string(b"1", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"2", if_generation_match=0)


def test_obstore_writes_reads_lists_and_deletes(gcs, store):
    import obstore as obs

    obs.put(store, "dir/small", b"small", attributes={"Content-Type": "text/plain", "who": "me"})
    obs.put(store, "dir/large", LARGE, use_multipart=True, chunk_size=8 * MIB)
    listed = [(m["path"], m["size"]) for batch in obs.list(store, "dir") for m in batch]
    got = obs.get(store, "dir/small")
    tail = obs.get_range(store, "dir/large", start=len(LARGE) - 4, end=len(LARGE))
    obs.copy(store, "dir/small", "copied")
    obs.delete(store, ["dir/small", "dir/large"])

    assert listed == [("dir/large", len(LARGE)), ("dir/small", 5)]
    assert bytes(got.bytes()) == b"small"
    assert got.attributes["Content-Type"] == "text/plain"
    assert got.attributes["who"] == "me"
    assert bytes(tail) == b"tail"
    assert {k: o.data for k, o in gcs.objects("landing").items()} == {"copied": b"small"}
    assert gcs.faults.requests["part.put"] == 3
    assert gcs.open_uploads("landing") == {}


def test_obstore_create_is_conditional(store):
    import obstore as obs

    obs.put(store, "x", b"1", mode="create")
    with pytest.raises(obs.exceptions.AlreadyExistsError):
        obs.put(store, "x", b"2", mode="create")


GCSFS = """
import sys, gcsfs
fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=sys.argv[1], consistency="none")
large = open(sys.argv[2], "rb").read()
fs.pipe_file("landing/dir/a//b", b"small", metadata={"who": "me"}, content_type="text/plain")
with fs.open("landing/dir/large", "wb", block_size=8 << 20) as f:
    f.write(large)
fs.cp_file("landing/dir/large", "landing/copied")
assert fs.cat_file("landing/dir/a//b") == b"small"
assert fs.cat_file("landing/dir/large", start=-4) == b"tail"
assert fs.info("landing/dir/large")["size"] == len(large)
print(sorted(fs.find("landing")))
fs.rm(["landing/dir/a//b", "landing/dir/large"])
"""


def test_gcsfs_writes_reads_lists_copies_and_deletes(gcs, tmp_path):
    """gcsfs: two environment variables before it is imported, hence a process of its own."""
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    environment = os.environ | {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "NO_GCE_CHECK": "true"}
    done = subprocess.run(
        [sys.executable, "-c", GCSFS, gcs.url, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['landing/copied', 'landing/dir/a//b', 'landing/dir/large']"
    assert {k: o.data for k, o in gcs.objects("landing").items()} == {"copied": LARGE}
    assert gcs.faults.requests["chunk.put"] >= 1
    assert gcs.open_uploads("landing") == {}


def test_rclone_copies_checks_and_deletes(gcs, rclone, tmp_path):
    source = tmp_path / "source"
    (source / "dir").mkdir(parents=True)
    (source / "dir" / "a+b c.txt").write_bytes(b"small")
    (source / "large.bin").write_bytes(LARGE)
    rclone("copy", str(source), ":gcs:landing/in")
    listed = rclone("lsf", "-R", "--files-only", ":gcs:landing")
    rclone("check", "--download", str(source), ":gcs:landing/in")
    rclone("copyto", ":gcs:landing/in/large.bin", ":gcs:landing/copied")
    stored = gcs.objects("landing")
    rclone("delete", ":gcs:landing/in")

    assert sorted(listed.splitlines()) == ["in/dir/a+b c.txt", "in/large.bin"]
    assert stored["in/dir/a+b c.txt"].data == b"small"
    assert stored["in/large.bin"].data == LARGE
    assert stored["copied"].data == LARGE
    assert gcs.faults.requests["chunk.final"] >= 1
    assert list(gcs.objects("landing")) == ["copied"]
