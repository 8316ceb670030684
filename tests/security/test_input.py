"""What comes in is not trusted: answers that are bombs, names that forge lines, metadata that smuggles headers."""

from __future__ import annotations

import gzip
import io
import json
import resource
import subprocess
import sys

import pytest
from answering import answering, azure, gcs, s3
from click.testing import CliRunner
from http_server import WebServer

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConnectionLostError, CrossdockError, LedgerError, UnsupportedError
from crossdock.events import Note
from crossdock.flows.runs.directory import RunDirectory, run_files
from crossdock.model import Metadata

# Memory a hostile answer may cost: the limit of an answer, a few times over. The bombs below would be gigabytes.
MOST_KIB = 700 * 1024

LAUGHS = "".join(
    [
        '<?xml version="1.0"?><!DOCTYPE {root} [<!ENTITY a0 "ha">',
        *(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 13)),
        "]><{root}><IsTruncated>false</IsTruncated>{row}</{root}>",
    ]
)
EXTERNAL = (
    '<!DOCTYPE {root} [<!ENTITY out SYSTEM "{url}/stolen"><!ENTITY file SYSTEM "file:///etc/passwd">]>'
    "<{root}><IsTruncated>false</IsTruncated>{row}</{root}>"
)
PARAMETER = (
    '<!DOCTYPE {root} [<!ENTITY % all SYSTEM "{url}/stolen.dtd"> %all;]>'
    "<{root}><IsTruncated>false</IsTruncated>{row}</{root}>"
)


def listing(entity):
    return f"<Contents><Key>{entity}</Key><Size>1</Size></Contents>"


PARSERS = {
    "s3 listing": (s3, "ListBucketResult", lambda store: [*store.list()]),
    "s3 uploads": (s3, "ListMultipartUploadsResult", lambda store: [*store.list_uploads()]),
    "s3 begin": (
        s3,
        "InitiateMultipartUploadResult",
        lambda store: store.begin("odd//k", part_size_bytes=5 << 20),
    ),
    "gcs uploads": (gcs, "ListMultipartUploadsResult", lambda store: store._open().uploads._open()),
    "azure listing": (azure, "EnumerationResults", lambda store: [*store.list()]),
    "azure blocks": (azure, "BlockList", lambda store: store.begin("k", part_size_bytes=1)),
}


@pytest.mark.parametrize("bomb", [LAUGHS, EXTERNAL, PARAMETER], ids=["laughs", "external", "parameter"])
@pytest.mark.parametrize("parser", PARSERS)
def test_xml_with_entities_is_refused_and_nothing_is_fetched(parser, bomb):
    """A document type is enough to refuse; the one parser that works by search knows no entity but the five."""
    make, root, act = PARSERS[parser]
    with answering(b"stolen") as (elsewhere, fetched):
        entity = "&a12;" if bomb is LAUGHS else "&out;&file;"
        body = bomb.replace("{root}", root).replace("{url}", elsewhere).replace("{row}", listing(entity))
        with answering(body.encode(), "application/xml") as (url, asked):
            if parser == "gcs uploads":
                assert [*act(make(url))] == []
            else:
                with pytest.raises(ConnectionLostError) as raised:
                    act(make(url))
                assert len(str(raised.value)) < 1_000
                assert "root:" not in str(raised.value)

    assert asked
    assert fetched == []


def bounded(code):
    """Run code in a process of its own; its peak memory in KiB, and what it printed."""
    # Not ru_maxrss: that of a child starts at the peak of its parent, and this one has run thousands of tests.
    measured = f"{code}\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    done = subprocess.run(
        [sys.executable, "-c", measured], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    *said, peak = done.stdout.splitlines()
    return int(peak), said


ASK = """
import sys
sys.path[:0] = {path!r}
from answering import s3, gcs, azure
from crossdock.errors import CrossdockError
try:
    {act}
except CrossdockError as error:
    print(type(error).__name__, len(str(error)))
"""
NEVER_ENDING = {
    "s3 nested": ("s3", b"<ListBucketResult>" * 800_000, "[*s3({url!r}).list()]"),
    "azure nested": ("azure", b"<EnumerationResults>" * 800_000, "[*azure({url!r}).list()]"),
    "s3 open tags": ("s3", b"<Code>" * 2_000_000, "[*s3({url!r}).list()]"),
    "gcs json": ("gcs", b"[" * 10_000_000, "[*gcs({url!r}).list()]"),
    "gcs json object": ("gcs", b'{"items":' * 2_000_000, "[*gcs({url!r}).list()]"),
    "gcs uploads": (
        "gcs",
        b"<Upload><Key><Initiated>" * 300_000 + b"</ListMultipartUploadsResult>",
        "[*gcs({url!r})._open().uploads._open()]",
    ),
    "s3 too long": ("s3", b" " * (80 << 20), "[*s3({url!r}).list()]"),
    "gcs too long": ("gcs", b" " * (80 << 20), "[*gcs({url!r}).list()]"),
    "azure too long": ("azure", b" " * (80 << 20), "[*azure({url!r}).list()]"),
}


