"""A file means the same in every encoding that a program saves it in, or it is refused: never are its names garbled."""

import pytest

from numcheck.errors import BadRegistryFile
from numcheck.plan import bundled_source, read_registry

OLDER = ("cp1251", "koi8-r", "cp866", "mac-cyrillic", "iso8859-5")
UNICODE = ("utf-8", "utf-8-sig", "utf-16")
PUBLISHED = {
    "DEF-9kh_2021-03-30.csv": "utf-8",  # no header
    "DEF-9x_2018-10-20_codes-900-955-999.csv": "cp1251",
    "ABC-3x_2018-10-20_codes-301-395.csv": "cp1251",
    "DEF-9xx_2023-07-23.csv": "utf-8-sig",
    "spreadsheet_2023-01-12.csv": "utf-8-sig",
}
QUOTES = str.maketrans({"«": '"', "»": '"'})  # which KOI8-R, cp866 and ISO 8859-5 do not have


def read(data: bytes):
    return read_registry([("f.csv", data)]).plan


@pytest.fixture(scope="module", params=PUBLISHED)
def text(request, published) -> str:
    """A published file, as text that every encoding can hold."""
    return published(request.param).decode(PUBLISHED[request.param]).translate(QUOTES)


def first_rows(text: str) -> str:
    """The first line and the rows of the file's middle: few, as somebody would try."""
    lines = text.splitlines()
    return "\n".join([lines[0], *lines[len(lines) // 2 :][:40]])


@pytest.mark.parametrize("encoding", [*UNICODE, *OLDER])
def test_published_file_is_read_alike_in_every_encoding(text, encoding):
    expected = read(text.encode())
    found = read(text.encode(encoding))
    assert found.ranges == expected.ranges
    assert found.holders == expected.holders


@pytest.mark.parametrize("encoding", OLDER)
@pytest.mark.parametrize("other", OLDER)
def test_names_that_were_read_in_another_encoding_and_saved_are_refused(text, encoding, other):
    if encoding == other:
        return
    garbled = text.encode(encoding).decode(other, "replace").encode()
    with pytest.raises(BadRegistryFile, match=r"f\.csv: the text is garbled"):
        read(garbled)


@pytest.mark.parametrize("other", ["cp1251", "cp1252", "latin-1", "koi8-r", "cp866", "mac-cyrillic"])
def test_utf8_that_was_read_as_another_encoding_and_saved_is_refused(text, other):
    with pytest.raises(BadRegistryFile):
        read(text.encode().decode(other, "replace").encode())


@pytest.mark.parametrize("encoding", OLDER)
def test_few_rows_are_read_alike_or_refused(text, encoding):
    """Which of two encodings some rows are in cannot always be told: these are then refused."""
    rows = first_rows(text)
    try:
        found = read(rows.encode(encoding))
    except BadRegistryFile:
        return
    assert found == read(rows.encode())


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "cp866", "iso8859-5"])
def test_two_rows_are_read_in_the_common_encodings(encoding):
    rows = (
        "АВС/ DEF;От;До;Емкость;Оператор;Регион\n"
        '900;0000000;0061999;62000;ООО "Т2 Мобайл";Краснодарский край\n'
        '900;0062000;0062999;1000;ПАО "МегаФон";Ростовская обл.\n'
    )
    assert read(rows.encode(encoding)) == read(rows.encode())


@pytest.mark.parametrize("second", OLDER[1:])
def test_file_of_two_encodings_is_refused(text, second):
    """As two files that were put together."""
    lines = text.splitlines(keepends=True)
    half = len(lines) // 2
    with pytest.raises(BadRegistryFile):
        read("".join(lines[:half]).encode("cp1251") + "".join(lines[half:]).encode(second))


@pytest.mark.parametrize("encoding", ["koi8-r", "cp866", "iso8859-5"])
def test_file_that_lost_characters_to_its_encoding_is_refused(encoding):
    """« and » are in the newest file; what a program writes in their place is a question mark."""
    text = bundled_source()[1].decode("utf-8-sig")
    with pytest.raises(BadRegistryFile, match="a text that lost characters"):
        read(text.encode(encoding, "replace"))
    assert read(text.translate(QUOTES).encode(encoding)).holders == read(text.translate(QUOTES).encode()).holders
