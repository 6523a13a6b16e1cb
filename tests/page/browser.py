"""A headless Chromium, spoken to by its DevTools protocol over two pipes: nothing else is needed to drive it."""

import base64
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_S = 60.0
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-default-apps"),
    *("--disable-extensions", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "about:blank"),
)
VIRTUAL_KEYS = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "End": 35,
    "Home": 36,
    "ArrowRight": 39,
}
CONDITION = """new Promise((done) => {
  const look = () => {
    let is = false;
    try { is = Boolean(%s); } catch {}
    if (is) done(true); else setTimeout(look, 20);
  };
  look();
})"""


class Browser:
    """A browser with one tab. `problems` are its console's errors, `requests` the addresses that it asked for."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        line = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, PROGRAM, f"--user-data-dir={profile}", *FLAGS],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked, self._ended = 0, False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._asked += 1
        number = self._asked
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._answers or self._ended, PATIENCE_S), method
            answer = self._answers.pop(number, {"error": "the browser has ended"})
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        """Open a page; wait for conditions before anything is read of it."""
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        assert self.value(CONDITION % condition), condition

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            code = VIRTUAL_KEYS.get(key, 0)
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            one = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **one)
            self.call("Input.dispatchKeyEvent", type="keyUp", **one)

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, ratio: float = 1) -> None:
        """Have a screen of this size and scheme of colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=False
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self) -> bytes:
        """A PNG of what the screen shows."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End the browser."""
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._reader.join(PATIENCE_S)
            os.close(self._to)
            os.close(self._from)

    def _read(self) -> None:
        pending = b""
        while piece := os.read(self._from, 1 << 16):
            *whole, pending = (pending + piece).split(b"\0")
            for message in whole:
                self._take(json.loads(message))
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        about, details = message.get("method", ""), message.get("params", {})
        with self._changed:
            if "id" in message:
                self._answers[message["id"]] = message
                self._changed.notify_all()
            elif about == "Network.requestWillBeSent":
                self.requests.append(details["request"]["url"])
            elif about == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(details["exceptionDetails"]))
            elif about == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
                self.problems.append(f"{details['entry']['text']} {details['entry'].get('url', '')}")
            elif about == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
                self.problems.append(json.dumps(details["args"]))


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A browser under way."""
    one = Browser(profile)
    try:
        yield one
    finally:
        one.close()
