"""What the page's answers say, beside what was put into the store; whom they are given to, and whom not."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from numcheck.api.access import LoopbackAccess
from numcheck.config import Settings
from numcheck.errors import BadConfiguration, BadListenAddress
from numcheck.page import listener as listening
from numcheck.page import where
from numcheck.page.live import VIEWERS_PER_CALLER_MAX
from numcheck.serving.checks import problems_of
from tests.page import site as sites
from tests.page.site import (
    ACTIVE,
    ALPHA,
    BETA,
    HELD_REMOVED,
    HELD_TOKEN,
    HOSTILE,
    NOBODYS,
    ONE_ACTIVE,
    ONE_INACTIVE,
    RANGES,
    Site,
    columns_of,
    operator_ids,
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sites.fill(tmp_path_factory.mktemp("page") / "data")


@pytest.fixture(scope="module")
def site(filled: Path) -> Iterator[Site]:
    with sites.site(filled) as one:
        yield one


# --- the answers


def test_map_has_each_blocks_operator_and_active_numbers(site: Site) -> None:
    """Counted again here from the rows and the numbers, a block of 10,000 after the other."""
    answer = site.ask("/api/map")
    head, classes, counts = columns_of(answer)
    ids = operator_ids(site.store)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert head["chunks"] == [7495, 7916, 7917]
    expected = Counter(number // 10_000 for numbers in ACTIVE.values() for number in numbers)
    found = {head["chunks"][at // 1_000] * 1_000 + at % 1_000: count for at, count in enumerate(counts) if count}
    assert found == expected
    holders: dict[int, Counter[int]] = {}
    for code, first, last, _, tax_id in RANGES:
        for number in range(first, last + 1, 1_000):
            holders.setdefault((code * 10_000_000 + number) // 10_000, Counter())[ids[tax_id]] += 1
    for at, number in enumerate(classes):
        block = (head["chunks"][at // 1_000] - 7_000) * 1_000 + at % 1_000
        operator = head["classes"][number - head["first_class"]][0] if number >= head["first_class"] else 0
        most = holders.get(block, Counter({0: 1}))
        assert most[operator] == max(most.values()), block


def test_maps_head_has_the_operators_as_they_are(site: Site) -> None:
    head = columns_of(site.ask("/api/map")).head
    ids = operator_ids(site.store)
    operators = {one["id"]: one for one in head["operators"]}
    alpha = operators[ids[ALPHA]]
    assert alpha["name"] == HOSTILE
    assert alpha["allotted"] == 10_005_000
    assert operators[ids[BETA]]["allotted"] == 15_000
    assert (alpha["data_version"], alpha["fresh"], alpha["data_time"]) == (1, True, sites.DATA_TIME.timestamp())
    assert head["index_version"] == site.published.get().index_version


def test_map_is_not_sent_again_while_the_index_is_the_same(site: Site) -> None:
    tag = site.ask("/api/map").headers["ETag"]
    again = site.ask("/api/map", headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    assert site.ask("/api/map", headers={"If-None-Match": '"another"'}).status == 200


def test_code_has_its_ranges(site: Site) -> None:
    ids = operator_ids(site.store)
    expected = [
        {"first": 70_000_000_000 + code * 10_000_000 + first, "last": 70_000_000_000 + code * 10_000_000 + last,
         "operator_id": ids[tax_id], "region": "Тверь"}
        for code, first, last, _, tax_id in RANGES
        if code == 917
    ]  # fmt: skip
    assert site.ask("/api/codes/7917").json["ranges"] == expected
    assert site.ask("/api/codes/7918").json["ranges"] == []
    for code in ("999999999", "9" * 5_000, "-1", "x", "%D9%A1"):
        answer = site.ask(f"/api/codes/{code}")
        assert (answer.status, answer.json["reason"]) == (400, "MALFORMED_MESSAGE")
    assert site.ask("/api/me/").status == 404


@pytest.mark.parametrize(
    ("number", "status"), [(ONE_ACTIVE, "ACTIVE"), (ONE_INACTIVE, "INACTIVE"), (NOBODYS, "UNALLOCATED")]
)
def test_lookup_tells_the_numbers_story(site: Site, number: int, status: str) -> None:
    story = site.ask("/api/lookup", {"number": f"+{number}"}, headers=site.token()).json
    assert (story["number"], story["status"]) == (f"+{number}", status)
    assert story["index_version"] == site.published.get().index_version
    if status == "UNALLOCATED":
        assert (story["range"], story["operators"]) == (None, {})
        return
    assert (story["range"]["first"], story["range"]["last"]) == (79160000000, 79169999999)
    assert story["operators"]["serving"] == story["operators"]["holder"]
    assert story["operators"]["serving"]["name"] == HOSTILE
    assert not story["ported"]
    assert story["plan"]["series"] == "+7 9xx"
    assert (story["plan"]["source"], story["plan"]["data_time"]) == ("rows.csv", sites.DATA_TIME.timestamp())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"number": 7}', b'{"number": null}', b'"number"', b"1"])
def test_request_that_cannot_be_read_is_refused_by_name(site: Site, body: bytes) -> None:
    answer = site.ask("/api/lookup", body, headers=site.token())
    assert (answer.status, answer.json["reason"]) == (400, "MALFORMED_MESSAGE")


def test_refusal_of_a_number_does_not_repeat_it(site: Site) -> None:
    answer = site.ask("/api/lookup", {"number": "x79161234567x"}, headers=site.token())
    assert (answer.status, answer.json["reason"]) == (400, "NOT_A_NUMBER")
    assert b"9161234567" not in answer.body


def test_body_too_large_is_refused(site: Site) -> None:
    answer = site.ask("/api/lookup", {"number": "1" * 5_000}, headers=site.token())
    assert (answer.status, answer.json["reason"]) == (400, "MALFORMED_MESSAGE")


def test_held_pushes_are_shown_with_what_they_would_do(site: Site) -> None:
    (held,) = site.ask("/api/held").json["held"]
    assert (held["confirmation_token"], held["removed"], held["added"]) == (HELD_TOKEN, HELD_REMOVED, 0)
    assert held["number_count"] == len(ACTIVE[ALPHA]) - HELD_REMOVED
    assert held["operator_id"] == operator_ids(site.store)[ALPHA]


def test_push_is_rejected_once_and_is_held_no_more(filled: Path, tmp_path: Path) -> None:
    """The operator's set is what it was."""
    with sites.site(shutil.copytree(filled, tmp_path / "var")) as own:
        operator_id = operator_ids(own.store)[ALPHA]
        before = own.store.sets.head(operator_id).version
        body = {"operator_id": operator_id, "confirmation_token": HELD_TOKEN}
        assert own.ask("/api/reject", body, headers=own.token()).json == {}
        assert own.ask("/api/held").json["held"] == []
        again = own.ask("/api/reject", body, headers=own.token())
        assert (again.status, again.json["reason"]) == (404, "UNKNOWN_PUSH")
        assert own.store.sets.head(operator_id).version == before


