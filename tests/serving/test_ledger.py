"""The fate of codes, by receipts and by their coming back; bounded, by a clock of the test's."""

import pytest

from numcheck.delivery.receipts import ids_of, plain_id
from numcheck.delivery.shares import SAMPLES, Share
from numcheck.serving import ledger as ledgers
from numcheck.serving.ledger import JUDGED_AFTER_S, KEPT_S, Ledger


class World:
    """A ledger, a share, and the time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ledger = Ledger(lambda: self.now_s)
        self.share = Share(lambda: self.now_s, lambda: 20)

    def expect(self, *message_ids: str, courier: str = "a", operator: str = "3") -> None:
        for message_id in message_ids:
            self.ledger.expect(message_id, courier, operator, self.share, self.share.stretch)

    def receipt(self, reference: str, outcome: str = "delivered", courier: str = "a") -> None:
        self.ledger.take_receipt(courier, ids_of(reference), outcome)

    def judge(self, **came_back: bool) -> None:
        self.ledger.judge(self.ledger.due(), came_back)


@pytest.fixture
def world() -> World:
    return World()


def test_a_code_is_judged_once_when_its_life_is_over(world: World) -> None:
    world.expect("m1", "m2", "m3")
    world.now_s = JUDGED_AFTER_S - 0.001
    assert world.ledger.due() == []
    world.now_s = JUDGED_AFTER_S
    assert world.ledger.due() == ["m1", "m2", "m3"]
    world.judge(m1=True, m2=False)  # of m3 nobody knows anything
    assert world.ledger.due() == []
    world.judge(m1=False, m3=False)
    assert world.ledger.judged == {("a", "3", "returned"): 1, ("a", "3", "lost"): 1}
    assert world.share.last == (2, 1)


def test_a_receipt_that_says_it_failed_judges_at_once(world: World) -> None:
    """A receipt that it was delivered does not: what counts is that the user gives the code back."""
    world.expect("m1", "m2")
    world.receipt("m1", "failed")
    world.receipt("m2", "delivered")
    assert world.ledger.judged == {("a", "3", "lost"): 1}
    world.now_s = JUDGED_AFTER_S
    assert world.ledger.due() == ["m2"]
    world.judge(m1=True, m2=True)
    assert world.ledger.judged == {("a", "3", "lost"): 1, ("a", "3", "returned"): 1}


def test_of_a_message_the_first_final_receipt_counts(world: World) -> None:
    world.expect("m1")
    for outcome in ("open", "open", "delivered", "failed", "delivered"):
        world.receipt("m1", outcome)
    assert world.ledger.receipts == {("a", "3", "open"): 2, ("a", "3", "delivered"): 1}
    assert world.ledger.judged == {}


def test_receipts_of_what_is_not_known_are_counted_without_an_operator(world: World) -> None:
    """Another courier's message is not known to this one."""
    world.expect("m1", courier="b")
    world.receipt("m1")
    world.receipt("m9", "failed")
    assert world.ledger.receipts == {("a", "", "delivered"): 1, ("a", "", "failed"): 1}


def test_a_code_that_was_not_taken_is_nobodys(world: World) -> None:
    """It goes to the next courier under the same name."""
    world.expect("m1")
    world.ledger.withdraw("m1", "a")
    world.expect("m1", courier="b")
    world.receipt("m1")
    world.receipt("m1", courier="b")
    assert world.ledger.receipts == {("a", "", "delivered"): 1, ("b", "3", "delivered"): 1}
    world.now_s = JUDGED_AFTER_S
    world.judge(m1=True)
    assert world.ledger.judged == {("b", "3", "returned"): 1}


@pytest.mark.parametrize(
    ("answered", "reported"),
    [
        ("abc-1", "abc-1"),
        ("ABC-1", "abc-1 "),
        ("0042", "42"),
        ("1F4A", "8010"),
        ("8010", "1f4a"),
        ("00001F4A", "0000008010"),
        ("ид", "ИД"),
        ("00", "0"),
    ],
)
def test_an_smscs_id_is_known_in_either_of_its_forms(world: World, answered: str, reported: str) -> None:
    """SMSCs answer in hexadecimal and send receipts in decimal digits, or the other way, with zeros in front or not."""
    world.expect("m1")
    world.ledger.reports_of("a").named("m1", plain_id(answered))
    world.receipt(reported)
    assert world.ledger.receipts == {("a", "3", "delivered"): 1}


def test_an_id_as_it_stands_goes_before_the_same_number_in_other_digits(world: World) -> None:
    world.expect("m1", operator="1")
    world.expect("m2", operator="2")
    world.ledger.name("a", "m1", plain_id("16"))
    world.ledger.name("a", "m2", plain_id("10"))  # 16 in hexadecimal digits
    world.receipt("10")
    assert world.ledger.receipts == {("a", "2", "delivered"): 1}


@pytest.mark.parametrize("reference", ["", " ", "9" * 100_000, "f" * 100_000, "-5", "1_000", "٣", "\0"])
def test_a_name_of_any_form_finds_nothing_and_costs_nothing(world: World, reference: str) -> None:
    world.expect("m1")
    world.receipt(reference)
    assert world.ledger.receipts == {("a", "", "delivered"): 1}


def test_what_is_too_old_or_too_much_is_forgotten_and_judges_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "CODES_MAX", 3)
    world.expect("m1", "m2", "m3", "m4")
    world.ledger.name("a", "m2", "x2")
    world.now_s = JUDGED_AFTER_S
    assert world.ledger.due() == ["m2", "m3", "m4"]
    world.now_s = KEPT_S
    world.expect("m5")
    world.receipt("m2")
    world.receipt("x2")
    assert world.ledger.receipts == {("a", "", "delivered"): 2}
    assert world.ledger.judged == {}
    assert world.share.last == (0, 0)
    assert len(world.ledger._sent) == len(world.ledger._named) == 1


def test_a_name_that_is_given_twice_is_the_newer_messages(world: World) -> None:
    """An SMSC that counts from the beginning again."""
    world.expect("m1", operator="1")
    world.ledger.name("a", "m1", "7")
    world.expect("m2", operator="2")
    world.ledger.name("a", "m2", "7")
    world.ledger.withdraw("m1", "a")
    world.receipt("7")
    assert world.ledger.receipts == {("a", "2", "delivered"): 1}


def test_receipts_alone_can_make_a_courier_rest(world: World) -> None:
    """Fifty that could not be delivered."""
    for place in range(SAMPLES):
        assert not world.share.rests
        world.expect(f"m{place}")
        world.receipt(f"m{place}", "failed")
    assert world.share.rests
