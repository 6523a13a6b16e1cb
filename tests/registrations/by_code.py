"""What the tests of codes share: asking for one, and giving it back."""

from numcheck.errors import ProofNotAccepted
from numcheck.registrations.proofs import CodeProof
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.registration import Outcome
from tests.registrations.world import ADDRESS, SERVICE, World, small

BY_CODE = {"methods": "code"}
NUMBER = small.UNKNOWN


def record_of(user_id: str, number: int = NUMBER, network_address: NetworkAddress = ADDRESS) -> Record:
    return Record(user_id, number, {}, network_address, {"a": "b"})


def start(world: World, user_id: str = "u1", service: str = SERVICE, **wanted: object) -> Outcome:
    fields = {"method": None, "network_address": None, **wanted}
    return world.registrar.verify(service, user_id, **fields)  # type: ignore[arg-type]


def complete(world: World, outcome: Outcome, code: str, service: str = SERVICE) -> bool:
    assert outcome.verification is not None
    try:
        world.completion.complete(service, outcome.verification.verification_id, CodeProof(code))
    except ProofNotAccepted:
        return False
    return True


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def last_code(world: World) -> str:
    assert world.courier is not None
    return world.courier.sent[-1][1]
