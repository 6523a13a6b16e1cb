"""Beyond loopback the page is given over TLS alone: to an administrator's or an auditor's certificate, or token."""

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from numcheck.api.access import token_tag
from numcheck.offline.authority import issue_client, issue_server, make_authority
from numcheck.page import gate, listener, live
from numcheck.serving.access import AccessControl
from numcheck.store import Store
from tests.access.node import CALLERS
from tests.page import site as sites
from tests.page.site import HELD_TOKEN, ONE_ACTIVE, Site

EVERYWHERE = "0.0.0.0:0"
SEEING = {"administrator", "auditor"}


class Tls(NamedTuple):
    """Data that the page shows, callers in its store, and their certificates."""

    data_dir: Path
    certificates: Path

    def context(self, name: str | None) -> ssl.SSLContext:
        """The context of a client with the certificate of this name."""
        context = ssl.create_default_context(cafile=self.certificates / "authority.pem")
        if name is not None:
            context.load_cert_chain(self.certificates / f"{name}.pem", self.certificates / f"{name}.key")
        return context

    @contextmanager
    def served(self, **settings: Any) -> Iterator[tuple[Site, AccessControl]]:
        """The page over TLS."""
        files = {"certificate": "server.pem", "key": "server.key"}
        paths = {f"tls_{name}_file": self.certificates / file for name, file in files.items()}
        changes = {**paths, "page_listen": EVERYWHERE, **settings}
        with Store(self.data_dir) as store:
            control = AccessControl(store, self.data_dir)
            with sites.site(self.data_dir, control.access, store=store, **changes) as one:
                yield one, control
            control.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    directory = tmp_path_factory.mktemp("tls")
    data_dir, certificates, now = sites.fill(directory / "data"), directory / "certificates", datetime.now(UTC)
    make_authority(certificates, now=now)
    issue_server(certificates, ["localhost", "127.0.0.1"], now=now)
    with Store(data_dir) as store:
        control = AccessControl(store, data_dir)
        for name, caller in CALLERS.items():
            issue_client(certificates, name, caller.uri, now=now)
            control.callers.add(caller, now=now)
        control.close()
    return Tls(data_dir, certificates)


def test_each_certificate_sees_what_its_role_may(tls: Tls) -> None:
    """An auditor looks, an administrator also looks numbers up and confirms, and nobody else sees anything."""
    with tls.served(tls_client_authority_file=tls.certificates / "authority.pem") as (one, _):
        for name in CALLERS:
            one.context = tls.context(name)
            statuses = {path: one.ask(path).status for path in ("/api/me", "/api/map", "/api/codes/7916")}
            assert set(statuses.values()) == {200 if name in SEEING else 403}, name
            assert one.ask("/api/held").status == (200 if name == "administrator" else 403)
        one.context = tls.context("auditor")
        told = one.ask("/api/me").json
        assert (told["role"], told["caller"]) == ("auditor", CALLERS["auditor"].uri)
        assert (told["may_look_up"], told["may_confirm"]) == (False, False)
        token = one.token()
        assert one.ask("/api/lookup", {"number": f"+{ONE_ACTIVE}"}, headers=token).status == 403
        body = {"operator_id": 1, "confirmation_token": HELD_TOKEN}
        assert one.ask("/api/confirm", body, headers=token).status == 403
        assert one.ask("/api/reject", body, headers=token).status == 403
        one.context = tls.context("administrator")
        assert one.ask("/api/confirm", body, headers=token).status == 403  # another caller's token
        assert one.ask("/api/lookup", {"number": f"+{ONE_ACTIVE}"}, headers=one.token()).json["status"] == "ACTIVE"
        one.context = tls.context(None)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            one.ask("/")


