"""A gateway of the tests' own: it takes the codes that nodes send, and knows what may never be sent."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.ledger import Violation

KEY = b"the key of a campaign's gateway"
DAY_S = 86_400
SENDS_A_DAY = 5  # R8 and R10, as 5-reliability.md has them
RESEND_DELAYS_S = (60, 120, 300, 600)
STAMP_RESOLUTION_S = 1  # webhook-timestamp is in whole seconds


@dataclass(frozen=True, slots=True)
class Message:
    """A code that was sent, by the node's clock."""

    verification_id: str
    code: str
    sent_at_s: int
    number: int


class Gateway:
    """Listens until it is closed. A code that was sent must have been counted, so codes never come too soon.

    A send that a crash has undone is a send that the limits do not know of: the next one follows too closely.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._of_number: dict[int, list[Message]] = {}
        self._fault = ""
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                body = self.rfile.read(size)
                if len(body) < size:
                    return  # its node was killed within the request: nothing was sent
                gateway._take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def environment(self, directory: Path) -> dict[str, str]:
        """The settings of nodes that send through it."""
        secret = directory / "gateway.key"
        secret.write_bytes(KEY)
        return {
            "NUMCHECK_CODE_DELIVERY": f"http://127.0.0.1:{self._server.server_port}/codes",
            "NUMCHECK_CODE_DELIVERY_SECRET_FILE": str(secret),
        }

    def close(self) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def check(self) -> None:
        """Raise Violation if anything came that may not be sent."""
        if self._fault:
            raise Violation(self._fault)

    def newest(self, number: int) -> Message | None:
        """The last code that was sent to a number."""
        with self._turn:
            sent = self._of_number.get(number)
            return sent[-1] if sent else None

    def _take(self, headers: Mapping[str, str], body: bytes) -> None:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        content: dict[str, Any] = json.loads(body)
        number = int(content["number"])
        message = Message(headers["webhook-id"], content["code"], int(headers["webhook-timestamp"]), number)
        with self._turn:
            if headers["webhook-signature"] != f"v1,{digest}":
                self._fault = "a code came without its signature"
            self._file(self._of_number.setdefault(number, []), message)

    def _file(self, sent: list[Message], message: Message) -> None:
        if any(one.verification_id == message.verification_id for one in sent):
            if not any((one.verification_id, one.code) == (message.verification_id, message.code) for one in sent):
                self._fault = "a code was sent again as another"
            return
        last_day = [one.sent_at_s for one in sent if one.sent_at_s > message.sent_at_s - DAY_S + STAMP_RESOLUTION_S]
        if len(last_day) >= SENDS_A_DAY:
            self._fault = "a code was sent that was not counted: one more than a number may get in a day"
        elif last_day and message.sent_at_s - last_day[-1] < RESEND_DELAYS_S[len(last_day) - 1] - STAMP_RESOLUTION_S:
            self._fault = "a code was sent that was not counted: the next one to its number came too soon"
        sent.append(message)
