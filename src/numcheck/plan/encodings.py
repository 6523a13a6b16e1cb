"""The encoding of a registry file: the one in which it reads as Russian, or none.

The regulator publishes UTF-8 and has published cp1251; a person who re-saves a file may choose any of five more. Any
bytes are some text in each of the older encodings, so a text counts as decoded only if it reads as a registry does: a
share of its words are those of every registry, and its letters are cased as in words. Two different readings that both
pass are no reading.
"""

import codecs
import re
from collections import Counter

from numcheck.errors import BadRegistryFile

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
OLDER_ENCODINGS = ("cp1251", "koi8-r", "cp866", "mac-cyrillic", "iso8859-5")
NON_ASCII = bytes(range(0x80, 0x100))
UTF8_CYRILLIC = re.compile(rb"[\xd0\xd1][\x80-\xbf]")

# Legal forms and places, of which the different texts of each of the real files have a quarter at least; and headers.
KNOWN_WORDS = frozenset(
    (
        *("ооо", "оао", "пао", "ао", "зао", "фгуп", "гуп", "мобайл", "телеком", "связь", "федерация", "российская"),
        *("область", "обл", "край", "республика", "респ", "район", "округ", "автономный", "город", "г", "и"),
        *("москва", "санкт", "петербург", "россия"),
        *("авс", "от", "до", "емкость", "количество", "оператор", "оператора", "наименование", "провайдер"),
        *("регион", "территория", "инн", "код"),
    )
)
KNOWN_SHARE_MIN = 0.1  # of a text's words
JUDGED_LETTERS_MIN = 200  # a valid text in Unicode with fewer is taken as it is: a few names prove nothing
# Of what is beyond ASCII: no letter or mark of Russian, or a capital behind a small letter. In the real files it is at
# most 0.005, read in an encoding that has a tenth of known words but is not theirs at least 0.1.
STRANGE_SHARE_MAX = 0.05

CYRILLIC_WORD = re.compile("[\u0400-\u04ff]+")
STRANGE = re.compile("[^\\x00-\\x7fА-Яа-яЁё«»№–—“”„’…\u00a0]|[а-яё][А-ЯЁ]")
WINDOW_LENGTH = 10_000  # characters that are judged at a time: a file may be two that were put together


def decode(name: str, data: bytes) -> tuple[str, bool]:
    """Return the text of a file, and whether it ends inside a character; BadRegistryFile if nothing makes text of it.

    With a mark of Unicode, or as UTF-8 without one; else in the one older encoding that makes Russian of it.
    """
    bom, encoding = next((known for known in BOMS if data.startswith(known[0])), (b"", "utf-8"))
    try:
        text, ends_inside_character = _decode_as(encoding, data.removeprefix(bom))
    except UnicodeDecodeError as error:
        if bom or _is_damaged_utf8(data):
            line_number = data.count(b"\n", 0, len(bom) + error.start) + 1
            raise BadRegistryFile(f"{name}:{line_number}: a damaged character") from None
        return _decode_older(name, data), False
    if not _reads_as_russian(text, letters_min=JUDGED_LETTERS_MIN):
        raise BadRegistryFile(f"{name}: the text is garbled: it was read in a wrong encoding before it was saved")
    return text, ends_inside_character


def _decode_as(encoding: str, data: bytes) -> tuple[str, bool]:
    decoder = codecs.getincrementaldecoder(encoding)()
    text = decoder.decode(data)
    pending, _ = decoder.getstate()
    return text, bool(pending)


def _decode_older(name: str, data: bytes) -> str:
    # Bytes beyond ASCII are never a delimiter or a line end in these encodings, so cells are told before they are read.
    cells = data.replace(b"\n", b";").split(b";")
    different = b"\n".join(dict.fromkeys(cell for cell in cells if not cell.isascii()))
    readings = {encoding: _try_decode(different, encoding) for encoding in OLDER_ENCODINGS}
    possible = {encoding: text for encoding, text in readings.items() if text and _reads_as_russian(text)}
    if len(set(possible.values())) != 1:
        known = ", ".join(OLDER_ENCODINGS)
        raise BadRegistryFile(f"{name}: neither UTF-8 nor for certain Russian text in one of {known}; save it as UTF-8")
    return data.decode(next(iter(possible)))


def _try_decode(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _reads_as_russian(text: str, *, letters_min: int = 1) -> bool:
    """Return True if every part of a text that has so many letters beyond ASCII has a registry's words and casing.

    Repeated cells are judged once: a file has few different texts.
    """
    cells = text.replace("\n", ";").split(";")
    different = "\n".join(dict.fromkeys(cell for cell in cells if not cell.isascii()))
    windows = (different[start : start + WINDOW_LENGTH] for start in range(0, len(different), WINDOW_LENGTH))
    return all(_is_russian(window, letters_min) for window in windows)


def _is_russian(text: str, letters_min: int) -> bool:
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    if beyond_ascii < letters_min:
        return True
    if len(STRANGE.findall(text)) > STRANGE_SHARE_MAX * beyond_ascii:
        return False
    words = Counter(CYRILLIC_WORD.findall(text.casefold()))
    return sum(words[word] for word in KNOWN_WORDS) >= KNOWN_SHARE_MIN * words.total()


def _is_damaged_utf8(data: bytes) -> bool:
    """Return True if most of the non-ASCII bytes are Cyrillic letters of UTF-8: in cp1251, which names would be read in
    otherwise, these are pairs of Р or С with a sign that Russian does not use there."""
    non_ascii_count = len(data) - len(data.translate(None, delete=NON_ASCII))
    return 2 * len(UTF8_CYRILLIC.findall(data)) > non_ascii_count / 2
