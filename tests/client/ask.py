"""Asks a node by the client alone, with threads and with asyncio, where only the client's distribution is installed.

    ask.py HOST:PORT NUMBER

The number is an active one. It fails if an answer is wrong.
"""

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from typing import TypeVar

from numcheck.client import AsyncCheckClient, AsyncRegistrationClient, CheckClient, RegistrationClient
from numcheck.errors import NotANumber, NumcheckError, RegistrationRefused

Error = TypeVar("Error", bound=NumcheckError)


def by_threads(address: str, number: int) -> None:
    """Ask with threads."""
    with CheckClient(address) as client:
        assert client.healthy()
        assert client.check(number).status.name == "ACTIVE"
        assert client.check(f"8 {str(number)[1:]}") == client.check(number)
        assert client.check_number(f"+{number}").number == number
        assert "its character 10 has no place" in str(error_of(NotANumber, lambda: client.check("7916 000 xx xx")))
    with RegistrationClient(address, "alone") as registrations:
        assert error_of(RegistrationRefused, lambda: registrations.get("nobody")).refusal == "UNKNOWN_REGISTRATION"


def error_of(kind: type[Error], ask: Callable[[], object]) -> Error:
    """Return the error that a call ends in."""
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


async def by_tasks(address: str, number: int) -> None:
    """Ask with asyncio."""
    async with AsyncCheckClient(address) as client:
        answers = await asyncio.gather(*(client.check(number) for _ in range(100)))
        assert {answer.status.name for answer in answers} == {"ACTIVE"}
        assert await client.healthy()
    async with AsyncRegistrationClient(address, "alone") as registrations:
        assert [one async for one in registrations.list()] == []


if __name__ == "__main__":
    assert importlib.util.find_spec("numcheck._e164") is None, "something compiled is installed"
    assert importlib.util.find_spec("numcheck.serving") is None, "the server is installed"
    by_threads(sys.argv[1], int(sys.argv[2]))
    asyncio.run(by_tasks(sys.argv[1], int(sys.argv[2])))
    print("the client alone asks by threads and by tasks")
