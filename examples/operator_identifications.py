r"""An operator's side of identification: who is identified on its numbers, kept with each number (E.4).

The node tells it of services whose agreement says so:

    numcheck callers agree messenger 1 --identifications
    .venv/bin/python examples/operator_identifications.py --operator 1

Against a node that serves over TLS:

    .venv/bin/python examples/operator_identifications.py --operator 1 --server numcheck.example:50051 \
        --ca ca.pem --cert own.pem --key own.key
"""

import argparse
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from numcheck.client import PushClient, Security
from numcheck.errors import NodeNotReady, NodeUnreachable, PushRefused
from numcheck.v1 import numbering_pb2 as pb

WAIT_S = 0.5  # before the stream is opened again; twice as long each time, up to
WAIT_MAX_S = 30.0
SCHEMA = """
    CREATE TABLE IF NOT EXISTS identified (
        number INTEGER, service TEXT, user_code TEXT, since TEXT, PRIMARY KEY (service, user_code)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS place (token TEXT);
"""


def main() -> None:
    """Follow the identifications, from where the last run of this program ended."""
    options = read_options()
    with closing(sqlite3.connect(options.records)) as records, closing(client_of(options)) as client:
        records.executescript(SCHEMA)
        try:
            follow(client, records, options.operator, options.count)
        except PushRefused as refused:
            sys.exit(f"refused: {refused}")


def read_options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:50051", help="the node (default: 127.0.0.1:50051)")
    parser.add_argument("--operator", type=int, required=True, help="the operator's id, as numcheck status shows it")
    parser.add_argument("--records", type=Path, default=Path("identified.db"), help="the file to keep them in")
    parser.add_argument("--count", type=int, default=0, help="end after so many messages (default: never)")
    parser.add_argument("--ca", type=Path, help="TLS: the certificate of the authority that the node's is from")
    parser.add_argument("--cert", type=Path, help="TLS: the operator's own certificate")
    parser.add_argument("--key", type=Path, help="TLS: its key")
    return parser.parse_args()


def client_of(options: argparse.Namespace) -> PushClient:
    """Return a client over TLS if there is an authority to trust; else in plaintext, which is for loopback."""
    files = (options.ca, options.cert, options.key)
    return PushClient(options.server, Security(*(path and path.read_bytes() for path in files)))


def follow(client: PushClient, records: sqlite3.Connection, operator: int, count: int) -> None:
    """Keep what comes, and go on from there after a break, until there were so many messages."""
    seen, wait_s = 0, WAIT_S
    while True:
        token = next((one for (one,) in records.execute("SELECT token FROM place")), "")
        try:
            for message in client.watch_identifications(operator, token):
                keep(records, message)
                seen, wait_s = seen + 1, WAIT_S
                if seen == count:
                    return
        except (NodeNotReady, NodeUnreachable):
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, WAIT_MAX_S)


def keep(records: sqlite3.Connection, message: pb.WatchIdentificationsResponse) -> None:
    """Write a message down together with its token: one that is told twice is kept once."""
    told = message.identification
    with records:  # one transaction
        if told.ended:
            records.execute(
                "DELETE FROM identified WHERE service = ? AND user_code = ?", (told.service, told.user_code)
            )
        else:
            row = (told.number, told.service, told.user_code, told.event_time.ToJsonString())
            records.execute("REPLACE INTO identified VALUES (?, ?, ?, ?)", row)
        records.execute("DELETE FROM place")
        records.execute("INSERT INTO place VALUES (?)", (message.resume_token,))
    tell("ended:" if told.ended else "identified:", told.number, told.service, told.user_code)


def tell(*words: object) -> None:
    """Print a line, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
