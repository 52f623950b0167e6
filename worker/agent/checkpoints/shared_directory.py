"""A directory of checkpoints that workers share: complete, verified copies of each trial's newest checkpoints."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from worker.agent.attempts import AttemptKey
from worker.fsync import replace_durably
from worker.protocol import CheckpointSaved

_NUM_KEPT = 2
_NO_BATCH = f"{0:012d}"
_CHUNK = 1 << 20


class CheckpointReplaced(Exception):
    """The file to share is gone or has other content, because newer checkpoints have replaced it."""


class SharedDirectory:
    """A folder `DIRECTORY/TRIAL/` per trial; its file names sort by attempt, step and batch."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def uri(self) -> str:
        """The directory's URI, as claims offer it."""
        return self._directory.as_uri()

    def uri_of(self, key: AttemptKey, saved: CheckpointSaved) -> str:
        """Return the URI that a checkpoint gets."""
        name = f"{key.attempt:06d}-{saved.step:012d}-{saved.batch:012d}-{saved.sha256[:16]}.pt"
        return (self._directory / key.trial / name).as_uri()

    def remove_trial(self, trial: str) -> None:
        """Delete the checkpoints of a finished trial."""
        shutil.rmtree(self._directory / trial, ignore_errors=True)


def path_from_uri(uri: str) -> Path | None:
    """Return the path of a file URI; None for another kind of URI."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def copy_to_shared(file: Path, target: Path, sha256: str) -> None:
    """Copy a checkpoint to its place in the shared directory, unless it is there already.

    Args:
        file: The checkpoint on this host's disk.
        target: Its path in the shared directory.
        sha256: The expected hash of the content.

    Raises:
        CheckpointReplaced: The file is gone or no longer that checkpoint.
        OSError: The directory cannot be used.
    """
    if target.exists():
        return
    _make_folder(target.parent)
    try:
        source = file.open("rb")
    except OSError as error:
        raise CheckpointReplaced(f"cannot read the file: {error}") from None
    digest = hashlib.sha256()
    with source, tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as copy:
        try:
            while piece := source.read(_CHUNK):
                digest.update(piece)
                copy.write(piece)
            if digest.hexdigest() != sha256:
                raise CheckpointReplaced(f"a newer checkpoint has replaced {file}")
            Path(copy.name).chmod(0o644)
            replace_durably(copy, target)
        except BaseException:
            Path(copy.name).unlink(missing_ok=True)
            raise


def _make_folder(folder: Path) -> None:
    """Make a trial's folder with the permissions of the shared directory, whatever this process's umask is."""
    try:
        folder.mkdir()  # don't make the parent directory: if it is missing, it is not mounted
    except FileExistsError:
        return
    folder.chmod(folder.parent.stat().st_mode & 0o777)


def delete_old(target: Path) -> None:
    """Delete a trial's old checkpoints after `target` was registered.

    The newest two stay, and the newest one of a whole step.
    """
    newest_first = sorted(target.parent.glob("*.pt"), reverse=True)
    of_whole_steps = [path for path in newest_first if path.stem.split("-")[-2] == _NO_BATCH]
    for path in newest_first[_NUM_KEPT:]:
        if path not in of_whole_steps[:1]:
            path.unlink(missing_ok=True)
