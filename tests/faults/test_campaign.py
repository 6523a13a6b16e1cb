"""R1 for pushes, over kills and power losses: nothing acknowledged is lost, nothing half-visible, nothing invented.

A campaign that finds nothing proves something only if it finds what is wrong: each planted bug has to be caught.
`make faults` runs it for long.
"""

import pytest

from tests.faults.campaign import Campaign
from tests.faults.ledger import Violation
from tests.faults.nodes import build_recorder
from tests.faults.plants import NEEDS_POWER_LOSS, PLANTS

KILLS = 12
CAUGHT_WITHIN_KILLS = 60  # most are caught by the tenth
# What the judge says of a broken promise; a node that a plant keeps from starting is no catch.
BROKEN = (
    r"is lost|explains version|never held|does not show|told before|has damaged the index|not answered again"
    r"|held push is not confirmed|are not those that were stored"
)


def test_no_promise_is_broken_over_kills_and_power_losses(tmp_path):
    report = Campaign(tmp_path, 20_260_819).run(KILLS)
    assert report.kills == KILLS
    assert {"applied", "held", "unknown", "cut"} <= report.counts.keys(), (
        "the campaign did too little to prove anything"
    )
    assert report.counts["applied"] > KILLS // 2


@pytest.mark.parametrize("plant", sorted(filter(None, PLANTS)))
def test_a_planted_bug_is_caught(plant, tmp_path):
    if plant in NEEDS_POWER_LOSS and build_recorder(tmp_path) is None:
        pytest.skip("this machine cannot preload the recorder, and SIGKILL alone keeps what was not synchronised")
    with pytest.raises(Violation, match=BROKEN):
        Campaign(tmp_path, 1, plant=plant).run(CAUGHT_WITHIN_KILLS)
