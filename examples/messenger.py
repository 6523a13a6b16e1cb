"""A messenger's side of a registration, from the first entry of a number to the user's leaving.

Against a node that shows its codes on its console:

    NUMCHECK_CODE_DELIVERY=console make run
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
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub

SERVICE = "example"
DEADLINE_S = 10.0
TRIES = 5
WAIT_S = 0.5  # before the second try; twice as long before each after it


def main() -> None:
    """Watch, and meanwhile register a user, give his code back if one is asked for, refresh, and erase."""
    options = read_options()
    with channel_to(options) as channel:
        registrations = RegistrationServiceStub(channel)
        watcher = Watcher(registrations)
        try:
            watcher.start()
            tell_the_story(registrations, options.number, watcher)
        except grpc.RpcError as error:
            sys.exit(f"refused: {reason_of(error)}: {error.details()}")
        finally:
            watcher.stop()


def tell(*words: object) -> None:
    """A line in one piece: the watch speaks from another thread."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def asked(question: str) -> str:
    """What the user types, on the line below the question."""
    tell(question)
    return input().strip()


def read_options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:50051", help="the node (default: 127.0.0.1:50051)")
    parser.add_argument("--number", default="+7 916 055-06-03", help="the user's number, as he types it")
    parser.add_argument("--ca", type=Path, help="TLS: the certificate of the authority that the node's is from")
    parser.add_argument("--cert", type=Path, help="TLS: the messenger's own certificate")
    parser.add_argument("--key", type=Path, help="TLS: its key")
    return parser.parse_args()


def channel_to(options: argparse.Namespace) -> grpc.Channel:
    """A channel over TLS if there is an authority to trust; else in plaintext, which is for loopback."""
    if options.ca is None:
        return grpc.insecure_channel(options.server)
    key, certificate = (None if path is None else path.read_bytes() for path in (options.key, options.cert))
    credentials = grpc.ssl_channel_credentials(options.ca.read_bytes(), key, certificate)
    return grpc.secure_channel(options.server, credentials)


def call(method: Callable[..., Any], request: Any) -> Any:
    """Call with a deadline; what the node cannot do now is asked for again, later and later.

    Only for what may be repeated: Register with a request_id, reads, refreshes and erasures.
    """
    for turn in range(TRIES):
        try:
            return method(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or turn == TRIES - 1:
                raise
            time.sleep(WAIT_S * 2**turn)
    raise AssertionError


class Watcher:
    """Learns who may use the messenger, as it happens: a revoked user is shut out within seconds.

    A messenger keeps `token` in its own database, with what it did for the event: at the next start it misses nothing.
    """

    def __init__(self, registrations: RegistrationServiceStub) -> None:
        self._registrations = registrations
        self.token = ""
        self._stopping = False
        self._began = threading.Event()
        self._erased = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, and return when nothing that happens from now on is missed."""
        self._thread.start()
        self._began.wait(DEADLINE_S)

    def stop(self) -> None:
        """End."""
        self._stopping = True
        if self._call is not None:
            self._call.cancel()

    def wait_for_erasure(self) -> bool:
        """Wait until the watch has told that a user was erased."""
        return self._erased.wait(DEADLINE_S)

    def _run(self) -> None:
        while not self._stopping:
            try:
                request = pb.WatchRegistrationsRequest(service=SERVICE, resume_token=self.token)
                self._call = self._registrations.WatchRegistrations(request)
                for message in self._call:
                    self._take(message)
            except grpc.RpcError as error:
                # A node that ends, a cut connection: go on from the token.
                if not self._stopping and error.code() not in (
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.CANCELLED,
                ):
                    tell("not watching:", reason_of(error))
                    return
                time.sleep(WAIT_S)

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


def tell_the_story(registrations: RegistrationServiceStub, number: str, watcher: Watcher) -> None:
    """Everything that a messenger does with one user."""
    user_id = f"user-{uuid.uuid4()}"
    address = pb.NetworkAddress(address="203.0.113.7", port=50812)
    # The request_id makes it safe to send this again when no answer came: nothing is done twice.
    request = pb.RegisterRequest(
        service=SERVICE,
        request_id=str(uuid.uuid4()),
        user_id=user_id,
        identifier={"login": "ivan"},
        number=number,
        network_address=address,
        registration_data={"name": "Иванов"},
    )
    answer = call(registrations.Register, request)
    tell("registered:", pb.RegistrationState.Name(answer.registration.state))
    complete(registrations, answer.verification)
    # As if the first answer had been lost: the same registration, and its verification as it is now.
    assert call(registrations.Register, request).verification.verification_id == answer.verification.verification_id

    # Once a year at least.
    refresh = pb.RefreshRegistrationRequest(
        service=SERVICE, user_id=user_id, network_address=address, registration_data={"name": "Иванова"}
    )
    refreshed = call(registrations.RefreshRegistration, refresh)
    tell("refreshed:", pb.RegistrationState.Name(refreshed.registration.state), refreshed.verification_problem)
    tell("due:", refreshed.registration.due_at.ToDatetime())

    call(registrations.DeleteRegistration, pb.DeleteRegistrationRequest(service=SERVICE, user_id=user_id))
    assert watcher.wait_for_erasure()
    tell("erased")


def complete(registrations: RegistrationServiceStub, verification: pb.Verification) -> None:
    """Ask the user for his code until it is right or there are no tries left."""
    while verification.state == pb.VERIFICATION_STATE_WAITING and verification.method == pb.VERIFICATION_METHOD_CODE:
        code = asked("the code (empty to go on without):")
        if not code:
            return
        request = pb.CompleteVerificationRequest(
            service=SERVICE, verification_id=verification.verification_id, code=code
        )
        try:
            done = registrations.CompleteVerification(request, timeout=DEADLINE_S)  # each is a try: not repeated
        except grpc.RpcError as error:
            tell("not accepted:", reason_of(error))
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                return
        else:
            tell("verified:", pb.RegistrationState.Name(done.registration.state))
            return


def reason_of(error: grpc.RpcError) -> str:
    """The stable reason of a refusal: what a program may switch on."""
    status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return info.reason
    return error.code().name


if __name__ == "__main__":
    main()
