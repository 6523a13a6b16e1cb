"""Codes over SMPP, against the SMSC that kannel's own tests drive its gateway with (Debian's kannel-extras).

It knows no transceivers (it hangs up on them) and answers what a transmitter submits.
"""

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from numcheck.delivery.smpp import SmppCourier
from numcheck.delivery.smpp_link import Account
from tests.delivery.messages import Reported, message_of
from tests.delivery.smsc import left_out

DRIVE_SMPP = Path("/usr/lib/kannel/test/drive_smpp")
CONFIGURATION = """\
group = core
admin-port = 13000
smsbox-port = 13001
admin-password = secret

group = smsbox
bearerbox-host = 127.0.0.1
"""
SMSBOX_PORT = 13_001  # it asks there for a gateway, whatever its configuration says, and gives up if nobody listens
CODES = ["042917", "000000", "999999"]


@pytest.fixture
def smsbox() -> Iterator[None]:
    """Somebody who listens where a gateway would."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody does already
            listener.bind(("127.0.0.1", SMSBOX_PORT))
            listener.listen()
        yield


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def kannel(smsbox: None, port: int, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    if not DRIVE_SMPP.exists():
        left_out("kannel-extras is not installed")
    configuration = tmp_path / "kannel.conf"
    configuration.write_text(CONFIGURATION)
    command = [DRIVE_SMPP, "-v", "0", "-p", str(port), "-m", str(len(CODES)), "-c", configuration]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_kannel_takes_every_code(kannel: "subprocess.Popen[str]", port: int) -> None:
    """It counts what was submitted, and says what it read."""
    assert kannel.stdout is not None
    lines = iter(kannel.stdout)
    next(line for line in lines if "accept_thread) maps" in line)
    account = Account("127.0.0.1", port, "numcheck", "secret", receives=False)
    courier = SmppCourier(
        account,
        source="numcheck",
        lifetime=timedelta(seconds=300),
        sends_at_once_max=1,
        reports=Reported(),
    )
    for code in CODES:
        courier.send(message_of(code=code, text="Code: {code}"))
    texts = []
    for line in lines:
        texts += re.findall(r"short_message = <(.*)>", line)
        if "submitted all messages" in line:
            break
    courier.close()
    assert texts == [f"Code: {code}" for code in CODES]
