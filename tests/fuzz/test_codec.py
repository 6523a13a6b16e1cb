"""R4: the kernel reads every body exactly as the official protobuf runtime does, and writes the very same answers.

200,000 bodies in all; `make fuzz` tries 10 million with the sanitizers. NUMCHECK_FUZZ_BODIES sets how many bodies the
seeded loop makes, NUMCHECK_FUZZ_SEED which.
"""

import os
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.bodies import any_body, assembled, canonical, mutated
from tests.fuzz.edges import REFUSED, TAKEN
from tests.fuzz.judge import MALFORMED, by_the_kernel, by_the_runtime, is_read_alike

EDGES = {**TAKEN, **REFUSED}
PARTS = 8
EXAMPLES = max(2_000, settings().max_examples)

chances = st.randoms(use_true_random=False)
often = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def body_count() -> int:
    long = settings.get_current_profile_name() == "long"
    return int(os.environ.get("NUMCHECK_FUZZ_BODIES", "10_000_000" if long else "190_000"))


@pytest.mark.parametrize("name", TAKEN)
def test_body_is_taken_as_the_runtime_takes_it(tables, name):
    assert by_the_runtime(TAKEN[name], 0) != MALFORMED
    assert is_read_alike(TAKEN[name], tables)


@pytest.mark.parametrize("name", REFUSED)
def test_body_is_refused_as_the_runtime_refuses_it(tables, name):
    assert by_the_runtime(REFUSED[name], 0) == MALFORMED
    assert is_read_alike(REFUSED[name], tables)


@pytest.mark.parametrize("name", [name for name, body in EDGES.items() if len(body) < 3_000])
def test_every_beginning_of_a_body_is_read_alike(tables, name):
    body = EDGES[name]
    assert [end for end in range(len(body)) if not is_read_alike(body[:end], tables)] == []


@often
@given(chance=chances)
def test_body_is_read_alike_when_the_runtime_wrote_it(tables, chance):
    body = canonical(chance)
    assert by_the_runtime(body, 2**64 - 1) != MALFORMED
    assert is_read_alike(body, tables)


@often
@given(chance=chances)
def test_body_is_read_alike_when_it_was_put_together_by_hand(tables, chance):
    assert is_read_alike(assembled(chance), tables)


@often
@given(chance=chances, start=st.sampled_from(sorted(TAKEN)))
def test_body_is_read_alike_when_a_sound_one_was_damaged(tables, chance, start):
    assert is_read_alike(mutated(chance, TAKEN[start]), tables)


@often
@given(body=st.binary(max_size=60))
@example(b"\x0b\x0c")
def test_body_is_read_alike_when_it_is_any_bytes(tables, body):
    assert is_read_alike(body, tables)


@settings(max_examples=max(200, EXAMPLES // 20), suppress_health_check=list(HealthCheck))
@given(chance=chances)
def test_every_beginning_is_read_alike_when_the_body_is_any(tables, chance):
    body = any_body(chance)
    assert [end for end in range(len(body)) if not is_read_alike(body[:end], tables)] == []


@pytest.mark.parametrize("part", range(PARTS))
def test_bodies_are_read_alike_when_there_are_very_many(tables, part):
    """A failure names the part's seed and the body: `any_body(random.Random(seed))`, called so many times, gives it."""
    seed = f"{os.environ.get('NUMCHECK_FUZZ_SEED', '1')}:{part}"
    chance = random.Random(seed)
    for count in range(1, body_count() // PARTS + 1):
        body = any_body(chance)
        if not is_read_alike(body, tables):
            pytest.fail(f"seed {seed}, body {count}: {body.hex()}\n{described(body, tables)}")


def described(body: bytes, tables) -> str:
    return "\n".join(
        f"{by_the_kernel(body, table)!r} not {by_the_runtime(body, table.index_version)!r}" for table in tables
    )
