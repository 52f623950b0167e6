"""Logs of training processes: stores the newest output of every attempt and reads it, whatever its state."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from service.contract.attempt import FailureClass
from service.contract.log import MAX_LOG_BYTES, LogReply, LogRequest, LogView, Stream
from service.contract.problem import ErrorCode
from service.contract.trial import AttemptState
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.queries import logs, trials
from service.storage.tables import Connection
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.studies.study_lookup import find_study
from service.usecases.trials.trial_lookup import find_trial


async def append_log(context: Context, trial_id: str, number: int, stream: Stream, request: LogRequest) -> LogReply:
    """Append the bytes that are not stored yet to a stream; the reply has the offset to continue from.

    A superseded attempt may still send its output: nothing depends on it, and users look there for the cause.

    Raises:
        DomainError: There is no such attempt, or the nonce does not match.
    """

    def work(unit_of_work: UnitOfWork) -> LogReply:
        attempt = trials.attempt_of(unit_of_work.connection, trial_id, number)
        if attempt is None:
            raise DomainError(
                ErrorCode.UNKNOWN_ATTEMPT,
                f"trial {trial_id} has no attempt {number}; use the trial and the attempt of the grant",
            )
        if attempt.nonce != request.nonce:
            message = f"attempt {number} of trial {trial_id} was granted with another nonce; drop its logs"
            raise DomainError(ErrorCode.LEASE_SUPERSEDED, message)
        end = logs.end(unit_of_work.connection, trial_id, number, stream)
        start = max(end, request.offset)
        content = request.content[start - request.offset :]
        if not content:
            return LogReply(offset=end)
        unit_of_work.insert(
            tables.log_chunk,
            trial_id=trial_id,
            attempt=number,
            stream=stream,
            start_offset=start,
            content=content,
            created_at=unit_of_work.now(),
        )
        _drop_oldest(unit_of_work, trial_id, number, stream, start + len(content) - MAX_LOG_BYTES)
        return LogReply(offset=start + len(content))

    # Logs change no revision, so they take no study's lock; two requests for one stream at once conflict on the offset.
    return await context.transact(None, work)


def _drop_oldest(unit_of_work: UnitOfWork, trial_id: str, number: int, stream: Stream, before: int) -> None:
    """Delete the chunks that end before an offset."""
    for chunk in logs.chunks(unit_of_work.connection, trial_id, number, stream, 0):
        if chunk.start_offset + len(chunk.content) > before:
            return
        table = tables.log_chunk
        unit_of_work.connection.execute(
            table.delete().where(
                table.c.trial_id == trial_id,
                table.c.attempt == number,
                table.c.stream == stream,
                table.c.start_offset == chunk.start_offset,
            )
        )


async def read_log(
    context: Context, name: str, key: str, *, attempt: int | None, stream: Stream, after: int
) -> LogView:
    """Return the output of an attempt (default: the newest attempt) from offset `after` on.

    Raises:
        DomainError: There is no such study, trial or attempt.
    """

    def read(connection: Connection) -> LogView:
        study = find_study(connection, name)
        trial = find_trial(connection, study, key)
        attempt_number = trial.num_attempts if attempt is None else attempt
        row = trials.attempt_of(connection, trial.id, attempt_number)
        if row is None:
            attempts = f"it has {trial.num_attempts}, numbered from 1" if trial.num_attempts else "it has none yet"
            raise DomainError(ErrorCode.UNKNOWN_ATTEMPT, f"trial {key} has no attempt {attempt_number}; {attempts}")
        ended = row.state != AttemptState.RUNNING
        kept = logs.chunks(connection, trial.id, attempt_number, stream, after)
        text, end = _text([(chunk.start_offset, chunk.content) for chunk in kept], after, is_final=ended)
        return LogView(
            attempt=attempt_number,
            stream=stream,
            text=text,
            next=end,
            ended=ended,
            state=AttemptState(row.state),
            failure=FailureClass(row.failure) if row.failure else None,
            message=row.message,
            traceback=row.traceback,
        )

    return await context.database.read_for_viewer(read)


def _text(chunks: Iterable[tuple[int, bytes]], after: int, *, is_final: bool) -> tuple[str, int]:
    """Return the chunks as text with a note at each gap, and the offset after it, before any incomplete character."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    parts: list[str] = []
    end = after
    for start, content in chunks:
        if start > end:
            parts += [decoder.decode(b"", final=True), f"\n[{start - end} bytes were not kept]\n"]
            decoder.reset()
        parts.append(decoder.decode(content[max(0, end - start) :]))
        end = start + len(content)
    if is_final:
        parts.append(decoder.decode(b"", final=True))
        return "".join(parts), end
    return "".join(parts), end - len(decoder.getstate()[0])