def test_figures_come_at_once_and_no_more_viewers_than_there_is_room_for(site: Site) -> None:
    """The one too many is refused, and has its place when another leaves."""
    with ExitStack() as opened:
        viewers = [site.connected() for _ in range(VIEWERS_PER_CALLER_MAX)]
        for one in viewers:
            opened.callback(one.close)
            one.request("GET", "/api/live")
            answer = one.getresponse()
            opened.callback(answer.close)
            assert json.loads(answer.readline().removeprefix(b"data: ")) == site.sample
        refused = site.ask("/api/live")
        assert (refused.status, refused.json["reason"]) == (429, "TOO_MANY_STREAMS")
        viewers[0].close()
        until = time.monotonic() + 30
        while True:  # until the node has seen that the other has gone
            last = site.connected()
            opened.callback(last.close)
            last.request("GET", "/api/live")
            answer = last.getresponse()
            opened.callback(answer.close)
            if answer.status == 200:
                break
            assert time.monotonic() < until


# --- who is let in


def test_request_of_another_site_is_refused(site: Site) -> None:
    """Its browser says where it comes from, or for which host it takes this one."""
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Host": "attacker.example"},
        {"Host": "localhost.attacker.example:80"},
        {"Host": "["},
        {"Origin": "http://["},
    ):
        for path in ("/api/me", "/api/live", "/static/main.js"):
            answer = site.ask(path, headers=headers)
            assert (answer.status, answer.json["reason"]) == (403, "NOT_PERMITTED"), (path, headers)
        assert site.ask("/", headers=headers).status == (
            403 if "Host" in headers else 200
        )  # a link elsewhere leads here
    own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://localhost:{site.port}", "Host": f"localhost:{site.port}"}
    assert site.ask("/api/me", headers=own).status == 200


