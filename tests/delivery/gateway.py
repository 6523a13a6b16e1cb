"""An HTTP gateway of the tests: keeps what it was sent, and answers as it is told."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """A request; names of headers are in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float
    """When it came, by a clock that only runs forward."""


@dataclass
class Gateway:
    """A gateway: its URL, its answers, and the requests that came.

    `answers` are statuses, in order; the last again and again.
    """

    url: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    retry_after: str = ""
    came: threading.Condition = field(default_factory=threading.Condition)
    body: bytes = b""
    got: list[Asked] = field(default_factory=list)


@contextmanager
def gateway_running() -> Iterator[Gateway]:
    """Run a gateway on a free port of loopback."""
    one = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with one.came:
                one.got.append(Asked(self.command, self.path, headers, body, time.monotonic()))
                status = one.answers.pop(0) if len(one.answers) > 1 else one.answers[0]
                one.came.notify_all()
            self.send_response(status)
            self.send_header("location", one.url)
            self.send_header("set-cookie", f"kept-{len(one.got)}=it; Path=/")
            if one.retry_after:
                self.send_header("retry-after", one.retry_after)
            self.send_header("content-length", str(len(one.body)))
            self.end_headers()
            self.wfile.write(one.body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.url = f"http://127.0.0.1:{server.server_port}/codes"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
