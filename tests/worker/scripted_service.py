"""A small HTTP server with scripted answers, for refusals and outages that a healthy service never shows."""

from __future__ import annotations

import json
import re
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from service.client import Client
from service.contract.problem import ErrorCode

Body = dict[str, Any]
Answer = Callable[[Body], tuple[int, Body]]


def problem(status: int, code: ErrorCode, detail: str = "no") -> tuple[int, Body]:
    """A problem document as the service writes it."""
    return status, {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}


def verdict(action: str = "continue", reason: str = "", step: int = 1) -> tuple[int, Body]:
    """The answer to a report."""
    return 200, {"action": action, "reason": reason, "step": step}


FINISHED: tuple[int, Body] = (200, {"trial_state": "completed", "values": None})


@dataclass
class Scripted:
    """What the server answers to each call, and what it was asked."""

    url: str = ""
    report: Answer = lambda _: verdict()
    finish: Answer = lambda _: FINISHED
    heartbeat: Answer = lambda _: (200, {"leases": [], "heartbeat_seconds": 0.05})
    provenance: Answer = lambda _: (200, {"warnings": []})
    warning: Answer = lambda _: (200, {"warnings": []})
    claim: Answer = lambda _: (200, {"kind": "nothing", "reason": "none", "retry_seconds": 0.05})
    log: Answer = lambda body: (200, {"offset": body["offset"] + len(b64decode(body["content"]))})
    predictions: Answer = lambda _: (200, {"kept": True})
    checkpoint: Answer = lambda body: (200, {"step": body["step"], "batch": body["batch"]})
    blobs: dict[str, bytes] = field(default_factory=dict)
    """What was uploaded, by the name that it was given."""
    asked: list[tuple[str, Body]] = field(default_factory=list)

    def asked_of(self, call: str) -> list[Body]:
        return [body for name, body in self.asked if name == call]


_CALLS = {
    "reports": "report",
    "finish": "finish",
    "heartbeats": "heartbeat",
    "claims": "claim",
    "provenance": "provenance",
    "warnings": "warning",
    "predictions": "predictions",
    "checkpoints": "checkpoint",
    "stdout": "log",
    "stderr": "log",
}


@contextmanager
def scripted_service() -> Iterator[tuple[Scripted, Client]]:
    """Serve for the length of a block; with a client of it."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            call = _CALLS[re.split(r"/", self.path)[-1]]
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            script.asked.append((call, body))
            self.answer(*getattr(script, call)(body))

        def do_HEAD(self) -> None:
            self.send_response(200 if self.path.split("/")[-1] in script.blobs else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_PUT(self) -> None:
            name, content = self.path.split("/")[-1], self.rfile.read(int(self.headers["Content-Length"]))
            script.blobs[name] = content
            self.answer(200, {"sha256": name, "size": len(content), "is_new": True})

        def answer(self, status: int, body: Body) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with Client(script.url) as client:
                yield script, client
        finally:
            server.shutdown()
            thread.join()
