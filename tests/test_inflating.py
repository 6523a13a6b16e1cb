"""Content comes out of a file as it went in, whatever it was packed with, and never more than a bound."""

import gzip
import io
import lzma
import os
import threading
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.inflating import NotInflated, inflated

PACKERS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "xz": lzma.compress}
PACKED = [name for name in PACKERS if name != "plain"]
CONTENT = b"".join(b"%d;%d\n" % (place, place * place) for place in range(5_000))


def read(data: bytes, size_max: int = len(CONTENT)) -> bytes:
    return inflated(io.BufferedReader(io.BytesIO(data)), size_max).read()


@pytest.mark.parametrize("name", PACKERS)
@given(content=st.binary(max_size=300).filter(lambda content: not content.startswith((b"\xfd7zXZ", b"\x1f\x8b"))))
def test_content_is_what_was_packed(name: str, content: bytes) -> None:
    assert read(PACKERS[name](content)) == content


@pytest.mark.parametrize("name", PACKED)
def test_content_of_several_streams_is_read_through(name: str) -> None:
    assert read(PACKERS[name](CONTENT[:100]) + PACKERS[name](CONTENT[100:])) == CONTENT


@pytest.mark.parametrize("name", PACKERS)
def test_content_is_refused_past_the_bound_and_not_at_it(name: str) -> None:
    data = PACKERS[name](CONTENT)
    assert read(data) == CONTENT
    with pytest.raises(NotInflated, match=f"^more than {len(CONTENT) - 1:,} bytes of content$"):
        read(data, len(CONTENT) - 1)


@pytest.mark.parametrize("name", PACKED)
def test_what_is_cut_anywhere_is_refused(name: str) -> None:
    data = PACKERS[name](CONTENT[:200])
    for size in range(6, len(data)):
        with pytest.raises(NotInflated, match="cut or damaged"):
            read(data[:size])


def test_zeros_between_and_behind_streams_of_xz_are_padding() -> None:
    assert read(lzma.compress(CONTENT[:100]) + bytes(8) + lzma.compress(CONTENT[100:]) + bytes(100_000)) == CONTENT


@pytest.mark.parametrize("name", PACKED)
def test_what_follows_the_last_stream_is_refused(name: str) -> None:
    with pytest.raises(NotInflated, match="cut or damaged"):
        read(PACKERS[name](CONTENT) + b"more")


def asking_for(dictionary: int) -> bytes:
    """A file of xz whose dictionary is 1 << dictionary bytes. Its header begins at 12; a checksum ends it."""
    data = bytearray(lzma.compress(CONTENT))
    header_end = 12 + 4 * (data[12] + 1)
    assert data[14:16] == b"\x21\x01"  # LZMA2, with properties of one byte: the dictionary's size
    data[16] = 2 * (dictionary - 12)
    data[header_end - 4 : header_end] = zlib.crc32(data[12 : header_end - 4]).to_bytes(4, "little")
    return bytes(data)


def test_xz_that_asks_for_much_memory_is_refused() -> None:
    """What `xz -9` makes is read; a few hundred bytes that ask for a GiB are not."""
    assert read(asking_for(26)) == CONTENT
    for dictionary in (27, 30, 31):
        with pytest.raises(NotInflated, match=r"^inflating it takes more than 134,217,728 bytes of memory$"):
            read(asking_for(dictionary))


@pytest.mark.parametrize("name", PACKERS)
def test_content_is_read_from_a_pipe(name: str) -> None:
    """Once, without a place to go back to."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as sink, os.fdopen(reading, "rb") as source:

        def write() -> None:
            sink.write(PACKERS[name](CONTENT))
            sink.close()

        writer = threading.Thread(target=write)
        writer.start()
        assert inflated(source, len(CONTENT)).read() == CONTENT
        writer.join()


@pytest.mark.parametrize("name", PACKED)
def test_no_more_is_inflated_than_the_bound(name: str) -> None:
    """Of a file a thousand times its size: what is kept meanwhile is a fraction of what it holds."""
    data = PACKERS[name](bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(NotInflated):
        read(data, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # 8 MB of it are the dictionary of xz