@pytest.mark.parametrize("name", NEVER_ENDING)
def test_a_bomb_of_an_answer_costs_bounded_memory_and_time(name):
    """Nesting without end, tags that are never closed, answers without end: one short error, in linear time."""
    _, body, act = NEVER_ENDING[name]
    with answering(body, "application/xml") as (url, asked):
        peak, said = bounded(ASK.format(path=sys.path, act=act.format(url=url)))

    assert asked
    assert peak < MOST_KIB
    if name != "gcs uploads":  # rows without an end are no rows
        assert said[0].split()[0] in ("ConnectionLostError", "UnexpectedError")
        assert int(said[0].split()[1]) < 1_000


def test_an_encoded_answer_is_not_decoded():
    """No encoding was asked for; a megabyte that becomes a gigabyte is no listing."""
    body = gzip.compress(b'{"kind": "' + b" " * (256 << 20) + b'"}')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for make in (s3, gcs, azure):
        with (
            answering(body, "application/json", encoding="gzip") as (url, asked),
            pytest.raises(CrossdockError),
        ):
            [*make(url).list()]
        assert asked

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_a_run_file_that_is_a_bomb_is_a_damaged_run(tmp_path):
    (tmp_path / "run.json").write_text("[" * 1_000_000)

    with pytest.raises(LedgerError, match="not JSON"):
        RunDirectory(run_files(f"{tmp_path}/")).read()


BOMB = gzip.compress(bytes(64 << 20))


@pytest.mark.parametrize("source", ["s3", "gcs_token", "azure_key", "http_token"])
@pytest.mark.parametrize("sink", ["s3", "gcs_token", "azure_key", "local"])
def test_a_gzip_bomb_is_copied_as_it_is_stored(source, sink, request, tmp_path):
    """64 KiB that would be 64 MiB stay 64 KiB; the encoding stays what it was, or is named as lost."""
    one = request.getfixturevalue(source)
    if source == "http_token":
        request.getfixturevalue("web").keep("bomb", BOMB, metadata=Metadata(content_encoding="gzip"))
    else:
        MemoryStore(f"bomb-{tmp_path.name}").put("bomb", BOMB, metadata=Metadata(content_encoding="gzip"))
        xd.sink(one.url, **one.options, **one.secrets)(xd.source(f"memory://bomb-{tmp_path.name}/")("bomb"))
    from_ = xd.source(one.url, **one.options, **one.secrets)
    if sink == "local":
        to = xd.sink(f"{tmp_path}/out/")
    else:
        other = request.getfixturevalue(sink)
        to = xd.sink(f"{other.url}out/", **other.options, **other.secrets)

    receipt = to(from_("bomb"))
    encoding = to.store.stat(receipt.key).metadata.content_encoding

    assert bytes(to.store.read(receipt.key).read_all()) == BOMB
    assert encoding == "gzip" or "content_encoding" in receipt.metadata_lost


EVIL_METADATA = {
    "line break in a user value": Metadata(user={"a": "x\r\nx-evil: 1"}),
    "line feed in a user value": Metadata(user={"a": "x\nx-evil: 1"}),
    "line break in a type": Metadata(content_type="text/plain\r\nx-evil: 1"),
    "line break in a disposition": Metadata(content_disposition="inline\r\n\r\nbody"),
    "line break in a user name": Metadata(user={"a\r\nx-evil": "1"}),
    "NUL in a value": Metadata(user={"a": "x\0y"}),
    "over the limit": Metadata(user={f"name{number}": "v" * 1_000 for number in range(20)}),
}


@pytest.mark.parametrize("name", EVIL_METADATA)
@pytest.mark.parametrize("sink", ["s3", "gcs_token", "azure_key"])
def test_metadata_that_is_no_header_is_refused_or_kept_exactly(sink, name, request, tmp_path):
    """In one request and in parts; nothing is smuggled, cut or left behind, and other objects of the run arrive."""
    end = request.getfixturevalue(sink)
    metadata = EVIL_METADATA[name]
    source = MemoryStore(f"evil-{sink}-{tmp_path.name}")
    source.put("evil", b"x", metadata=metadata)
    source.put("good", b"x")
    to = xd.sink(end.url, **end.options, **end.secrets)
    report = xd.migrate(source.url, to, run_dir=f"{tmp_path}/run")
    held = {info.key for page in to.store.list() for info in page}

    if report.counts.failed:
        assert held == {"good"}
        assert [record.failure.error for record in report.failed] == ["UnsupportedError"]
        assert all(record.failure.message.isprintable() for record in report.failed)
        with pytest.raises(UnsupportedError):
            to.store.begin("evil", part_size_bytes=5 << 20, metadata=metadata)
    else:
        assert metadata == to.store.stat("evil").metadata
    assert report.counts.copied + report.counts.failed == 2
    assert [*to.store.list_uploads()] == []


