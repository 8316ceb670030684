"""``crossdock check``: signs, lists, JSON, exit codes."""

import json

import pytest
from click.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.testing import EmbeddedS3, Rule
from crossdock.testing.demo.plain import PlainS3


def crossdock(*arguments):
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.stdout, result.stderr


def fill(place, objects):
    for name, body in objects.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(body)
    return f"{place}/"


@pytest.fixture
def ends(tmp_path):
    """One name for each sign but the error's."""
    source = fill(tmp_path / "from", {"a/same": b"1", "lost": b"2", "wrong": b"33"})
    return source, fill(tmp_path / "to", {"a/same": b"1", "extra": b"2", "wrong": b"34"})


def test_what_is_the_same_exits_0(ends):
    code, out, err = crossdock("check", ends[0], ends[0].replace("from", "to"), "--include", "a/**")

    assert (code, err) == (0, "")
    assert out.startswith("the same: 1 objects\n")
    assert "same      1 by bytes" in out


def test_differences_exit_6_and_the_verdict_names_them(ends):
    code, out, _ = crossdock("check", *ends)

    assert code == 6
    assert out.startswith("different: 3 of 4 objects\n")
    assert "4 objects = 1 same + 1 different + 1 missing at the destination + 1 missing at the source" in out
    for row in ("* wrong: the bytes differ, first at 1", "+ lost: missing at", "- extra: missing at"):
        assert row in out
    assert crossdock("check", *ends, "-q")[1] == ""


def test_combined_has_rclones_signs_and_the_verdict_makes_room(ends):
    code, out, err = crossdock("check", *ends, "--combined", "-")

    assert code == 6
    assert out.splitlines() == ["= a/same", "- extra", "+ lost", "* wrong"]
    assert err.startswith("different: 3 of 4 objects\n")


def test_each_sign_has_a_file_of_its_own(ends, tmp_path):
    lists = {
        "combined": "= a/same\n- extra\n+ lost\n* wrong\n",
        "match": "a/same\n",
        "missing-on-src": "extra\n",
        "missing-on-dst": "lost\n",
        "differ": "wrong\n",
        "error": "",
    }
    flags = [word for name in lists for word in (f"--{name}", str(tmp_path / name))]

    assert crossdock("check", *ends, *flags)[0] == 6
    assert lists == {name: (tmp_path / name).read_text() for name in lists}


def test_one_way(ends):
    code, out, _ = crossdock("check", *ends, "--one-way", "--combined", "-")

    assert (code, "- extra" in out) == (6, False)


def test_json_is_one_object_a_line_and_the_last_is_the_summary(ends):
    code, out, err = crossdock("check", *ends, "--json")
    rows = [json.loads(line) for line in out.splitlines()]

    assert code == 6
    assert [(row["sign"], row["key"]) for row in rows[:-1]] == [("-", "extra"), ("+", "lost"), ("*", "wrong")]
    assert (rows[-1]["type"], rows[-1]["checked"], rows[-1]["exit_code"]) == ("summary", 4, 6)
    assert err.startswith("different")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--combined", "-", "--differ", "-"), 2, "would mix on stdout"),
        (("--combined", "-", "--json"), 2, "would mix on stdout"),
        (("--differ", "/nowhere/at/all"), 2, "cannot be written"),
        (("--include", "[x"), 2, "["),
        (("--include", "nothing"), 3, "the filters leave nothing"),
        (("--concurrency", "0"), 2, "concurrency"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(ends, words, code, told):
    found, out, err = crossdock("check", *ends, *words)

    assert (found, out) == (code, "")
    assert told in err
    assert "Traceback" not in err


def test_a_key_cannot_forge_a_line(tmp_path):
    source = fill(tmp_path / "from", {"a\n= b": b"1"})

    code, out, _ = crossdock("check", source, fill(tmp_path / "to", {"c": b""}), "--combined", "-")

    assert (code, out.splitlines()) == (6, ["+ a\\n= b", "- c"])


def test_a_strict_check_says_what_could_not_be_compared(monkeypatch):
    """Size is all there is: counted, and an error with --require-digest (exit code 5)."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    with EmbeddedS3(buckets=("one", "two")) as s3:
        with PlainS3(s3.url) as plain:
            for bucket in ("one", "two"):
                plain.put(bucket, "a", b"1", {}, None)
        hidden = tuple((f"x-amz-checksum-{name}", "") for name in ("crc32", "crc32c", "crc64nvme", "type"))
        other = (*hidden, ("ETag", '"no-digest"'))
        s3.faults.add(Rule(operation="object.stat", answer_headers=other, name="no digest"))
        s3.faults.add(Rule(operation="object.list", bucket="two", status=503, first=1, name="slow down"))
        where = [f"--{end}-option=endpoint_url={s3.url}" for end in ("source", "sink")]

        code, out, err = crossdock("check", "s3://one/", "s3://two/", *where)

        assert code == 0, err
        assert "1 by digest" in out  # the listings' ETags are MD5s, and equal
        assert s3.faults.fired["slow down"] == 1


def test_a_missing_bucket_is_3_and_no_difference():
    with EmbeddedS3(buckets=("one",)) as s3:
        where = [
            f"--{end}-option={pair}"
            for end in ("source", "sink")
            for pair in (f"endpoint_url={s3.url}", "key=AKIDEXAMPLE", "secret=a-secret")
        ]

        assert crossdock("check", "s3://one/", "s3://none/", *where)[0] == 3
