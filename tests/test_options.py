"""Options: names, text to values, sizes, and secrets that never show."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import pytest

from crossdock.errors import ConfigError, CredentialsError
from crossdock.options import (
    Secret,
    describe_options,
    format_size,
    option,
    parse_options,
    parse_size,
    public_options,
)

CANARY = "canary-7f3a-never-shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    endpoint_url: str | None = option("Where.", env=("XD_TEST_URL", "XD_TEST_URL_2"), aliases=("endpoint",))
    part_size_bytes: int = option("How much.", default=1024, unit="bytes", aliases=("chunksize",))
    concurrency: int = option("How many.", default=4)
    timeout_s: float = option("How long.", default=1.5, unit="s")
    anon: bool = option("Whether.", default=False)
    client_kwargs: Mapping[str, object] | None = option("What else.")
    secret: Secret | None = option("Who.", env=("XD_TEST_SECRET",), secret=True)  # noqa: RUF009


class TestParseOptions:
    def test_nothing_given_means_defaults(self):
        assert parse_options(Options, {}) == Options()

    @pytest.mark.parametrize(
        ("written", "nearest"),
        [("endpiont_url", "endpoint_url"), ("ano", "anon"), ("chunk_size", "chunksize")],
    )
    def test_an_unknown_name_is_refused_with_the_nearest(self, written, nearest):
        with pytest.raises(ConfigError, match=f"unknown option '{written}'.*did you mean '{nearest}'"):
            parse_options(Options, {written: "x"}, where="s3://bucket")

    def test_an_unknown_name_without_a_near_one_lists_all(self):
        with pytest.raises(ConfigError) as raised:
            parse_options(Options, {"zzzz": "x"}, where="s3://bucket")

        assert raised.value.where == "s3://bucket"
        assert all(field.name in raised.value.hint for field in fields(Options))

    def test_a_name_and_its_alias_are_one_option(self):
        assert parse_options(Options, {"endpoint": "http://a"}).endpoint_url == "http://a"
        with pytest.raises(ConfigError, match="given twice"):
            parse_options(Options, {"endpoint": "http://a", "endpoint_url": "http://b"})

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("concurrency", "8", 8),
            ("timeout_s", "2.5", 2.5),
            ("timeout_s", 3, 3.0),
            ("anon", "true", True),
            ("anon", "Off", False),
            ("part_size_bytes", "8MiB", 8 * 1024**2),
            ("part_size_bytes", 77, 77),
            ("client_kwargs", '{"verify": false}', {"verify": False}),
            ("client_kwargs", {"a": 1}, {"a": 1}),
            ("endpoint_url", "123", "123"),
            ("endpoint_url", None, None),
        ],
    )
    def test_text_becomes_values(self, name, text, value):
        assert getattr(parse_options(Options, {name: text}), name) == value

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("concurrency", "many"),
            ("concurrency", 1.5),
            ("concurrency", True),
            ("timeout_s", "soon"),
            ("anon", "perhaps"),
            ("anon", 1),
            ("part_size_bytes", "8 furlongs"),
            ("client_kwargs", "[1]"),
            ("client_kwargs", "not json"),
            ("endpoint_url", 5),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(self, name, value):
        with pytest.raises(ConfigError, match=name):
            parse_options(Options, {name: value})

    def test_the_environment_fills_in_first_match_first(self, monkeypatch):
        monkeypatch.setenv("XD_TEST_URL_2", "http://second")

        assert parse_options(Options, {}).endpoint_url == "http://second"
        monkeypatch.setenv("XD_TEST_URL", "http://first")
        assert parse_options(Options, {}).endpoint_url == "http://first"
        assert parse_options(Options, {"endpoint_url": "http://given"}).endpoint_url == "http://given"

    def test_a_secret_is_not_taken_from_the_environment_here(self, monkeypatch):
        """The cloud's own chain reads those; a copy in our options would travel."""
        monkeypatch.setenv("XD_TEST_SECRET", CANARY)

        assert parse_options(Options, {}).secret is None

    def test_public_options_are_what_was_set_without_secrets(self):
        options = parse_options(Options, {"secret": CANARY, "concurrency": 9, "anon": False})

        assert public_options(options) == {"concurrency": 9}

    def test_every_option_is_described(self):
        rows = {row["name"]: row for row in describe_options(Options)}

        assert {*rows} == {field.name for field in fields(Options)}
        assert rows["part_size_bytes"]["unit"] == "bytes"
        assert rows["secret"]["secret"] is True
        assert all(row["help"] for row in rows.values())


