"""Codes that are sent: whether one more may be (R8, R10), and the record of those that were.

Invariant: a code is counted in the transaction that makes it, before it is sent.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from numcheck.moments import microseconds, moment
from numcheck.registrations import codes
from numcheck.registrations.record import NetworkAddress
from numcheck.registrations.vault import Vault
from numcheck.store import RegistrationWork, SendRow


class Code(NamedTuple):
    """A code as its limits see it: of which service, to which user and number, asked for from where, and whether the
    user has proved that the number is theirs: then what others were sent counts for nothing."""

    service: str
    user_id: str
    number: int
    network_address: NetworkAddress
    is_holder: bool = False


class CodeSends:
    """The codes of an installation, held to the bounds of each service."""

    def __init__(self, vault: Vault, code_policy_for: Callable[[str], codes.CodePolicy]) -> None:
        self._vault, self._code_policy_for = vault, code_policy_for

    def check(self, work: RegistrationWork, code: Code, now: datetime) -> None:
        """Raise TooManyCodes if the code would be one too many."""
        vault, service, bounds = self._vault, code.service, self._code_policy_for(code.service)
        since_us, number_tags = microseconds(now - codes.DAY), vault.number_tags(code.number)
        alike, to_user = self._alike(work, code, now)

        def full(nth: int, **wanted: str | list[bytes]) -> datetime | None:
            return _try_moment(work.sends.nth(nth, since_us=since_us, **wanted))

        def full_number(nth: int, **wanted: str | list[bytes]) -> datetime | None:
            return None if code.is_holder else full(nth, number_tag=number_tags, **wanted)

        sends = codes.Sends(
            alike=alike,
            to_user=to_user,
            full_number=full_number(bounds.number_max),
            full_number_of_service=full_number(bounds.number_of_service_max, service=service),
            full_block=full(bounds.block_max, service=service, block_tag=vault.block_tags(code.number)),
            full_network=full(
                bounds.network_max, service=service, network_tag=vault.network_tags(code.network_address)
            ),
            full_rate=_try_moment(
                work.sends.nth(bounds.rate_max, since_us=microseconds(now - codes.RATE_WINDOW), service=service)
            ),
            outcomes=work.sends.outcomes(
                service, before_us=microseconds(now - codes.BREAKER_GRACE), count_max=codes.BREAKER_CODES
            ),
            newest_of_service=_try_moment(work.sends.newest(service)),
        )
        codes.check_send(sends, now)

    def record(self, work: RegistrationWork, code: Code, verification_id: bytes, now: datetime) -> int:
        """Count the code as sent, whatever becomes of it; return the moment from which on another may be."""
        vault = self._vault
        work.sends.insert(
            SendRow(
                verification_id=verification_id,
                at_us=microseconds(now),
                service=code.service,
                number_tag=vault.number_tags(code.number)[0],
                user_tag=vault.user_tags(code.service, code.user_id)[0],
                block_tag=vault.block_tags(code.number)[0],
                network_tag=vault.network_tags(code.network_address)[0],
            )
        )
        return microseconds(codes.next_code_at(self._alike(work, code, now)[0]) or now)

    def _alike(self, work: RegistrationWork, code: Code, now: datetime) -> tuple[list[datetime], bool]:
        """Return when codes of the service were sent to the number in the day before for this user, or from their
        network unless they are its holder; and whether any was for the user."""
        vault, since_us = self._vault, microseconds(now - codes.DAY)
        sent = work.sends.to_number(code.service, vault.number_tags(code.number), since_us=since_us)
        users = vault.user_tags(code.service, code.user_id)
        networks = [] if code.is_holder else vault.network_tags(code.network_address)
        alike = [moment(one.at_us) for one in sent if one.user_tag in users or one.network_tag in networks]
        return alike, any(one.user_tag in users for one in sent)


def _try_moment(at_us: int | None) -> datetime | None:
    return None if at_us is None else moment(at_us)
