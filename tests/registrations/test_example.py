"""Point 12: the guide's example runs as it stands, against a real node."""

import re
import subprocess
import sys
from pathlib import Path

from tests.serving import small
from tests.serving.command import environment, serving

EXAMPLE = Path(__file__).parents[2] / "examples/messenger.py"


def test_the_example_registers_verifies_refreshes_and_erases(data_dir: Path) -> None:
    """A number whose operator has no data: the code that the node shows is typed in."""
    with serving(data_dir, env={"NUMCHECK_CODE_DELIVERY": "console"}) as node:
        command = [sys.executable, str(EXAMPLE), "--server", node.address, "--number", f"+{small.UNKNOWN}"]
        running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        code = re.search(r": (\d{6})$", node.process.line_with("code for the number"))
        assert code is not None
        told, _ = running.communicate(f"{(int(code[1]) + 1) % 10**6:06}\n{code[1]}\n", timeout=60)
        assert running.returncode == 0, told
    assert "registered: REGISTRATION_STATE_PENDING" in told
    assert "not accepted: PROOF_NOT_ACCEPTED" in told
    assert "verified: REGISTRATION_STATE_VERIFIED" in told
    assert "refreshed: REGISTRATION_STATE_VERIFIED TOO_MANY_CODES" in told
    assert told.rstrip().endswith("erased")
    watched = [line.split() for line in told.splitlines() if line.startswith("watch:")]
    words = [" ".join(words[1:3] + words[4:]) for words in watched]
    assert words[0] == "keeps out REGISTRATION_STATE_PENDING"
    assert "lets in" in words
    assert words[-1] == "keeps out REGISTRATION_STATE_DELETED"
    assert len({line[3] for line in watched}) == 1
