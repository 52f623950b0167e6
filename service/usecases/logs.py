"""Logs: keep the newest of what a training process prints, and show it, whatever became of the attempt."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from service.contract.lease import FailureClass
from service.contract.log import MAX_LOG_BYTES, LogReply, LogRequest, LogView, Stream
from service.contract.problem import ErrorCode
from service.contract.trial import AttemptState
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.queries import logs, trials
from service.storage.tables import Connection
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.studies import find
from service.usecases.trials import find_trial


async def append_log(context: Context, trial_id: str, number: int, stream: Stream, request: LogRequest) -> LogReply:
    """Keep bytes of a stream that are not known yet; the reply says where to go on.

    An attempt that was superseded may still tell what it printed: nothing depends on it, and it is where one looks.

    Raises:
        DomainError: there is no such attempt, or the nonce is another's.
    """

    def work(unit_of_work: UnitOfWork) -> LogReply:
        attempt = trials.attempt_of(unit_of_work.connection, trial_id, number)
        if attempt is None:
            raise DomainError(
                ErrorCode.UNKNOWN_ATTEMPT,
                f"trial {trial_id} has no attempt {number}; name trial and attempt as the grant did",
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

    # Logs move no revision, so they take no study's lock; two of one stream at once collide on their offset.
    return await context.transact(None, work)


def _drop_oldest(unit_of_work: UnitOfWork, trial_id: str, number: int, stream: Stream, before: int) -> None:
    """Forget the chunks that end before an offset."""
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
    """What an attempt (the newest, where none is named) printed from offset `after` on.

    Raises:
        DomainError: there is no such study, trial or attempt.
    """

    def read(connection: Connection) -> LogView:
        study = find(connection, name)
        trial = find_trial(connection, study, key)
        wanted = trial.num_attempts if attempt is None else attempt
        row = trials.attempt_of(connection, trial.id, wanted)
        if row is None:
            had = f"it had {trial.num_attempts}, numbered from 1" if trial.num_attempts else "it had none yet"
            raise DomainError(ErrorCode.UNKNOWN_ATTEMPT, f"trial {key} has no attempt {wanted}; {had}")
        ended = row.state != AttemptState.RUNNING
        kept = logs.chunks(connection, trial.id, wanted, stream, after)
        text, end = _text([(chunk.start_offset, chunk.content) for chunk in kept], after, is_final=ended)
        return LogView(
            attempt=wanted,
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
    """Chunks as text, gaps told in their place; and the offset after it, before a character that is not whole yet."""
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
