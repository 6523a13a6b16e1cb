"""A messenger's receiver of events, for one that keeps no stream: each is posted to it, signed, in order.

The node's settings name it:

    [[webhooks]]
    name = "backend"
    service = "example"
    url = "http://127.0.0.1:8080/numcheck"
    secret_file = "webhook.key"

    .venv/bin/python examples/webhook.py --listen 127.0.0.1:8080 --secret-file webhook.key

Beyond loopback a node posts over TLS only: let a proxy that speaks it stand before this program.
"""

import argparse
import base64
import hmac
import json
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

TOLERANCE_S = 300
SIZE_MAX = 65_536


class Receiver(HTTPServer):
    """Takes events. It remembers how far it has come; a messenger keeps that in its database, with what it did."""

    def __init__(self, address: tuple[str, int], secret: bytes) -> None:
        """Listen, for whoever has the secret."""
        self.secret, self.sequence, self.taken = secret, 0, 0
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """Takes one event."""

    server: Receiver

    def do_POST(self) -> None:
        """Answer 204 once the event is dealt with: until then it comes again, and those behind it wait."""
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(size, SIZE_MAX))
        if not self.is_signed(body):
            self.send_error(HTTPStatus.UNAUTHORIZED)
            return
        self.take(json.loads(body)["data"])
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()
        self.server.taken += 1

    def is_signed(self, body: bytes) -> bool:
        """Return True if the node has signed it, and lately: https://www.standardwebhooks.com."""
        message_id, stamp = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "0")
        if not stamp.isdecimal() or abs(int(stamp) - time.time()) > TOLERANCE_S:
            return False
        digest = hmac.digest(self.server.secret, f"{message_id}.{stamp}.".encode() + body, "sha256")
        right = "v1," + base64.b64encode(digest).decode()
        given = self.headers.get("webhook-signature", "").split()
        return any(hmac.compare_digest(one.encode(), right.encode()) for one in given)

    def take(self, event: dict[str, object]) -> None:
        """Let a user in or keep them out; one that comes again is known by its place."""
        sequence = int(str(event["sequence"]))
        if sequence <= self.server.sequence:
            return
        self.server.sequence = sequence
        does = "lets in" if event["state"] == "VERIFIED" else "keeps out"
        tell("webhook:", does, event["registration_id"], event["kind"], event["state"])

    def log_message(self, *_arguments: object) -> None:
        """Print no line for each request."""


def main() -> None:
    """Receive events."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:8080", help="host:port (default: 127.0.0.1:8080)")
    parser.add_argument("--secret-file", type=Path, required=True, help="the webhook's secret_file")
    parser.add_argument("--count", type=int, default=0, help="end after so many events (default: never)")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    with Receiver((host, int(port)), options.secret_file.read_bytes().strip()) as receiver:
        tell(f"listening on {host}:{receiver.server_port}")
        while not options.count or receiver.taken < options.count:
            receiver.handle_request()


def tell(*words: object) -> None:
    """Print a line, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
