"""Codes that are sent: whether one more may be (R8, R10), and the record of those that were.

Invariant: a code is counted in the transaction that makes it, before it is sent.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from numcheck.moments import microseconds, moment
from numcheck.registrations import codes
from numcheck.registrations.codes import Limit
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.vault import Vault
from numcheck.store import Asked, CodeTags, RegistrationWork, SendRow


class Permitted(NamedTuple):
    """A code that may be sent: the columns of its row, and the moment from which on the user may be sent another."""

    service: str
    number_tag: bytes
    user_tag: bytes
    block_tag: bytes
    network_tag: bytes
    next_code_at_us: int


class CodeSends:
    """The codes of an installation, held to the bounds of each service."""

    def __init__(self, vault: Vault, code_policy_for: Callable[[str], codes.CodePolicy]) -> None:
        self._vault, self._code_policy_for = vault, code_policy_for

    def tags(self, service: str, record: Record, asked: NetworkAddress, now: datetime) -> CodeTags:
        """Return a code to the user of a record, who asks from an address, as its limits see it."""
        vault, since_us = self._vault, min(_since_us(now).values())
        numbers, blocks = vault.number_tags(record.number), vault.block_tags(record.number)
        users, networks = vault.user_tags(service, record.user_id), vault.network_tags(asked)
        return CodeTags(service, since_us, numbers, blocks, networks, users)

    def permitted(self, work: RegistrationWork, code: CodeTags, now: datetime, *, is_holder: bool) -> Permitted:
        """Return the code as one that may be sent; TooManyCodes if it would be one too many.

        `is_holder`: the user has proved that the number is theirs; then what others were sent counts for nothing.
        """
        service, _, numbers, blocks, networks, users = code
        sends, bounds, since = work.sends, self._code_policy_for(service), _since_us(now)
        sent = sends.to_number(numbers, since_us=since[Limit.NUMBER_TOTAL])
        own = [one for one in sent if one.service == service and one.at_us > since[Limit.NUMBER]]
        alike = [
            moment(one.at_us) for one in own if one.user_tag in users or (one.network_tag in networks and not is_holder)
        ]
        outcomes = sends.outcomes(
            service, before_us=microseconds(now - codes.BREAKER_GRACE), count_max=codes.BREAKER_CODES
        )
        rate_since_us = microseconds(now - codes.RATE_WINDOW)
        codes.check_send(
            codes.Sends(
                alike=alike,
                to_user=any(one.user_tag in users for one in own),
                full_number=None if is_holder else _nth(sent, bounds.number_max),
                full_number_of_service=_nth(
                    own, bounds.number_of_holders_max if is_holder else bounds.number_of_service_max
                ),
                full_block=_try_moment(sends.nth(bounds.block_max, service, since[Limit.BLOCK], "block_tag", blocks)),
                full_network=_try_moment(
                    sends.nth(bounds.network_max, service, since[Limit.NETWORK], "network_tag", networks)
                ),
                full_rate=_try_moment(sends.nth(bounds.rate_max, service, rate_since_us)),
                outcomes=outcomes,
                newest_of_service=_try_moment(sends.newest(service)) if codes.breaker_open(outcomes) else None,
            ),
            now,
        )
        next_us = microseconds(codes.next_code_at([*alike, now]) or now)
        return Permitted(service, numbers[0], users[0], blocks[0], networks[0], next_us)

    @staticmethod
    def record(work: RegistrationWork, permitted: Permitted, verification_id: bytes, now: datetime) -> None:
        """Count the code as sent, whatever becomes of it."""
        service, number_tag, user_tag, block_tag, network_tag, _ = permitted
        row = SendRow(verification_id, microseconds(now), service, number_tag, user_tag, block_tag, network_tag)
        work.sends.insert(row)


def _since_us(now: datetime) -> dict[Limit, int]:
    """Return since when codes count for each limit of a day."""
    return {one: microseconds(codes.counted_since(one, now)) for one in codes.OF_A_DAY}


def _nth(sent: Sequence[Asked], nth: int) -> datetime | None:
    """Return when the n-th newest of some codes, which ascend, was sent; None: there are fewer."""
    return moment(sent[-nth].at_us) if len(sent) >= nth else None


def _try_moment(at_us: int | None) -> datetime | None:
    return None if at_us is None else moment(at_us)