def test_handshakes_that_do_not_begin_make_way_for_others(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "CONNECTIONS_MAX", 4)
    authority = tls.certificates / "authority.pem"
    with tls.served(tls_client_authority_file=authority) as (one, _), ExitStack() as opened:
        silent = [socket.create_connection(("127.0.0.1", one.port), timeout=30) for _ in range(20)]
        for connection in silent:
            opened.callback(connection.close)
        one.context = tls.context("administrator")
        assert one.ask("/api/me").status == 200
        for connection in silent[:10]:
            assert connection.recv(100) == b""


def test_auditor_ends_no_session_of_others_and_leaves_them_the_figures(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "SESSIONS_MAX", 4)
    monkeypatch.setattr(live, "VIEWERS_PER_CALLER_MAX", 1)
    monkeypatch.setattr(live, "VIEWERS_MAX", 2)
    with tls.served(tls_clients="token") as (one, control), ExitStack() as opened:
        one.context = tls.context(None)
        for name in SEEING:
            control.callers.set_token(CALLERS[name].uri, token_tag(control.key, name), now=datetime.now(UTC))
        control.directory.refresh()

        def session(name: str) -> dict[str, str]:
            return {"Cookie": one.ask("/api/session", {"token": name}).headers["Set-Cookie"].split(";")[0]}

        def look(cookie: dict[str, str]) -> int:
            viewer = one.connected()
            opened.callback(viewer.close)
            viewer.request("GET", "/api/live", headers=cookie)
            answer = viewer.getresponse()
            opened.callback(answer.close)
            return answer.status

        first = session("administrator")
        others = [session("auditor") for _ in range(20)]
        found = [one.ask("/api/me", headers=cookie).status for cookie in (first, *others)]
        assert found == [200, *[401] * 17, *[200] * 3]
        assert [look(cookie) for cookie in (others[-1], others[-2], first, first)] == [200, 429, 200, 429]


def test_token_of_an_administrator_opens_a_session_for_its_browser_alone(tls: Tls) -> None:
    with tls.served(tls_clients="token") as (one, control):
        one.context = tls.context(None)
        tokens = {"administrator": "an administrator's", "messenger": "a messenger's"}
        for name, token in tokens.items():
            control.callers.set_token(CALLERS[name].uri, token_tag(control.key, token), now=datetime.now(UTC))
        control.directory.refresh()
        assert one.ask("/api/me").status == 401
        assert one.ask("/api/session", {"token": "nobody's"}).status == 401
        assert one.ask("/api/session", {"token": tokens["messenger"]}).status == 403
        begun = one.ask("/api/session", {"token": tokens["administrator"]})
        name, *rest = begun.headers["Set-Cookie"].split("; ")
        assert name.startswith("__Host-")
        assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= set(rest)
        assert one.ask("/api/me", headers={"Cookie": name}).json["caller"] == CALLERS["administrator"].uri
        control.callers.revoke(CALLERS["administrator"].uri, now=datetime.now(UTC))
        control.directory.refresh()
        assert one.ask("/api/me", headers={"Cookie": name}).status == 401


def test_new_certificate_is_used_from_the_next_connection_on(tls: Tls, tmp_path: Path) -> None:
    """Connections begin with the files that were read last; the authority's too."""
    files = shutil.copytree(tls.certificates, tmp_path / "certificates")
    other = tmp_path / "other"
    now = datetime.now(UTC)
    make_authority(other, now=now)
    issue_server(other, ["localhost", "127.0.0.1"], now=now)
    issue_client(other, "auditor", CALLERS["auditor"].uri, now=now)
    copy = Tls(tls.data_dir, files)
    with copy.served(tls_client_authority_file=files / "authority.pem") as (one, _):
        one.context = copy.context("auditor")
        assert one.ask("/api/me").status == 200
        for name in ("server.pem", "server.key", "authority.pem"):
            shutil.copy(other / name, files / name)
        one.reread()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            one.ask("/api/me")
        one.context = Tls(tls.data_dir, other).context("auditor")
        assert one.ask("/api/me").status == 200