@pytest.mark.parametrize("path", ["/api/lookup", "/api/confirm", "/api/reject"])
def test_change_without_the_pages_own_token_is_refused(site: Site, path: str) -> None:
    ids = operator_ids(site.store)
    body = {"number": f"+{ONE_ACTIVE}", "operator_id": ids[ALPHA], "confirmation_token": HELD_TOKEN}
    for headers in ({}, {"X-Numcheck-Token": ""}, {"X-Numcheck-Token": "0" * 64}, {"X-Numcheck-Token": "ü"}):
        answer = site.ask(path, body, headers=headers)
        assert (answer.status, answer.json["reason"]) == (403, "NOT_PERMITTED")
    assert site.ask(path, method="GET").status == 405
    assert len(site.ask("/api/held").json["held"]) == 1


def test_user_who_could_not_read_the_data_directory_is_refused(filled: Path) -> None:
    """By the rule of the node's own door, in plaintext: here nobody of this machine is among them."""
    denied: list[tuple[str, str, str]] = []
    admission = LoopbackAccess(frozenset({2**31}), deny=lambda *one: denied.append(one))
    with sites.site(filled, admission) as one:
        for path in ("/api/me", "/api/map", "/api/codes/7916", "/api/live", "/api/held"):
            answer = one.ask(path)
            assert (answer.status, answer.json["reason"]) == (403, "NOT_PERMITTED")
        assert one.ask("/api/lookup", {"number": "1"}).status == 403
        assert one.ask("/").status == 200  # it shows why
    assert len(denied) == 6


def test_where_users_are_not_told_apart_a_token_lets_in_and_opens_a_session(filled: Path) -> None:
    with sites.site(filled, LoopbackAccess(token="secret-of-the-directory")) as one:
        assert one.ask("/api/me").status == 403
        assert one.ask("/api/session", {"token": "wrong"}).status == 403
        assert one.ask("/api/me", headers={"Authorization": "Bearer secret-of-the-directory"}).status == 200
        begun = one.ask("/api/session", {"token": "secret-of-the-directory"})
        assert begun.status == 204
        name, *rest = begun.headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(rest)
        cookie = {"Cookie": name}
        assert one.ask("/api/me", headers=cookie).json["has_session"]
        assert "secret-of-the-directory" not in name
        assert one.ask("/api/session", method="DELETE", headers=cookie).status == 204
        assert one.ask("/api/me", headers=cookie).status == 403


