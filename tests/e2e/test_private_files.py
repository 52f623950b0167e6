"""Files of service and worker are private to their user, whatever the umask; files of a user's code are not changed."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from service.client import Client
from tests.support.forked_commands import COMMANDS, TRAINING
from tests.support.service import ROOT, free_port
from tests.worker.grants import digits
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

WORKER = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--allow-functions", "--until-done"]
WRITES = "import pathlib\ndef writes(trial):\n    pathlib.Path('result.txt').write_text('for all')\n    return 1.0\n"


def open_to_others(folder: Path) -> list[str]:
    """Files and folders that somebody else may read, the folder itself included."""
    return [str(path) for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_files_are_the_user_s_alone(tmp_path: Path, umask: int) -> None:
    served, project, shared = tmp_path / "service", tmp_path / "project", tmp_path / "shared"
    for folder in (served, project, shared):
        folder.mkdir()
    served.chmod(0o700)
    shared.chmod(0o755)
    (project / "mine.py").write_text(WRITES)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--database", str(served / "assayer.db")]
    service = COMMANDS.popen(command, cwd=ROOT, env=clean, umask=umask)
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            assert eventually(lambda: _answers(client), 60.0)
            space = {"x": {"type": "int", "low": 1, "high": 2}}
            objective = {"metric": "val/accuracy", "direction": "maximize"}
            common = {"objective": objective, "budget": {"trials": 1}}
            rate = {"optimizer.lr": {"type": "float", "low": 0.001, "high": 0.01}}
            client.create_study(
                {"name": "trains", "task": {"train": digits()}, "space": rate, "preflight": "off", **common}
            )
            client.create_study(
                {"name": "shares", "task": {"train": digits()}, "space": rate, "preflight": "off", **common}
            )
            client.create_study({"name": "writes", "task": {"function": "mine:writes"}, "space": space, **common})
            for study, flags in (("trains", []), ("shares", ["--checkpoints", str(shared)]), ("writes", [])):
                state = tmp_path / f"state-{study}"
                TRAINING.run(
                    [*WORKER, "--server", client.server, "--state-dir", str(state), "--study", study, *flags],
                    cwd=project,
                    env=clean | {"PYTHONPATH": str(ROOT), "ASSAYER_CHECKPOINT_SECONDS": "0"},
                    umask=umask,
                    check=True,
                    timeout=180,
                )
                assert list(state.rglob("outbox.sqlite*"))
                assert open_to_others(state) == []
            backup = served / "backup.db"
            command = [sys.executable, "-m", "service", "backup", "--database", str(served / "assayer.db"), str(backup)]
            COMMANDS.run(command, cwd=ROOT, env=clean, umask=umask, check=True, timeout=60)
            assert backup.exists()
            assert list(served.rglob("*-blobs/*"))
            assert open_to_others(served) == []
    finally:
        service.terminate()
        service.wait(30)
    assert stat.S_IMODE((project / "result.txt").stat().st_mode) == 0o666 & ~umask
    assert {stat.S_IMODE(path.stat().st_mode) for path in shared.iterdir()} <= {0o755}


def _answers(client: Client) -> bool:
    try:
        return bool(client.health())
    except Exception:
        return False
