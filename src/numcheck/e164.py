"""Text to number and back. Reads what people write; never decides whether a number is valid: the plan does that.

What is plainly a number is read here in a microsecond; the rest goes to the phonenumbers library, whose metadata is
behind the real plan (it calls 196,000 allotted numbers of code 930 invalid), so nothing of its validity is used.
"""

from numcheck.errors import NotANumber

NUMBER_DIGITS_MAX = 15  # ITU-T E.164 clause 6.2.1
NUMBER_DIGITS_MIN = 7
NUMBER_MAX = 10**NUMBER_DIGITS_MAX - 1  # the library reads up to 20 digits
TEXT_SIZE_MAX = 250

# How a national number is told from an international one without asking a library, by region: calling code, trunk
# prefix, digits of a national number. ITU-T E.129 has the Russian plan.
NATIONAL_FORMS = {"RU": ("7", "8", 10)}

_SEPARATORS = str.maketrans("", "", " ()-.\u00a0\u2010\u2011\u2012\u2013")


def parse(text: str, region: str) -> int:
    """The number that the text writes, international or as one writes it within `region` (ISO 3166, such as RU).

    NotANumber if it cannot be read as a number at all.
    """
    if len(text) > TEXT_SIZE_MAX:
        raise NotANumber(f"the text has {len(text)} characters; a number has at most {TEXT_SIZE_MAX}")
    digits = text.strip().translate(_SEPARATORS)
    number = _try_international(digits) or _try_national(digits, region)
    return number if number is not None else _parse_by_library(text, region)


def format_number(number: int) -> str:
    """The canonical form, with its plus."""
    return f"+{number}"


def masked(number: int) -> str:
    """The number as a log or an error may show it: without its last seven digits."""
    return f"+{number // 10**7}*******"


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _try_international(text: str) -> int | None:
    plain = text[:1] == "+" and text[1:2] != "0" and _is_digits(text[1:])
    if plain and NUMBER_DIGITS_MIN <= len(text) - 1 <= NUMBER_DIGITS_MAX:
        return int(text[1:])
    return None


def _try_national(digits: str, region: str) -> int | None:
    if region not in NATIONAL_FORMS or not _is_digits(digits):
        return None
    calling_code, trunk_prefix, size = NATIONAL_FORMS[region]
    if len(digits) == size:
        return int(calling_code + digits)
    for prefix in (calling_code, trunk_prefix):
        if digits.startswith(prefix) and len(digits) == len(prefix) + size:
            return int(calling_code + digits[len(prefix) :])
    return None


def _parse_by_library(text: str, region: str) -> int:
    import phonenumbers  # noqa: PLC0415 - its metadata takes 60 ms to load, and few texts need it

    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise NotANumber("the text cannot be read as a telephone number") from None
    number = int(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:])
    if number > NUMBER_MAX:
        raise NotANumber(f"the text has more digits than a telephone number, which has at most {NUMBER_DIGITS_MAX}")
    return number
