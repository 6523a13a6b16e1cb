"""The evidence for one user as a page to print: one file of HTML that needs nothing else, with the bundle inside."""

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

from numcheck.moments import rfc3339

STYLE = """
body { font: 11pt/1.45 Georgia, serif; max-width: 46em; margin: 2em auto; padding: 0 1em; color: #111 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 1.6em }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25em .6em .25em 0; border-bottom: 1px solid #ccc }
th { font-weight: 600 } tbody th { white-space: nowrap }
code { font: 9pt/1.4 ui-monospace, monospace; overflow-wrap: anywhere }
@media print { body { margin: 0 } h2 { break-after: avoid } tr { break-inside: avoid } }
"""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evidence for a user of {service}</title>
<style>{style}</style>
<h1>Evidence for a user of {service}</h1>
<p>Made {signed_at} by the installation whose public key stands below, from its chain of {event_count} events.</p>
<h2>Whom it is about</h2>
{asked_for}
<h2>Where the registration stands</h2>
{registration}
<h2>What each step confirmed, and by whose data</h2>
{confirmed}
<h2>What happened</h2>
{events}
<h2>How to check it</h2>
<p>This file holds the bundle as JSON, in its element <code>evidence</code>: each event with the hash that it follows
and its path in the tree of all events, whose root is signed. <code>docs/auditors.md</code> of numcheck has a program
of forty lines that checks it, and says what each field is. Compare the public key with one that you got by another
way.</p>
{tree}
<script type="application/json" id="evidence">{bundle}</script>
</html>
"""


def page_of(bundle: Mapping[str, Any]) -> str:
    """Return the page of a bundle."""
    tree = bundle["tree"]
    return PAGE.format(
        style=STYLE,
        service=html.escape(bundle["registration"]["service"]),
        signed_at=_moment(tree["signed_at_us"]),
        event_count=f"{tree['event_count']:,}",
        asked_for=_fields(bundle["asked_for"]),
        registration=_fields(bundle["registration"]),
        confirmed="".join(map(_fields, bundle["confirmed"])) or "<p>No step has confirmed anything.</p>",
        events=_events(bundle["events"]),
        tree=_fields(tree),
        bundle=json.dumps(bundle).replace("<", "\\u003c"),  # nothing in it ends the element
    )


def _fields(fields: Mapping[str, Any]) -> str:
    named = ((name.replace("_", " "), value) for name, value in fields.items())
    rows = (f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in named)
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _events(events: Iterable[Mapping[str, Any]]) -> str:
    rows = (
        f"<tr><td>{one['sequence']}</td><td>{_moment(one['at_us'])}</td><td>{_text(one['kind'])}</td>"
        f"<td><code>{_text(one['details'])}</code></td></tr>"
        for one in events
    )
    head = "<thead><tr><th>event</th><th>when</th><th>what</th><th>details</th></tr></thead>"
    return f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"


def _text(value: object) -> str:
    return html.escape(str(value))


def _moment(at_us: int) -> str:
    return rfc3339(at_us, timespec="seconds")
