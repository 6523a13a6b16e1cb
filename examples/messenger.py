"""A messenger's side of registrations: users whom it had before, and one from their first entry to their leaving.

Against a node that shows its codes on its console:

    make run
    .venv/bin/python examples/messenger.py

Against one that serves over TLS:

    .venv/bin/python examples/messenger.py --server numcheck.example:50051 --ca ca.pem --cert own.pem --key own.key
"""

import argparse
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from numcheck.client import RegistrationClient, Security
from numcheck.errors import NodeNotReady, NodeUnreachable, RegistrationRefused
from numcheck.v1 import registration_pb2 as pb

SERVICE = "example"
DEADLINE_S = 10.0
TRIES = 5
WAIT_S = 0.5  # before the second try; twice as long before each after it

T = TypeVar("T")


def main() -> None:
    """Bring in a user; then watch, register another, give their codes back, change the number, refresh, and erase."""
    options = read_options()
    watcher = Watcher(client_of(options))
    with client_of(options) as registrations:
        try:
            bring_in(registrations, options.known_number)
            watcher.start()
            tell_the_story(registrations, options.number, options.new_number, watcher)
        except (RegistrationRefused, NodeNotReady, NodeUnreachable) as error:
            sys.exit(f"refused: {error}")
        except (EOFError, KeyboardInterrupt):
            sys.exit("ended before the story was")
        finally:
            watcher.stop()


def tell(*words: object) -> None:
    """Print a line in one piece: the watch speaks from another thread."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def asked(question: str) -> str:
    """Return what the user types, on the line below the question."""
    tell(question)
    return input().strip()


def read_options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:50051", help="the node (default: 127.0.0.1:50051)")
    parser.add_argument("--number", default="+7 916 055-06-03", help="the user's number, as they type it")
    parser.add_argument("--new-number", default="+7 985 959-00-04", help="the number that the user changes to")
    parser.add_argument("--known-number", default="+7 985 959-00-03", help="of a user that there was before")
    parser.add_argument("--ca", type=Path, help="TLS: the certificate of the authority that the node's is from")
    parser.add_argument("--cert", type=Path, help="TLS: the messenger's own certificate")
    parser.add_argument("--key", type=Path, help="TLS: its key")
    return parser.parse_args()


def client_of(options: argparse.Namespace) -> RegistrationClient:
    """Return a client over TLS if there is an authority to trust; else in plaintext, which is for loopback."""
    files = (options.ca, options.cert, options.key)
    return RegistrationClient(options.server, SERVICE, Security(*(path and path.read_bytes() for path in files)))


def call(method: Callable[[], T]) -> T:
    """Call; what the node cannot do now is asked for again, later and later.

    Only for what may be repeated: Register with a request_id, reads, refreshes and erasures.
    """
    for turn in range(TRIES - 1):
        try:
            return method()
        except (NodeNotReady, NodeUnreachable):
            time.sleep(WAIT_S * 2**turn)
    return method()


class Watcher:
    """Learns who may use the messenger, as it happens: a revoked user is shut out within seconds.

    A messenger keeps `token` in its own database, with what it did for the event: at the next start it misses nothing.
    """

    def __init__(self, registrations: RegistrationClient) -> None:
        """Watch over a client of its own, which is closed to end."""
        self._registrations = registrations
        self.token = ""
        self._stopping = False
        self._began = threading.Event()
        self._erased = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, and return when nothing that happens from now on is missed."""
        self._thread.start()
        self._began.wait(DEADLINE_S)

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._registrations.close()

    def wait_for_erasure(self) -> bool:
        """Wait until the watch has told that a user was erased."""
        return self._erased.wait(DEADLINE_S)

    def _run(self) -> None:
        while not self._stopping:
            try:
                for message in self._registrations.watch(self.token):
                    self._take(message)
            except (NodeNotReady, NodeUnreachable):
                time.sleep(WAIT_S)  # a node that ends, a cut connection: go on from the token
            except RegistrationRefused as refused:
                tell("not watching:", refused.refusal)
                return
            except ValueError:
                return  # the client is closed

    def _take(self, message: pb.WatchRegistrationsResponse) -> None:
        event = message.event
        if event.state == pb.REGISTRATION_STATE_VERIFIED:
            tell("watch: lets in", event.registration_id)
        elif event.registration_id:
            tell("watch: keeps out", event.registration_id, pb.RegistrationState.Name(event.state))
        if event.state == pb.REGISTRATION_STATE_DELETED:
            self._erased.set()
        self.token = message.resume_token  # last: what was not done for an event is told again
        self._began.set()


