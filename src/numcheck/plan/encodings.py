"""Which encoding a registry file is in: the one that makes Russian of it, or none.

The regulator publishes UTF-8 and has published cp1251; whoever re-saves a file may choose any of five more. Any bytes
are some text in each of the older encodings, so a text counts as decoded only if it reads as a registry does: of its
words a share are such as every registry has, and its letters are cased as words are. Two readings that both do, and
differ, are no reading.
"""

import codecs
import re
from collections import Counter
from functools import partial

from numcheck.errors import BadRegistryFile

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
OLDER_ENCODINGS = ("cp1251", "koi8-r", "cp866", "mac-cyrillic", "iso8859-5")
NON_ASCII = bytes(range(0x80, 0x100))
UTF8_CYRILLIC = re.compile(rb"[\xd0\xd1][\x80-\xbf]")

KNOWN_WORDS = frozenset(
    # legal forms and places: in the real files these are four words of ten, in each of them
    "ооо оао пао ао зао фгуп гуп область обл край республика респ москва санкт петербург автономный округ "
    "район город город г и федерация россия российская мобайл телеком связь "
    # headers
    "авс от до емкость оператор оператора регион территория инн код количество провайдер наименование".split()
)
KNOWN_SHARE_MIN = 0.1  # of a text's words; of the wrong readings of the real files fewer than 0.001 are known
JUDGED_LETTERS_MIN = 200  # a valid text in Unicode with fewer is taken as it is: a few names prove nothing
STRANGE_SHARE_MAX = 0.05  # of what is beyond ASCII: no letter or mark of Russian, or a capital behind a small letter

CYRILLIC_WORD = re.compile("[\u0400-\u04ff]+")
STRANGE = re.compile("[^\\x00-\\x7fА-Яа-яЁё«»№–—“”„’…\u00a0]|[а-яё][А-ЯЁ]")
WINDOW_LENGTH = 100_000  # characters that are judged at a time: a file may be two that were put together


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
    texts = {text for text in map(partial(_try_decode, data), OLDER_ENCODINGS) if text and _reads_as_russian(text)}
    if len(texts) != 1:
        raise BadRegistryFile(
            f"{name}: neither UTF-8 nor Russian text in {', '.join(OLDER_ENCODINGS)}; save it as UTF-8"
        )
    return texts.pop()


def _try_decode(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _reads_as_russian(text: str, *, letters_min: int = 1) -> bool:
    """Whether every part of a text that has so many letters beyond ASCII has a registry's words and casing."""
    windows = (text[start : start + WINDOW_LENGTH] for start in range(0, len(text), WINDOW_LENGTH))
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
    """Whether most of the non-ASCII bytes are Cyrillic letters of UTF-8: in cp1251, which names would be read in
    otherwise, these are pairs of Р or С with a sign that Russian does not use there."""
    non_ascii_count = len(data) - len(data.translate(None, delete=NON_ASCII))
    return 2 * len(UTF8_CYRILLIC.findall(data)) > non_ascii_count / 2
