"""An engine that has nothing but a metric page, and misbehaves when told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["PageHandler"], None]


def vllm_page(running: int = 0, waiting: int = 0, work: int = 0, started_s: float = 1.7e9) -> str:
    return (
        f"process_start_time_seconds {started_s}\n"
        f'vllm:num_requests_running{{engine="0",model_name="tiny"}} {running}\n'
        f'vllm:num_requests_waiting{{engine="0",model_name="tiny"}} {waiting}\n'
        f'vllm:kv_cache_usage_perc{{engine="0",model_name="tiny"}} 0.1\n'
        f'vllm:generation_tokens_total{{engine="0",model_name="tiny"}} {work}\n'
    )


class PageHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        engine: PageEngine = self.server.engine
        engine.requests.append((self.client_address[1], self.path, dict(self.headers)))
        engine.answer(self)

    def say(self, body: str | bytes, status: int = 200, **headers: str) -> None:
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Say nothing: pytest shows what matters."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_) -> None:
        """A client that hung up is what some tests are about."""


class PageEngine:
    """Set ``page``, or ``answer`` for anything else; ``requests`` has (client port, path, headers)."""

    def __init__(self, server: _Server, scheme: str) -> None:
        self._server = server
        self._scheme = scheme
        self.page = vllm_page()
        self.answer: Answer = lambda handler: handler.say(self.page)
        self.requests: list[tuple[int, str, dict[str, str]]] = []
        self.released = threading.Event()  # hung answers end when the test does

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"


@contextmanager
def page_engine(tls: ssl.SSLContext | None = None) -> Iterator[PageEngine]:
    server = _Server(("127.0.0.1", 0), PageHandler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.engine = engine = PageEngine(server, "https" if tls else "http")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
