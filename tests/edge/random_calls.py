"""Calls that somebody might make, sound and not, from a source of chance."""

import gzip
from collections.abc import Callable
from random import Random

from grpc_health.v1 import health_pb2

from numcheck.v1 import check_pb2
from tests.conformance.calls import call_fields, message
from tests.conformance.http2 import Fields, block
from tests.edge.pipeline import Call
from tests.fuzz.bodies import TELLING, any_body, canonical, mutated

CHECK = "/numcheck.v1.CheckService/"
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
BODY_SIZE_MAX = 3_000
LEVEL = 1  # of gzip
UNKNOWN_PATHS = (
    "/", "/x", "/a/b", CHECK, CHECK + "CheckNumber/", CHECK + "checkNumbers", CHECK + "Nothing", "//CheckNumbers",
    "/numcheck.v1.CheckServic/CheckNumbers", "/grpc.health.v1.Health/Checks", "/numcheck.v2.CheckService/CheckNumbers",
)  # fmt: skip
SERVICES = ("", "numcheck.v1.CheckService", "numcheck.v1.Nothing", "x" * 100, "é")

Maker = Callable[[Random], Call]


def body(chance: Random) -> bytes:
    """A body of CheckNumbers, not too long to be one of many."""
    return any_body(chance)[:BODY_SIZE_MAX]


def among(chance: Random, characters: str, size_max: int) -> str:
    return "".join(chance.choices(characters, k=chance.randrange(size_max + 1)))


BEFORE, AFTER = (" ", "", "tel:", "00", "+", "++"), (" ", "", ";ext=5", " ext. 5", "\n")
TEXTS: tuple[Callable[[Random, str], str], ...] = (
    lambda _, digits: f"+{digits}",
    lambda _, digits: f"8{digits[1:]}",
    lambda _, digits: f"+{digits[:1]} ({digits[1:4]}) {digits[4:7]}-{digits[7:]}",
    lambda chance, digits: chance.choice(BEFORE) + digits + chance.choice(AFTER),
    lambda chance, digits: digits[: chance.randrange(len(digits) + 1)],
    lambda _, digits: "".join(chr(ord(digit) - ord("0") + 0xFF10) for digit in digits),  # of full width
    lambda chance, _: among(chance, "0123456789+-() ./ext,*#", 25),
    lambda chance, _: among(chance, "0\u0660\u0416\U0001f600\u200b-%\0", 12),
    lambda chance, _: "7" * chance.choice((0, 1, 15, 16, 249, 250, 251, 1_000)),
)


def text(chance: Random) -> str:
    """A number as people write it, well or badly."""
    return chance.choice(TEXTS)(chance, str(chance.choice(TELLING)))


def number_body(chance: Random) -> bytes:
    """A body of CheckNumber."""
    sound = check_pb2.CheckNumberRequest(number=text(chance)).SerializeToString()
    return sound if chance.random() < 0.8 else mutated(chance, sound)


def health_body(chance: Random) -> bytes:
    sound = health_pb2.HealthCheckRequest(service=chance.choice(SERVICES)).SerializeToString()
    return sound if chance.random() < 0.7 else mutated(chance, sound)


BODIES: dict[str, Callable[[Random], bytes]] = {
    CHECK + "CheckNumbers": body,
    CHECK + "CheckNumber": number_body,
    CHECK + "ListOperators": lambda chance: b"" if chance.random() < 0.5 else body(chance),
    HEALTH_CHECK: health_body,
}
WEIGHTS = (12, 3, 1, 1)


def pieces(chance: Random, whole: bytes) -> tuple[bytes, ...]:
    """The bytes cut into DATA frames; few of them empty, since a listener counts those."""
    way = chance.randrange(4)
    if way == 0:
        return (whole,)
    if way == 1:
        return (*cut(chance, whole, chance.randrange(1, 5)), b"")  # the end comes by itself
    if way == 2 and len(whole) < 60:
        return tuple(whole[i : i + 1] for i in range(len(whole))) or (b"",)
    return cut(chance, whole, chance.randrange(1, 8))


def cut(chance: Random, whole: bytes, count: int) -> tuple[bytes, ...]:
    ends = sorted({chance.randrange(1, len(whole) + 1) for _ in range(count - 1)} if whole else [])
    parts = [whole[start:end] for start, end in zip([0, *ends], [*ends, len(whole)], strict=True)]
    return tuple(part for part in parts if part) or (b"",)


