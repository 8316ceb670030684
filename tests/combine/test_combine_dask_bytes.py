"""Payload stays on the workers: what the driver's process sends and receives is counted while a gibibyte moves."""

from __future__ import annotations

import threading

import crossdock as xd
from crossdock.events import BytesMoved, emit, listening

MIB = 1024 * 1024
ITEMS, CHUNKS = 16, 64


class Frames:
    """Bytes of all messages that client and scheduler, both in this process, send and receive."""

    def __init__(self, monkeypatch):
        from distributed.comm import tcp

        self.read = self.written = 0
        self._lock = threading.Lock()
        load, write = tcp.from_frames, tcp.TCP.write

        async def loaded(frames, **kwargs):
            with self._lock:
                self.read += sum(len(memoryview(frame).cast("B")) for frame in frames)
            return await load(frames, **kwargs)

        async def sent(comm, *args, **kwargs):
            size = await write(comm, *args, **kwargs)
            with self._lock:
                self.written += size or 0
            return size

        monkeypatch.setattr(tcp, "from_frames", loaded)
        monkeypatch.setattr(tcp.TCP, "write", sent)


def mebibytes(count):
    """A stream of ``count`` MiB, made chunk by chunk."""
    chunk = bytes(MIB)
    for _ in range(count):
        yield chunk


def test_a_gibibyte_moves_in_a_few_kibibytes_of_messages(monkeypatch):
    """Sixteen items of 64 MiB cross from half to half on two workers; results and events are small, and all of them come."""
    frames = Frames(monkeypatch)
    moved = []

    def hear(event):
        if isinstance(event, BytesMoved):
            moved.append(event.bytes)

    def sink(stream):
        total = 0
        for chunk in stream:
            emit(BytesMoved(bytes=len(chunk)))
            total += len(chunk)
        return total

    with xd.one_task("gibibyte") as move:
        xd.task(sink)(xd.task(mebibytes)(xd.param("count")))
    with xd.DaskRunner(n_workers=2, threads=2) as runner:
        runner.workers()
        before = frames.read + frames.written
        with listening(hear):
            result = move.map(count=[CHUNKS] * ITEMS, runner=runner)
            values = result.results()
        used = {outcome.worker for outcome in result}

    assert sum(values) == ITEMS * CHUNKS * MIB == 1 << 30
    assert sum(moved) == 1 << 30
    assert len(used) == 2
    assert before > 0  # the counters count
    assert 0 < frames.read + frames.written - before < MIB


def test_the_counters_would_see_a_payload(monkeypatch):
    """The negative control: eight MiB returned as a value, as asked for, are messages of eight MiB."""
    frames = Frames(monkeypatch)
    with xd.one_task("payload", allow_large_result=True) as payload:
        xd.task(bytes)(xd.task(lambda size: size)(xd.param("size")))
    with xd.DaskRunner(n_workers=1) as runner:
        assert [len(value) for value in payload.map(size=[8 * MIB], runner=runner).results()] == [8 * MIB]

    assert frames.read + frames.written > 8 * MIB
