"""A messenger's side of a registration, from the first entry of a number to the user's leaving.

Against a node that shows its codes on its console:

    NUMCHECK_CODE_DELIVERY=console make run
    .venv/bin/python examples/messenger.py
"""

import argparse
import sys
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub

SERVICE = "example"


def main() -> None:
    """Register a user, give his code back if one is asked for, refresh, and erase."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:50051", help="the node (default: 127.0.0.1:50051)")
    parser.add_argument("--number", default="+7 916 055-06-03", help="the user's number, as he types it")
    options = parser.parse_args()
    with grpc.insecure_channel(options.server) as channel:
        try:
            tell_the_story(RegistrationServiceStub(channel), options.number)
        except grpc.RpcError as error:
            sys.exit(f"refused: {reason_of(error)}: {error.details()}")


def tell_the_story(registrations: RegistrationServiceStub, number: str) -> None:
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
    answer = registrations.Register(request)
    print("registered:", pb.RegistrationState.Name(answer.registration.state))
    complete(registrations, answer.verification)
    assert registrations.Register(request).registration.user_id == user_id

    # Once a year at least.
    refreshed = registrations.RefreshRegistration(
        pb.RefreshRegistrationRequest(
            service=SERVICE, user_id=user_id, network_address=address, registration_data={"name": "Иванова"}
        )
    )
    print("refreshed:", pb.RegistrationState.Name(refreshed.registration.state), refreshed.verification_problem)
    print("due:", refreshed.registration.due_at.ToDatetime())

    registrations.DeleteRegistration(pb.DeleteRegistrationRequest(service=SERVICE, user_id=user_id))
    print("erased")


def complete(registrations: RegistrationServiceStub, verification: pb.Verification) -> None:
    """Ask the user for his code until it is right or there are no tries left."""
    while verification.state == pb.VERIFICATION_STATE_WAITING and verification.method == pb.VERIFICATION_METHOD_CODE:
        code = input("the code (empty to go on without): ").strip()
        if not code:
            return
        try:
            done = registrations.CompleteVerification(
                pb.CompleteVerificationRequest(service=SERVICE, verification_id=verification.verification_id, code=code)
            )
        except grpc.RpcError as error:
            print("not accepted:", reason_of(error))
        else:
            print("verified:", pb.RegistrationState.Name(done.registration.state))
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