def fields(chance: Random, path: str, *more: tuple[str, str]) -> bytes:
    """The header block, with a few harmless additions."""
    extra: Fields = list(more)
    if chance.random() < 0.1:
        extra.append(("grpc-timeout", chance.choice(("1H", "30S", "99999999m", "60M"))))
    if chance.random() < 0.1:
        extra.append(("x-name", "value" * chance.randrange(20)))
    if chance.random() < 0.1:
        extra.append(("user-agent", "anything/1.0"))
    return block(call_fields(path, *extra))


def framed(chance: Random, one: bytes, encoding: str) -> bytes:
    """A message, compressed or not where the call may have both."""
    if encoding == "gzip" and chance.random() < 0.7:
        return message(gzipped(one), compressed=1)
    return message(one)


def encoding_of(chance: Random) -> str:
    return chance.choice(("", "", "", "identity", "gzip", "gzip"))


def call(chance: Random, kind: str, path: str, encoding: str, whole: bytes) -> Call:
    more = [("grpc-encoding", encoding)] if encoding else []
    return Call(f"{kind} {path}", fields(chance, path, *more), pieces(chance, whole))


def sound_unary(chance: Random) -> Call:
    """One message, whatever is in it."""
    path = chance.choices(tuple(BODIES), WEIGHTS)[0]
    encoding = encoding_of(chance)
    return call(chance, "sound", path, encoding, framed(chance, BODIES[path](chance), encoding))


def sound_stream(chance: Random) -> Call:
    """Messages, and most of them such as do not end it."""
    encoding = encoding_of(chance)
    bodies = [canonical(chance) if chance.random() < 0.8 else body(chance) for _ in range(chance.randrange(7))]
    whole = b"".join(framed(chance, one, encoding) for one in bodies)
    return call(chance, "sound", CHECK + "StreamCheckNumbers", encoding, whole)


def unknown(chance: Random) -> Call:
    return call(chance, "unknown", chance.choice(UNKNOWN_PATHS), "", message(body(chance)))


def unsound(chance: Random) -> Call:
    """The framing of the messages itself is wrong."""
    path = chance.choice((CHECK + "CheckNumbers", CHECK + "CheckNumber", CHECK + "StreamCheckNumbers"))
    kind = chance.choice(tuple(UNSOUND))
    encoding, whole = UNSOUND[kind](chance, canonical(chance))
    return call(chance, kind, path, encoding, whole)


def gzipped(one: bytes) -> bytes:
    return gzip.compress(one, LEVEL, mtime=0)


def damaged_gzip(chance: Random, one: bytes) -> bytes:
    whole = bytearray(gzipped(one))
    whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    return bytes(whole)


UNSOUND: dict[str, Callable[[Random, bytes], tuple[str, bytes]]] = {
    "compressed without an encoding": lambda _, one: ("", message(gzipped(one), compressed=1)),
    "a first byte that is neither": lambda chance, one: ("", message(one, compressed=chance.randrange(2, 256))),
    "less than is announced": lambda chance, one: ("", message(one)[: chance.randrange(1, 5 + len(one))]),
    "no message": lambda _, __: ("", b""),
    "two messages": lambda _, one: ("", message(one) * 2),
    "bytes after the message": lambda chance, one: ("", message(one) + chance.randbytes(chance.randrange(1, 5))),
    "gzip cut": lambda chance, one: ("gzip", message(gzipped(one)[: chance.randrange(20)], compressed=1)),
    "gzip and more": lambda chance, one: ("gzip", message(gzipped(one) + chance.randbytes(3), compressed=1)),
    "gzip twice over": lambda _, one: ("gzip", message(gzipped(one) * 2, compressed=1)),
    "gzip damaged": lambda chance, one: ("gzip", message(damaged_gzip(chance, one), compressed=1)),
}  # fmt: skip

MAKERS: tuple[Maker, ...] = (*[sound_unary] * 12, *[sound_stream] * 2, unknown, *[unsound] * 2)


def any_call(chance: Random) -> Call:
    """A call, sound or not."""
    return chance.choice(MAKERS)(chance)