FORGERIES = (
    "plain",
    "line\nremoved  everything",
    "return\rdone: every object",
    "escape\x1b[2J\x1b[31mred",
    "title\x1b]0;owned\x07",
    "bell\x07backspace\x08\x08\x08",
    "c1\x9b31m",
    "separator\u2028next\u2029paragraph\x85",
    "override\u202egnp.exe",
)


def is_harmless(text):
    return all(char.isprintable() or char == "\n" for char in text)


@pytest.fixture
def forged():
    """A bucket with such keys, on a real server."""
    from crossdock.testing import EmbeddedGCS

    with EmbeddedGCS(buckets=("bucket",)) as server:
        store = gcs(server.url)
        for key in FORGERIES:
            if "\r" not in key and "\n" not in key:  # GCS refuses these
                store.put(key, b"x")
        yield server


def test_keys_forge_no_line_and_no_escape_on_a_screen(forged, tmp_path):
    """``ls``, plans, verdicts, failures, runs, cleanup: one line a key, nothing that a terminal obeys."""
    option = f"endpoint_url={forged.url}"
    gcs(forged.url).begin("escape\x1b[2J", part_size_bytes=5 << 20)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FORGERIES[3]).mkdir()  # so that copying this one fails, and is told of
    keys = len(FORGERIES) - 2
    told = {}
    for words in (
        ["ls", "gs://bucket/", "--option", option],
        ["ls", "-l", "gs://bucket/", "--option", option],
        [
            "cp",
            "gs://bucket/",
            f"{tmp_path}/out/",
            "-vv",
            "--source-option",
            option,
            "--run-dir",
            f"{tmp_path}/run",
        ],
        ["runs", "show", f"{tmp_path}/run"],
        ["cleanup", "gs://bucket/", "--option", option],
        ["cp", f"gs://bucket/{FORGERIES[3]}\x1b", f"{tmp_path}/no/", "--source-option", option],
        ["ls", "gs://bucket/\x1b[2J/", "--option", option],
        ["ls", "nosuch\x1b[2J://bucket/"],
    ):
        done = CliRunner().invoke(cli, words)
        told[" ".join(words[:2])] = done
        assert is_harmless(done.stdout), words
        assert is_harmless(done.stderr), words

    assert keys == len(told["ls gs://bucket/"].stdout.splitlines()) == len(told["ls -l"].stdout.splitlines())
    assert r"escape\x1b[2J\x1b[31mred" in told["runs show"].stdout
    assert told["cp gs://bucket/"].exit_code == 5


@pytest.mark.parametrize("key", FORGERIES[1:], ids=repr)
def test_keys_forge_no_log_line(key, caplog, tmp_path):
    """Log lines of ours at every level, errors, notes: one line each, nothing that a terminal obeys."""
    from crossdock.cli.progress import Lines

    caplog.set_level(1)
    source = MemoryStore(f"forged-{tmp_path.name}")
    source.put(key, b"x")
    screen = io.StringIO()
    with Lines(screen) as lines:
        lines(Note(text=f"memory://b/{key} is an object and a prefix"))
    report = xd.migrate(source.url, f"{tmp_path}/out/", run_dir=f"{tmp_path}/run")
    mapped = xd.CombinedTask(
        xd.source(f"{source.url}/").bind(xd.param("key")),
        xd.sink("memory://forged-out/"),
        retries=1,
        retry_delay=0,
    ).map(key=[key, f"{key}-absent"])
    errors = [outcome.error for outcome in mapped if outcome.error is not None]
    with pytest.raises(CrossdockError) as raised:
        xd.source(f"{source.url}/{key}/")("absent").opened()

    for record in caplog.records:
        if record.name.startswith("crossdock"):
            assert is_harmless(record.getMessage()), record.name
            assert "\n" not in record.getMessage(), record.name
    assert errors
    for error in (*errors, raised.value):
        assert str(error).isprintable()
    assert is_harmless(screen.getvalue())
    assert len(screen.getvalue().splitlines()) == 1
    assert report.counts.planned == 1


def test_json_of_the_command_line_has_the_keys_exactly(forged):
    done = CliRunner().invoke(cli, ["ls", "--json", "gs://bucket/", "--option", f"endpoint_url={forged.url}"])

    assert done.stdout.isascii()
    assert {json.loads(line)["key"] for line in done.stdout.splitlines()} == {
        key for key in FORGERIES if "\r" not in key and "\n" not in key
    }


def test_an_http_header_of_a_hostile_server_is_data(tmp_path):
    """A disposition that names a path, a type with markup: kept as text or named as lost; the key alone names the file."""
    with WebServer() as server:
        metadata = Metadata(
            content_disposition='attachment; filename="../../evil"', content_type="text/html;<script>"
        )
        server.keep("page", b"x", metadata=metadata)
        receipt = xd.sink(f"{tmp_path}/out/")(xd.source(f"{server.url}/")("page"))

    assert (tmp_path / "out" / "page").read_bytes() == b"x"
    assert "content_disposition" in receipt.metadata_lost
    assert [path.name for path in tmp_path.rglob("evil")] == []
