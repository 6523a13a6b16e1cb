"""Question: how long does it take to read a number as people write it, beside the phonenumbers library?

Texts in, numbers out. The peer does another thing with texts that hold more than a number: it drops the rest.
"""

import os
import random

import phonenumbers
import pytest

from benchmarks.population import pin
from numcheck import e164

LINES = int(os.environ.get("NUMCHECK_BENCH_LINES", "1000000"))
SINGLE_LINES = 1_000  # for what is asked one by one
FORMS = (
    *("+{n}", "{n}", "8{s}", "{s}", "8 ({a}) {b}-{c}-{d}", "+7 ({a}) {b}-{c}-{d}", "+7 {a} {b} {c} {d}"),
    *("8-{a}-{b}-{c}-{d}", "'{n}", "\u202d+7\u00a0{a} {b}\u2011{c}\u2011{d}\u202c"),
)


def texts(count: int) -> list[str]:
    """As many numbers, each form as often as every other."""
    rng, made = random.Random(1), []
    for i in range(count):
        n = str(79_000_000_000 + rng.randrange(10**9))
        made.append(FORMS[i % len(FORMS)].format(n=n, s=n[1:], a=n[1:4], b=n[4:7], c=n[7:9], d=n[9:]))
    return made


def by_library(text: str) -> int:
    parsed = phonenumbers.parse(text, "RU")
    return parsed.country_code * 10**10 + parsed.national_number


def measure(benchmark, read, count: int) -> None:
    pin(0)
    benchmark.group = "a number as people write it"
    benchmark(read)
    if benchmark.stats is not None:  # measured, not only tried
        benchmark.extra_info["ns_a_number"] = round(benchmark.stats["median"] / count * 1e9)


def test_lines(benchmark):
    """A file's lines, without the GIL."""
    lines = "".join(f"{text}\n" for text in texts(LINES)).encode()
    assert e164.parse_lines(lines, "RU").tolist()[:SINGLE_LINES] == [by_library(text) for text in texts(SINGLE_LINES)]
    measure(benchmark, lambda: e164.parse_lines(lines, "RU"), LINES)


@pytest.mark.parametrize("read", [lambda text: e164.parse(text, "RU"), by_library], ids=["e164", "phonenumbers"])
def test_one_by_one(benchmark, read):
    some = texts(SINGLE_LINES)
    measure(benchmark, lambda: [read(text) for text in some], SINGLE_LINES)
