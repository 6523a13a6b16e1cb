"""A table made of damaged parts is refused, or stays within them: what it then answers is one of its classes.

`make fuzz` runs this with the address sanitizer, which ends the process at the first byte read outside of a part.
"""

import random
from dataclasses import replace

import pytest

from numcheck.errors import IndexDamaged
from numcheck.v1.check_pb2 import CheckNumbersRequest, CheckNumbersResponse
from tests.fuzz.bodies import flip
from tests.fuzz.bodies import replace as put
from tests.kernel.parts import CLASS, EXCEPTIONS, FIRST, PAGE, RUN_LIST, Parts

SOUND = Parts()
PLACES = sorted({*EXCEPTIONS, *[first for first, _ in RUN_LIST], *range(0, PAGE, 97)})
NUMBERS = [FIRST + page * PAGE + place for page in range(4) for place in PLACES]
BODY = CheckNumbersRequest(numbers=NUMBERS).SerializeToString()
TRIES = 5_000


def possible_answers(parts: Parts) -> set[tuple[int, int]]:
    rows = CLASS.iter_unpack(parts.classes)
    return {(status, operator_id) for operator_id, *statuses, _, _ in rows for status in statuses}


def damaged(chance: random.Random, part: bytes) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 5))):
        part = chance.choice((flip, put))(chance, part)
    return part


def is_refused_or_sound(parts: Parts) -> bool:
    try:
        table = parts.table()
    except IndexDamaged:
        return True
    response = CheckNumbersResponse.FromString(table.check_numbers(BODY, numbers_per_call_max=len(NUMBERS)))
    batch = list(zip(response.statuses, response.operator_ids, strict=True))
    return set(batch) <= possible_answers(SOUND) and batch == [table.check(number) for number in NUMBERS]


@pytest.mark.parametrize("seed", range(2))
def test_table_is_refused_or_sound_when_its_directory_is_damaged(seed):
    chance = random.Random(seed)
    for _ in range(TRIES):
        assert is_refused_or_sound(replace(SOUND, directory=damaged(chance, SOUND.directory)))


@pytest.mark.parametrize("seed", range(2))
def test_table_is_refused_or_sound_when_its_pages_are_damaged(seed):
    chance = random.Random(seed)
    for _ in range(TRIES):
        assert is_refused_or_sound(replace(SOUND, extents=[damaged(chance, SOUND.extents[0])]))


def test_table_is_refused_or_sound_when_its_pages_are_cut():
    pages = SOUND.extents[0]
    assert [end for end in range(len(pages)) if not is_refused_or_sound(replace(SOUND, extents=[pages[:end]]))] == []
