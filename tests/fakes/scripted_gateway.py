"""A gateway that says what a test wants, and a batch that asks it: no engine, no policy, one process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gateway.batches import files
from gateway.batches.models import Batch, StoredFile
from tests.fakes.batch_rows import make_batch

GOOD = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'

Script = Callable[[BaseHTTPRequestHandler], None]


def say(
    peer: BaseHTTPRequestHandler, body: bytes = GOOD, status: int = 200, torn_at: int | None = None
) -> None:
    """An answer, or the beginning of one."""
    peer.send_response(status)
    peer.send_header("content-type", "application/json")
    peer.send_header("content-length", str(len(body)))
    peer.end_headers()
    peer.wfile.write(body[:torn_at])
    peer.close_connection = torn_at is not None


def error(code: str) -> bytes:
    """A refusal's body."""
    return json.dumps({"error": {"message": "no", "type": "t", "param": None, "code": code}}).encode()


@contextmanager
def scripted_gateway(script: Script) -> Iterator[str]:
    """The address of a gateway that has read a request before it follows the script."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            script(self)

        def log_message(self, *_told: object) -> None:
            """Nothing: a test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def batch_of(tenant: str, text: bytes, **fields: object) -> Batch:
    """A batch of this file, found right already unless ``status`` says otherwise."""
    writer = files.create(tenant, StoredFile.Purpose.BATCH, "batch.jsonl", 3600)
    writer.add(text)
    return make_batch(tenant, **{"input_file_id": writer.close().public_id, **fields})
