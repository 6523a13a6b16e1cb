"""The record of a user (I.2b, I.3a, I.4): the checks that it has to pass, and its sealed form."""

import ipaddress
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from numcheck.errors import BadRegistration
from numcheck.names import SERVICE_RULE, is_service
from numcheck.printable import printable
from numcheck.registrations.encoding import decoded, encoded

USER_ID_SIZE_MAX = 256  # bytes
REQUEST_ID_LENGTH_MAX = 128
IDENTIFIER_SIZE_MAX = 4_096  # bytes of names and values
REGISTRATION_DATA_SIZE_MAX = 16_384  # bytes of names and values
ASSERTION_ID_LENGTH_MAX = 256
PORT_MAX = 65_535

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
PLAIN_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


class NetworkAddress(NamedTuple):
    """The address that a user registered from (I.4b); canonical text. Port 0 is one that nobody has kept."""

    address: str
    port: int

    @staticmethod
    def checked(address: str, port: int) -> "NetworkAddress":
        """Return the address in its canonical form; BadRegistration if it is none."""
        if not 0 <= port <= PORT_MAX:
            raise BadRegistration("network_address.port", f"the port is not 0 to {PORT_MAX}")
        if PLAIN_IPV4.fullmatch(address):  # in a fifth of the time, where it is canonical already
            return NetworkAddress(address, port)
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            raise BadRegistration("network_address.address", "the network address is no IP address") from None
        if getattr(parsed, "scope_id", None) is not None:
            raise BadRegistration("network_address.address", "the network address has a zone")
        return NetworkAddress(str(getattr(parsed, "ipv4_mapped", None) or parsed), port)

    @property
    def network(self) -> str:
        """The network that codes are bounded by (R10): the address for IPv4, its /64 for IPv6: who has one has all."""
        if ":" not in self.address:
            return f"{self.address}/32"
        return str(ipaddress.IPv6Network(f"{self.address}/64", strict=False))


@dataclass(frozen=True, slots=True)
class NumberChange:
    """A change of number that is under way: the number that a user wants to have, and from where they asked for it.

    `assertion_id` is that of an assertion that its verification was given; empty if there was none.
    """

    number: int
    network_address: NetworkAddress
    assertion_id: str = ""

    def to_bytes(self) -> bytes:
        """Its form before it is sealed, the same for the same change."""
        return encoded(self)

    @staticmethod
    def from_bytes(plain: bytes) -> "NumberChange":
        """Return the change that `to_bytes` wrote."""
        fields = decoded(plain)
        return NumberChange(**{**fields, "network_address": NetworkAddress(*fields["network_address"])})


class Record(NamedTuple):
    """The personal part of a registration, all of it checked.

    `assertion_id` is the authority's name for the assertion that verified it last, as it leads to the user as well;
    empty if there was none.
    """

    user_id: str
    number: int
    identifier: Mapping[str, str]
    network_address: NetworkAddress
    registration_data: Mapping[str, str]
    assertion_id: str = ""

    def after(self, change: NumberChange) -> "Record":
        """Return the record once a change of number is done."""
        assertion_id = change.assertion_id or self.assertion_id
        return self._replace(number=change.number, network_address=change.network_address, assertion_id=assertion_id)

    def to_bytes(self) -> bytes:
        """Its form before it is sealed, the same for the same record."""
        return record_bytes(*self)

    @staticmethod
    def from_bytes(plain: bytes) -> "Record":
        """Return the record that `to_bytes` wrote."""
        user_id, number, identifier, address, data, assertion_id = decoded(plain)
        return Record(user_id, number, identifier, NetworkAddress(*address), data, assertion_id)


def record_bytes(
    user_id: str,
    number: int,
    identifier: Mapping[str, str],
    network_address: tuple[str, int],
    registration_data: Mapping[str, str],
    assertion_id: str = "",
) -> bytes:
    """Return a record as `to_bytes` does, for who has no use for the record itself: its fields in their order."""
    return encoded((user_id, number, identifier, tuple(network_address), registration_data, assertion_id))


def user_id_of(plain: bytes) -> str:
    """Return the user identifier of the record that `to_bytes` wrote."""
    user_id: str = decoded(plain)[0]
    return user_id


def check_service(service: str) -> str:
    """Return the service's name; BadRegistration if it cannot be one."""
    if not is_service(service):
        raise BadRegistration("service", SERVICE_RULE)
    return service


def check_user_id(user_id: str) -> str:
    """Return the user identifier; BadRegistration if it cannot be one."""
    if not 0 < len(user_id.encode()) <= USER_ID_SIZE_MAX:
        raise BadRegistration("user_id", f"the user_id does not have 1 to {USER_ID_SIZE_MAX} bytes")
    return _written_plainly("user_id", user_id)


def check_request_id(request_id: str, field: str = "request_id") -> str:
    """Return the request's name, empty if it has none; BadRegistration if it is too long. `field` is where it stood."""
    if len(request_id) > REQUEST_ID_LENGTH_MAX:
        raise BadRegistration(field, f"it has more than {REQUEST_ID_LENGTH_MAX} characters")
    return request_id


def check_identifier(identifier: Mapping[str, str]) -> Mapping[str, str]:
    """Return the identifier's criteria; BadRegistration if they are too large, or not written plainly."""
    _written_plainly("identifier", _joined("identifier", identifier, IDENTIFIER_SIZE_MAX))
    return identifier


def check_registration_data(data: Mapping[str, str]) -> Mapping[str, str]:
    """Return the registration data; BadRegistration if there is none (I.4c) or too much of it."""
    if not data:
        raise BadRegistration("registration_data", "there is no registration data")
    _joined("registration_data", data, REGISTRATION_DATA_SIZE_MAX)
    return data


def _written_plainly(name: str, text: str) -> str:
    """Return the text; BadRegistration if something in it makes it look like another where it is shown."""
    if printable(text) != text:
        message = f"the {name} has a control character, a line separator, or a mark that turns the order of writing"
        raise BadRegistration(name, message)
    return text


def normal_assertion_id(assertion_id: str) -> str:
    """Return the form under which an authority's name for an assertion counts once; BadRegistration if it has none.

    NFKC, case folded, trimmed, and then printable ASCII without a space: no two spellings that look alike are two.
    """
    if not 0 < len(assertion_id) <= ASSERTION_ID_LENGTH_MAX:
        message = f"the assertion_id does not have 1 to {ASSERTION_ID_LENGTH_MAX} characters"
        raise BadRegistration("attested_act.assertion_id", message)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", assertion_id).casefold()).strip()
    if not folded or not all("!" <= character <= "~" for character in folded):
        message = "the assertion_id is not printable ASCII without a space"
        raise BadRegistration("attested_act.assertion_id", message)
    return folded


def _joined(name: str, entries: Mapping[str, str], size_max: int) -> str:
    """Return all names and values as one text; BadRegistration if they are larger than that."""
    text = "".join([*entries, *entries.values()])
    if len(text.encode()) > size_max:
        raise BadRegistration(name, f"the {name.replace('_', ' ')} has more than {size_max:,} bytes")
    return text
