"""No secret in what Dask sends: task specs, recipes, errors and results, as bytes, between driver, scheduler and workers."""

from __future__ import annotations

import threading

import dask
import distributed
import pytest
from canaries import as_references

import crossdock as xd

assert (
    distributed.comm
)  # imported before its configuration is changed for a while, or the change would take its defaults along
PAIRS = [("s3", "azure_sas"), ("sftp", "gcs_token"), ("ftp", "azure_string"), ("http_headers", "s3")]


class Frames:
    """The bytes of every message that the process of driver and scheduler sends and receives, uncompressed."""

    def __init__(self, witness, monkeypatch):
        from distributed.comm import tcp

        self.witness, self._lock = witness, threading.Lock()
        from_frames, to_frames = tcp.from_frames, tcp.to_frames

        async def received(frames, **kwargs):
            self._take("received", frames)
            return await from_frames(frames, **kwargs)

        async def sent(*args, **kwargs):
            frames = await to_frames(*args, **kwargs)
            self._take("sent", frames)
            return frames

        monkeypatch.setattr(tcp, "from_frames", received)
        monkeypatch.setattr(tcp, "to_frames", sent)

    def _take(self, where, frames):
        with self._lock:
            for frame in frames:
                self.witness.saw(f"Dask {where}", bytes(frame))


@pytest.fixture
def frames(witness, monkeypatch):
    with dask.config.set({"distributed.comm.compression": False}):
        yield Frames(witness, monkeypatch)


@pytest.mark.parametrize("way", ["literal", "env"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_two_workers_are_told_no_secret(pair, way, request, frames, witness, tmp_path, monkeypatch):
    """A run and a map with a failing item; secrets reach the workers, or they could not log in."""
    first, second = (request.getfixturevalue(name) for name in pair)
    from_options, to_options = (
        {**end.options, **as_references(end.secrets, way, _sub(tmp_path, f"references-{name}"), monkeypatch)}
        for name, end in zip(pair, (first, second), strict=True)
    )
    source = xd.source(first.url, **from_options)
    if first.is_sink:
        xd.sink(first.url, **from_options)(b"data", key="small")
    sink = xd.sink(second.url, **to_options)
    with xd.DaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1}) as runner:
        report = xd.migrate(
            source if first.is_sink else f"{first.url}small",
            second.url,
            sink_options=to_options,
            source_options=None if first.is_sink else from_options,
            run_dir=f"{tmp_path}/run/",
            runner=runner,
        )
        mapped = xd.CombinedTask(source.bind(xd.param("key")), sink.bind(key=xd.param("to"))).map(
            key=["small", "absent"], to=["in/one", "in/two"], runner=runner
        )
        outcomes = sorted(mapped, key=lambda outcome: outcome.index)
    for outcome in outcomes:
        witness.saw("outcome", repr(outcome))
        if outcome.error is not None:
            witness.saw_error("outcome", outcome.error)

    assert witness.leaks((*first.hidden, *second.hidden)) == []
    assert (report.counts.copied, [outcome.ok for outcome in outcomes]) == (1, [True, False])
    assert witness.has_seen("Dask sent", second.marker)
    assert witness.has_seen("Dask received", "small")


def test_what_is_captured_is_what_is_sent(frames, witness):
    """A canary handed to a task as plain text is seen: the capture is no blind eye."""
    with xd.DaskRunner(cluster_kwargs={"n_workers": 1, "threads_per_worker": 1}) as runner:
        result = xd.task(len).map(["canary-in-plain-text"], runner=runner)

        assert result.results() == [20]
    assert witness.has_seen("Dask sent", "canary-in-plain-text")


def _sub(place, name):
    folder = place / name
    folder.mkdir(exist_ok=True)
    return folder