def bring_in(registrations: RegistrationClient, number: str) -> None:
    """Import the users that there are, here one, with the moments that are known of them; erase them again."""
    now = datetime.now(UTC)
    user = pb.ImportedRegistration(
        user_id=f"user-{uuid.uuid4()}",
        number=number,
        network_address=pb.NetworkAddress(address="203.0.113.9"),
        registration_data={"name": "Петров"},
        registered_at=now - timedelta(days=400),
        refreshed_at=now - timedelta(days=30),
        possession_proved_at=now - timedelta(days=30),  # the last code that came back
    )
    rows = [user]
    # The name makes it safe to run again, from wherever it came to.
    answers = list(registrations.import_registrations(f"users-{uuid.uuid4()}", lambda first: iter(rows[first:])))
    tell("imported:", answers[-1].made_count, "refused:", answers[-1].refused_count)
    imported = call(lambda: registrations.get(user.user_id))
    tell("known before:", pb.RegistrationState.Name(imported.state), *evidence_of(imported))
    call(lambda: registrations.delete(user.user_id))


def evidence_of(registration: pb.Registration) -> list[str]:
    """Return the steps that confirmed a number: what the user proved, and its operator's word."""
    return [
        pb.VerificationMethod.Name(one.method).removeprefix("VERIFICATION_METHOD_") for one in registration.evidence
    ]


def tell_the_story(registrations: RegistrationClient, number: str, new_number: str, watcher: Watcher) -> None:
    """Everything that a messenger does with one user."""
    user_id = f"user-{uuid.uuid4()}"
    address = pb.NetworkAddress(address="203.0.113.7", port=50812)
    # The request_id makes it safe to send this again when no answer came: nothing is done twice.
    request = pb.RegisterRequest(
        request_id=str(uuid.uuid4()),
        user_id=user_id,
        identifier={"login": "ivan"},
        number=number,
        network_address=address,
        registration_data={"name": "Иванов"},
        language="ru",
    )
    answer = call(lambda: registrations.register(request))
    tell("registered:", pb.RegistrationState.Name(answer.registration.state))
    complete(registrations, answer.verification)
    # As if the first answer had been lost: the same registration, and its verification as it is now.
    again = call(lambda: registrations.register(request))
    assert again.verification.verification_id == answer.verification.verification_id

    # Another number: the one of before stands until the new one is verified as that was.
    change = pb.ChangeNumberRequest(
        request_id=str(uuid.uuid4()), user_id=user_id, number=new_number, network_address=address, language="ru"
    )
    changing = call(lambda: registrations.change_number(change))
    tell("changes the number:", pb.RegistrationState.Name(changing.registration.state), changing.verification_problem)
    complete(registrations, changing.verification)
    moved = call(lambda: registrations.get(user_id)).number != answer.registration.number
    tell("has the new number:", "yes" if moved else "no")

    # Once a year at least.
    refresh = pb.RefreshRegistrationRequest(
        user_id=user_id, network_address=address, registration_data={"name": "Иванова"}
    )
    refreshed = call(lambda: registrations.refresh(refresh))
    tell("refreshed:", pb.RegistrationState.Name(refreshed.registration.state), refreshed.verification_problem)
    tell("due:", refreshed.registration.due_at.ToDatetime())

    call(lambda: registrations.delete(user_id))
    assert watcher.wait_for_erasure()
    tell("erased")


def complete(registrations: RegistrationClient, verification: pb.Verification) -> None:
    """Ask the user for their code until it is right or there are no tries left."""
    while verification.state == pb.VERIFICATION_STATE_WAITING and verification.method == pb.VERIFICATION_METHOD_CODE:
        code = asked("the code (empty to go on without):")
        if not code:
            return
        try:
            done = registrations.complete_verification(verification.verification_id, code)  # a try: not repeated
        except RegistrationRefused as refused:
            tell("not accepted:", refused.refusal)
            if refused.refusal != "PROOF_NOT_ACCEPTED":
                return
        else:
            tell("verified:", pb.RegistrationState.Name(done.state), *evidence_of(done))
            return


if __name__ == "__main__":
    main()