class TestSecret:
    """A literal secret shows nowhere; a reference resolves where it is used."""

    @pytest.fixture
    def options(self):
        return parse_options(Options, {"secret": CANARY})

    def test_it_is_wrapped(self, options):
        assert isinstance(options.secret, Secret)
        assert options.secret.reveal() == CANARY
        assert not options.secret.is_reference

    def test_texts_do_not_show_it(self, options):
        shown = [
            repr(options),
            str(options),
            repr(options.secret),
            str(options.secret),
            f"{options.secret}",
            f"{options.secret!s:>20}",
            str([options.secret]),
            "%s" % options.secret,  # noqa: UP031 - logging formats so
        ]

        assert [text for text in shown if CANARY in text] == []

    def test_pickles_do_not_hold_it(self, options):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert CANARY.encode() not in pickle.dumps(options, protocol)

    def test_a_pickle_is_the_same_every_time(self, options):
        """So that equal recipes are one cache entry."""
        again = parse_options(Options, {"secret": CANARY})

        assert pickle.dumps(options) == pickle.dumps(again)

    def test_tracebacks_do_not_show_it(self, options):
        text = io.StringIO()
        try:
            raise ConfigError("wrong", hint=f"{options}") from ValueError(options.secret)  # noqa: TRY301
        except ConfigError:
            traceback.print_exc(file=text)

        assert CANARY not in text.getvalue()

    def test_a_pickled_literal_is_itself_in_this_process_and_its_children(self, options):
        pickled = pickle.dumps(options.secret)
        script = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).reveal())"
        child = subprocess.run([sys.executable, "-c", script], input=pickled, capture_output=True, check=True)

        assert pickle.loads(pickled).reveal() == CANARY  # noqa: S301 - our own bytes
        assert child.stdout.decode().strip() == CANARY

    def test_a_pickled_literal_elsewhere_says_what_to_write(self, options):
        pickled = pickle.dumps(options.secret)
        script = """
import pickle, sys
from crossdock.errors import CredentialsError
try:
    pickle.loads(sys.stdin.buffer.read()).reveal()
except CredentialsError as error:
    print(error)
"""
        bare = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_SECRET_")}
        child = subprocess.run(
            [sys.executable, "-c", script], input=pickled, capture_output=True, check=True, env=bare
        )

        assert "give it as env:NAME, file:PATH or cmd:COMMAND" in child.stdout.decode()

    def test_copies_are_equal(self, options):
        assert copy.deepcopy(options.secret) == options.secret
        assert Secret("other") != options.secret
        assert hash(Secret(CANARY)) == hash(options.secret)

    def test_env_reference(self, monkeypatch):
        monkeypatch.setenv("XD_TEST_PLACE", CANARY)
        secret = Secret("env:XD_TEST_PLACE")

        assert secret.is_reference
        assert secret.reveal() == CANARY
        assert b"XD_TEST_PLACE" in pickle.dumps(secret)
        assert CANARY.encode() not in pickle.dumps(secret)

    def test_file_reference_is_its_first_line(self, tmp_path):
        (tmp_path / "secret").write_text(f"{CANARY}\nnot this\n")

        assert Secret(f"file:{tmp_path}/secret").reveal() == CANARY

    def test_cmd_reference_is_the_first_line_printed(self):
        assert Secret(f"cmd:{sys.executable} -c \"print('{CANARY}'); print('no')\"").reveal() == CANARY

    @pytest.mark.parametrize(
        "text", ["env:XD_TEST_NOT_SET", "file:/nonexistent/secret", "cmd:false", "cmd:/nonexistent"]
    )
    def test_a_reference_that_leads_nowhere_names_itself(self, text):
        with pytest.raises(CredentialsError) as raised:
            Secret(text).reveal()

        assert text in str(raised.value)

    def test_an_empty_file_is_no_secret(self, tmp_path):
        (tmp_path / "secret").write_text("")

        with pytest.raises(CredentialsError):
            Secret(f"file:{tmp_path}/secret").reveal()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("10", 10),
        ("10B", 10),
        ("8MiB", 8 * 1024**2),
        ("8M", 8 * 1024**2),
        ("8mib", 8 * 1024**2),
        ("1.5G", 3 * 512 * 1024**2),
        ("1GB", 10**9),
        (" 2 KiB ", 2048),
        ("1TiB", 1024**4),
        ("1PB", 10**15),
    ],
)
def test_sizes_parse(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1 XB", "1e6", "1,5G", "8 Mi B", "ten"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (4096, "4.0 KiB"),
        (1.25 * 1024**3, "1.2 GiB"),
        (3000 * 1024**4, "3000.0 TiB"),
    ],
)
def test_sizes_for_people(size, text):
    assert format_size(size) == text


def test_a_plain_dataclass_field_is_no_option():
    """Every field of an option class says what it is for: ``describe_options`` of one that does not is an error."""

    @dataclass
    class Bare:
        name: str = field(default="x")

    with pytest.raises(KeyError):
        parse_options(Bare, {})