def test_every_answer_has_the_headers_that_keep_strangers_out(site: Site) -> None:
    for path in ("/", "/static/main.js", "/static/nothing", "/nothing", "/api/me", "/api/map", "/api/lookup"):
        headers = site.ask(path).headers
        policy = dict(one.split(" ", 1) for one in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Server"] == "numcheck"
        if path.startswith("/api/") and path != "/api/map":
            assert headers["Cache-Control"] == "no-store"


def test_page_has_no_script_and_no_style_of_its_own_in_its_markup(site: Site) -> None:
    """Nor anything from elsewhere: what it loads is the node's."""
    markup = site.ask("/").body.decode()
    assert "style=" not in markup
    assert "onclick" not in markup
    assert "http" not in markup.replace("http://www.w3.org", "")
    assert markup.count("<script") == markup.count('<script type="module" src="/static/')


def test_files_beside_the_pages_own_are_not_given(site: Site) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py"):
        assert site.ask(path).status == 404


# --- the listener


def test_half_a_request_is_cut_off(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "REQUEST_TIMEOUT_S", 0.2)
    with sites.site(filled) as one:
        for begun in (b"", b"GET /api/me HTTP/1.1\r\nhost: localhost\r\n"):
            with socket.create_connection(("127.0.0.1", one.port), timeout=30) as half:
                half.sendall(begun)
                assert half.recv(100) == b""
        assert one.ask("/api/me").status == 200


def test_connections_without_a_request_make_way_for_others(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first, however many there are, so that a node keeps its files; who looks at the figures stays."""
    monkeypatch.setattr(listening, "CONNECTIONS_MAX", 4)
    with sites.site(filled) as one, ExitStack() as opened:
        viewer = one.connected()
        opened.callback(viewer.close)
        viewer.request("GET", "/api/live")
        figures = viewer.getresponse()
        assert figures.readline().startswith(b"data: ")
        idle = [socket.create_connection(("127.0.0.1", one.port), timeout=30) for _ in range(40)]
        for connection in idle:
            opened.callback(connection.close)
        assert one.ask("/api/me").status == 200
        for connection in idle[:30]:
            assert connection.recv(100) == b""
        assert figures.readline() == b"\n"
        assert figures.readline().startswith(b"data: ")


def is_closed(peer: socket.socket) -> bool:
    """Return True once the other end, of which nothing is read, has closed the connection."""
    try:
        peer.sendall(b"x")
    except ConnectionError:
        return True
    return False


def test_who_takes_no_answer_makes_way_and_is_cut_off(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers may have the page's files: they ask for them again and again, and read nothing."""
    monkeypatch.setattr(listening, "CONNECTIONS_MAX", 4)
    asked = b"GET /static/uplot/uPlot.esm.js HTTP/1.1\r\nhost: localhost\r\n\r\n" * 100

    def hold(opened: ExitStack) -> socket.socket:
        peer = opened.enter_context(socket.socket())
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        peer.settimeout(30)
        peer.connect(("127.0.0.1", one.port))
        peer.sendall(asked)
        assert peer.recv(1, socket.MSG_PEEK)
        return peer

    with sites.site(filled) as one, ExitStack() as opened:
        for _ in range(8):
            hold(opened)
        kept = one.connected()
        opened.callback(kept.close)
        kept.request("GET", "/api/live")
        figures = kept.getresponse()
        assert figures.readline().startswith(b"data: ")
        assert one.ask("/api/me").status == 200
        monkeypatch.setattr(listening, "ANSWER_TIMEOUT_S", 0.1)
        last, until = hold(opened), time.monotonic() + 30
        while not is_closed(last):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert one.ask("/api/me").status == 200


def test_port_that_is_taken_is_refused(site: Site, filled: Path) -> None:
    taken = f"127.0.0.1:{site.port}"
    with pytest.raises(BadListenAddress), sites.site(filled, store=site.store, page_listen=taken):
        pass


def test_beyond_loopback_the_page_needs_tls(tmp_path: Path) -> None:
    problems = problems_of(Settings(data_dir=tmp_path, page_listen="0.0.0.0:0"))
    assert problems == [
        "page_listen: 0.0.0.0 is beyond loopback, where the page needs TLS: tls_certificate_file",
    ]


def test_node_without_the_extra_loads_nothing_of_it() -> None:
    """With no Starlette and no uvicorn to be found, as in an environment that has neither."""
    hidden = "import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = None; import numcheck.serving.node"
    assert subprocess.run([sys.executable, "-c", hidden], check=False).returncode == 0


def test_without_its_extra_the_page_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, page_listen="127.0.0.1:0")
    assert problems_of(settings) == []
    monkeypatch.setattr(where, "find_spec", lambda _name: None)
    with pytest.raises(BadConfiguration, match=r"pip install 'numcheck\[page\]'"):
        where.check_page(settings)
