"""Text to number and back. Reads what people write; never decides whether a number is valid: the plan does that.

`_e164` has the grammar and reads all that is international, and what regions of NATIONAL_FORMS write at home. For other
regions the phonenumbers library tells how their national numbers begin; its metadata is behind the real plan (it calls
196,000 allotted numbers of code 930 invalid), so nothing of its validity is used.
"""

from array import array
from functools import lru_cache, partial
from typing import NamedTuple

from numcheck.errors import BadConfiguration, NotANumber

try:
    from numcheck._e164 import Reader
except ImportError:  # the client's own distribution has nothing compiled
    from numcheck.pure_e164 import Reader  # type: ignore[assignment]


class NationalForm(NamedTuple):
    """A country's national way of writing numbers."""

    calling_code: str
    trunk_prefix: str
    international_prefix: str
    size: int
    """Digits of a national number."""


# Russia and Kazakhstan share one plan, which ITU-T E.129 has: 8, and 8 10 to other countries.
NATIONAL_FORMS = dict.fromkeys(("RU", "KZ"), NationalForm("7", "8", "810", 10))


@lru_cache
def reader(region: str) -> Reader:
    """Return what reads numbers as one writes them within the region (ISO 3166, such as RU)."""
    return Reader(NATIONAL_FORMS.get(region), partial(_parse_by_library, region))


def parse(text: str, region: str) -> int:
    """Return the number that the text writes, international or as one writes it within the region.

    NotANumber if a single character of it is not understood.
    """
    return reader(region).read(text)


def parse_lines(lines: bytes, region: str) -> "array[int]":
    """Return what `parse` makes of each line, in an array of type Q; 0 where it refuses, or where that is not UTF-8.

    A line ends with its line feed, which the last may lack. No GIL is held.
    """
    return reader(region).read_lines(lines)


def format_number(number: int) -> str:
    """Return the canonical form, with its plus."""
    return f"+{number}"


def _parse_by_library(region: str, digits: str) -> int:
    """Return the number that the digits are in a region whose form is not known here.

    The library may put the calling code in the place of the region's trunk prefix or of nothing, and change no more.
    """
    try:
        import phonenumbers  # noqa: PLC0415 - its metadata takes 60 ms to load, and few installations need it
    except ModuleNotFoundError:
        raise BadConfiguration(
            f"a library reads the national numbers of {region}: pip install 'numcheck-client[regions]'"
        ) from None

    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    try:
        parsed = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        metadata = None
    if metadata is None:
        raise NotANumber("the text has no plus, and is no number of the region")
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:]
    calling_code = str(metadata.country_code)
    prefixes = {"", calling_code, metadata.national_prefix or ""}
    if not any(number == calling_code + digits.removeprefix(prefix) for prefix in prefixes):
        raise NotANumber("the text has no plus, and is no number of the region")
    return int(number)
