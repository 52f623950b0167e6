"""Messages between agent and training process survive any fragmentation of the stream."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.protocol import (
    CheckpointSaved,
    Ended,
    Exited,
    Forked,
    Message,
    MessageDecoder,
    Order,
    PredictionsSaved,
    Progress,
    ProtocolError,
    Provenance,
    Ready,
    Report,
    Start,
    Terminate,
    decode,
    encode,
)

text = st.text(max_size=20)
metrics = st.dictionaries(text, st.floats(allow_nan=False), max_size=4)
json_values = st.recursive(st.none() | st.booleans() | st.integers() | text, lambda inner: st.lists(inner, max_size=3))
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ready, code=text),
    st.builds(Provenance, data=st.none() | text, environment=st.dictionaries(text, text, max_size=3)),
    st.just(Terminate()),
    st.builds(Forked, pid=st.integers(1)),
    st.builds(Exited, status=st.integers(-64, 255)),
    st.builds(Report, step=st.integers(0), metrics=metrics),
    st.just(Progress()),
    st.builds(CheckpointSaved, step=st.integers(0), path=text, sha256=text, size=st.integers(0), batch=st.integers(0)),
    st.builds(PredictionsSaved, path=text, sha256=text, size=st.integers(0)),
    st.builds(Ended, outcome=st.dictionaries(text, json_values, max_size=3)),
    st.builds(Order, action=text, reason=text),
    st.builds(
        Start,
        grant=st.dictionaries(text, json_values, max_size=3),
        device=text,
        threads=st.integers(1, 64),
        stdout=text,
        stderr=text,
        checkpoints=text,
        checkpoint_seconds=st.floats(0, 1e6),
        resume=st.none() | text,
    ),
)


@given(messages)
def test_a_message_reads_back_as_it_was_written(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.lists(messages, max_size=5), st.integers(1, 7))
def test_an_inbox_finds_the_messages_wherever_the_stream_is_cut(sent: list[Message], size: int) -> None:
    stream = b"".join(map(encode, sent))
    inbox = MessageDecoder()
    received = [message for at in range(0, len(stream), size) for message in inbox.feed(stream[at : at + size])]
    assert received == sent


def test_metrics_that_are_not_numbers_arrive_as_they_are() -> None:
    report = decode(encode(Report(step=1, metrics={"a": math.nan, "b": math.inf, "c": -math.inf})))
    assert isinstance(report, Report)
    assert math.isnan(report.metrics["a"])
    assert (report.metrics["b"], report.metrics["c"]) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'{"type": "unheard"}', b'{"type": "exited"}', b'{"type": "ready", "more": 1}']
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line)
