"""SIGHUP: a running node takes limits and policies anew, and says what it cannot take."""

import signal
from pathlib import Path
from typing import Any

import grpc

from numcheck.config import RELOADED, Settings, load_settings
from numcheck.errors import BadConfiguration
from numcheck.serving.reloading import Reloading
from numcheck.v1.check_pb2 import CheckNumberRequest
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from tests.serving.command import serving
from tests.serving.small import ACTIVE


def test_bad_settings_change_nothing_and_good_ones_reach_all_who_take_them() -> None:
    """Whoever takes settings never gets one that needs a restart."""
    first = load_settings(codes_per_number_max=1)
    found: list[Settings | BadConfiguration] = [
        BadConfiguration("no good"),
        load_settings(codes_per_number_max=2, api_threads=3),
    ]
    taken: list[Settings] = []

    def read() -> Settings:
        one = found.pop(0)
        if isinstance(one, BadConfiguration):
            raise one
        return one

    reloading = Reloading(first, read, [taken.append])
    reloading.reload()
    assert taken == []
    reloading.reload()
    assert [(one.codes_per_number_max, one.api_threads) for one in taken] == [(2, first.api_threads)]


def asked(node: Any, first: int = ACTIVE) -> int:
    """Ask about one number after the other until the budget is spent; how many were answered."""
    with grpc.insecure_channel(node.address) as channel:
        stub = CheckServiceStub(channel)
        for count in range(10):
            try:
                stub.CheckNumber(CheckNumberRequest(number=f"+{first + count}"), timeout=10)
            except grpc.RpcError as error:
                return count if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else -1
    raise AssertionError("there is no budget")


def test_a_node_takes_its_file_anew_on_sighup(data_dir: Path, tmp_path: Path) -> None:
    """What is taken and what is not is in the log; a file that is no good is, too, and the node goes on."""
    file = tmp_path / "numcheck.toml"
    file.write_text("codes_per_number_max = 5\nnew_numbers_per_day_max = 3\n")
    with serving(data_dir, "--config", file, env={"NUMCHECK_THREADS": "1"}) as node:
        assert asked(node) == 3
        file.write_text("codes_per_numbr_max = 6\n")
        node.process.signal(signal.SIGHUP)
        assert "the nearest is codes_per_number_max" in node.process.line_with("the settings are not taken")
        file.write_text("new_numbers_per_day_max = 5\napi_threads = 4\nlog_level = 'warning'\n")
        node.process.signal(signal.SIGHUP)
        assert "api_threads" in node.process.line_with("settings take a restart to change")
        assert asked(node) == 5
    with serving(data_dir, "--config", file, env={"NUMCHECK_THREADS": "1", "NUMCHECK_LOG_LEVEL": "info"}) as node:
        assert asked(node) == 5, "the same as before the restart"
        assert asked(node, first=ACTIVE + 100) == 0


def test_everything_that_is_marked_is_a_plain_value() -> None:
    """No address, file, secret or size of a pool is among what a running node takes."""
    schema = Settings.model_json_schema()["properties"]
    marked = {name for name, one in schema.items() if one.get("x-reloaded")}
    assert marked == RELOADED
    assert not [name for name in marked if "file" in name or "listen" in name or "threads" in name]
