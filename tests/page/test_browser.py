"""A person works the page in a browser, by keyboard alone: against a real node, and without a word to anybody else."""

import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest

from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.access.calls import watch_editions
from tests.page import site
from tests.page.browser import PROGRAM, Browser, browsing
from tests.page.site import ACTIVE, ALPHA, HELD_REMOVED, HOSTILE, ONE_ACTIVE
from tests.serving.command import serving

STRANGERS_REQUIRED = os.environ.get("NUMCHECK_TEST_STRANGERS") == "required"
NAMED_ROLES = {
    "button",
    "link",
    "textbox",
    "radio",
    "slider",
    "table",
    "navigation",
    "dialog",
    "image",
    "group",
    "list",
}
VIEWS = ("plan", "number", "traffic", "data", "registrations", "couriers", "node")
CONTRAST_MIN = 4.5  # WCAG 2.2, AA: of text
CALLS = 3

FAINT = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const ground = (element) => {
    const behind = element.parentElement ? ground(element.parentElement) : [255, 255, 255];
    return over(parse(getComputedStyle(element).backgroundColor), behind);
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("noscript, .hidden, .skip")) continue;
    if (element.matches("div.tile, :disabled")) continue;  // inactive, which the rule leaves out
    const back = ground(element), [a, b] = [light(over(parse(getComputedStyle(element).color), back)), light(back)];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < %s) found.push(`${walk.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
})()"""


@pytest.mark.skipif(PROGRAM is None and not STRANGERS_REQUIRED, reason="Chromium is not installed")
def test_person_works_the_page_by_keyboard(tmp_path: Path) -> None:
    data_dir = site.fill(tmp_path / "data")
    with serving(data_dir, "--page-listen", "127.0.0.1:0") as node, browsing(tmp_path / "profile") as browser:
        url = node.process.line_with("page ready on ").split("page ready on ")[1].split('"')[0]
        browser.look()
        browser.open(url)
        browser.wait("document.querySelectorAll('button.tile').length === 2")
        browser.wait("document.getElementById('state').textContent === 'Ready'")
        _map_is_drawn(browser)
        _code_is_opened(browser)
        _names_are_text(browser)
        _number_is_looked_up(browser)
        _call(node.address)
        _traffic_is_shown(browser)
        _held_push_is_confirmed(browser, url)
        _follower_is_shown(browser, node.address)
        for width, dark in ((1_280, False), (1_280, True), (360, False), (3_840, False)):
            browser.look(width=width, dark=dark)
            for name in VIEWS:
                _go(browser, name)
                _is_fit_to_be_read(browser, name, width)
        _dark_is_dark(browser)
        _prints(browser)
        assert browser.problems == []
        assert {re.sub(r"(//[^/]*/).*", r"\1", one) for one in browser.requests} == {url}
    assert not [line for line in node.process.lines if str(ONE_ACTIVE)[1:] in line or '"level": "error"' in line]


def _go(browser: Browser, name: str) -> None:
    browser.value(f"location.hash = '#{name}'")
    browser.wait(f"!document.getElementById('view-{name}').hidden")


def _text(browser: Browser, selector: str) -> str:
    return str(browser.value(f"document.querySelector({selector!r}).innerText"))


def _map_is_drawn(browser: Browser) -> None:
    """The last block of code 916 is all active, and so has its operator's colour in full."""
    assert browser.value("document.getElementById('plan-title').checkVisibility()")
    pixel = browser.value("""(() => {
      const tile = document.querySelector('[data-chunk="7916"]').getBoundingClientRect();
      const canvas = document.getElementById('map-canvas'), at = canvas.getBoundingClientRect();
      const [x, y] = [Math.round(tile.right - at.left) - 1, tile.bottom - at.top - 4];
      return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data];
    })()""")
    assert pixel == [0x00, 0x72, 0xB2, 0xFF]


def _code_is_opened(browser: Browser) -> None:
    browser.value("document.querySelector('button.tile').focus()")
    browser.press("ArrowRight")
    assert browser.value("document.activeElement.dataset.chunk") == "7917"
    browser.press("Home", "Enter")
    browser.wait("document.querySelectorAll('#ranges tbody tr').length === 1")
    assert _text(browser, "#code-title") == "Code +7 916"
    assert browser.value("document.activeElement.id") == "blocks"
    browser.press("End")
    told = str(browser.value("document.activeElement.getAttribute('aria-valuetext')"))
    assert told.startswith(f"+7 916 999-00-00 to +7 916 999-99-99: {HOSTILE}, 10,000 active (100%)")
    browser.press("Escape")
    assert browser.value("document.activeElement.dataset.chunk") == "7916"


def _names_are_text(browser: Browser) -> None:
    """An operator's name is markup of an attacker's: it is shown, and does nothing."""
    assert HOSTILE in _text(browser, "#legend")
    assert browser.value("document.images.length") == 1
    assert _text(browser, "#plan-title") == "Numbering plan"
    assert browser.value("document.title") == "Numbering plan – numcheck"


def _number_is_looked_up(browser: Browser) -> None:
    _go(browser, "number")
    browser.wait("document.activeElement.id === 'number-text'")
    browser.write(f"+{ONE_ACTIVE}")
    browser.press("Enter")
    browser.wait("document.querySelector('.story')")
    told = _text(browser, "#story")
    assert "+7 916 000-00-03" in told
    assert "ACTIVE" in told
    assert f"to {HOSTILE}, in +7 916 000-00-00 to +7 916 999-99-99, 10,000,000 numbers" in told
    assert "It is not ported" in told
    browser.value("document.getElementById('number-text').value = 'nonsense'")
    browser.press("Enter")
    browser.wait("document.querySelector('#story .problem')")
    assert "NOT_A_NUMBER" in _text(browser, "#story")
    browser.problems[:] = [one for one in browser.problems if "/api/lookup" not in one]  # the refusal itself


def _call(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        for _ in range(CALLS):
            check_pb2_grpc.CheckServiceStub(channel).CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[ONE_ACTIVE]))


def _follower_is_shown(browser: Browser, address: str) -> None:
    """By the caller that it is, once it watches the editions: here a user of this machine."""
    _go(browser, "node")
    browser.wait("document.querySelector('#followers tbody tr')")
    assert _text(browser, "#nodes tbody") == "This node has its store alone."
    assert _text(browser, "#followers tbody") == "No follower asks this node."
    with grpc.insecure_channel(address) as channel:
        watch_editions(channel)
        browser.wait("document.querySelector('#followers tbody').innerText.includes('ago')")
    assert "loopback uid" in _text(browser, "#followers tbody")


def _traffic_is_shown(browser: Browser) -> None:
    """The count of /metrics, and a line in each chart."""
    _go(browser, "traffic")
    browser.wait(
        "[...document.querySelectorAll('#methods tbody tr')].some((row) =>"
        f" row.cells[0].innerText === 'CheckNumbers' && row.cells[5].innerText === '{CALLS}')"
    )
    browser.wait("document.querySelectorAll('.uplot canvas').length === 2")


def _held_push_is_confirmed(browser: Browser, url: str) -> None:
    _go(browser, "data")
    browser.wait("document.querySelector('#held button')")
    assert f"{HELD_REMOVED:,}" in _text(browser, "#held")
    browser.value("document.querySelector('#held button').focus()")
    browser.press("Enter")
    browser.wait("document.getElementById('confirm').open")
    left = len(ACTIVE[ALPHA]) - HELD_REMOVED
    assert f"removes {HELD_REMOVED:,} numbers, 100% of its active set" in _text(browser, "#confirm-text")
    assert f"Afterwards the set has {left:,}." in _text(browser, "#confirm-text")
    assert browser.value("document.activeElement.id") == "confirm-no"
    browser.press("Enter")
    browser.wait("!document.getElementById('confirm').open")
    assert "Decide" in _text(browser, "#held")
    browser.value("document.querySelector('#held button').focus()")
    browser.press("Enter", "Tab")
    assert browser.value("document.activeElement.id") == "confirm-reject"
    browser.press("Tab")
    assert browser.value("document.activeElement.id") == "confirm-yes"
    browser.press("Enter")
    browser.wait("document.getElementById('held-note').innerText.includes('is version 2.')")
    assert _text(browser, "#held tbody") == "No push is held."
    with urllib.request.urlopen(f"{url}api/held", timeout=30) as answer:
        assert answer.read() == b'{"held":[]}'


def _is_fit_to_be_read(browser: Browser, name: str, width: int) -> None:
    """Everything that can be worked has a name, text stands out, and nothing reaches over the edge."""
    nodes: list[dict[str, Any]] = browser.call("Accessibility.getFullAXTree")["nodes"]
    shown = [one for one in nodes if not one["ignored"] and one["role"]["value"] in NAMED_ROLES]
    nameless = [one["role"]["value"] for one in shown if not one.get("name", {}).get("value")]
    assert nameless == [], name
    assert sum(one["role"]["value"] == "heading" for one in nodes if not one["ignored"]) >= 2
    assert browser.value(FAINT % CONTRAST_MIN) == [], name
    assert browser.value("document.documentElement.scrollWidth") <= width, name
    assert browser.value("document.querySelectorAll('#sections [aria-current]').length") == 1
    assert browser.value("new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size") == browser.value(
        "document.querySelectorAll('[id]').length"
    )


def _dark_is_dark(browser: Browser) -> None:
    def ground() -> int:
        colour = str(browser.value("getComputedStyle(document.body).backgroundColor"))
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    browser.look()
    light = ground()
    browser.look(dark=True)
    assert ground() < 120
    assert light > 600


def _prints(browser: Browser) -> None:
    browser.look()
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert not browser.value("document.getElementById('sections').checkVisibility()")
    assert browser.value("document.querySelector('h1').checkVisibility()")
