"""A headless Chromium, spoken to over a pipe in its own protocol (Chrome DevTools Protocol): no driver is needed.

Chromium reads commands from file descriptor 3 and writes answers and events to 4, as JSON that a NUL ends
(`--remote-debugging-pipe`).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

__all__ = ["Browser", "find_browser"]

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
_START = """if True:
    import os, sys
    pipes = [os.dup(int(number)) for number in sys.argv[1:3]]
    for pipe, number in zip(pipes, (3, 4)):
        os.dup2(pipe, number)
        os.set_inheritable(number, True)
    os.execv(sys.argv[3], sys.argv[3:])
"""  # moves the pipes to 3 and 4, whatever numbers they have here
_PATIENCE_S = 60  # a busy machine is slow, a hanging page is not awaited for ever


def find_browser() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page in a browser without a window.

    Attributes:
        complaints: every error, warning and violated policy of the page so far.
        requests: every address that the page asked for so far.
    """

    def __init__(self, program: str, profile: Path, *, width: int = 1280, height: int = 900) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        commands_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()
        words = [
            "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _START, str(commands_out), str(answers_in), program, *words],
            pass_fds=(commands_out, answers_in),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(answers_in)
        self._rest = b""
        self._last = 0
        self._session: str | None = None
        try:
            self._open_page(width, height)
        except BaseException:
            self.__exit__()
            raise

    def _open_page(self, width: int, height: int) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=_PATIENCE_S)
        os.close(self._commands)
        os.close(self._answers)

    def open(self, page: Path, *, dark: bool = False, address: str = "") -> None:
        """Load a file and wait until it is drawn; `address` is what stands behind its name, from the # on."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url="about:blank")  # so that no page before is taken for this one
        self.wait("location.href === 'about:blank'")
        self.requests.clear()
        self.complaints.clear()
        self._call("Page.navigate", url=page.resolve().as_uri() + address)
        self.wait("document.documentElement?.dataset.ready === 'yes'")

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, in pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + _PATIENCE_S
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise AssertionError(f"it never came: {expression}; {self.complaints}")

    def send(self, *acts: dict[str, Any]) -> None:
        """Send input events."""
        for act in acts:
            method = "Input.dispatchKeyEvent" if "key" in act else "Input.dispatchMouseEvent"
            self._call(method, **act)

    def do(self, *acts: dict[str, Any]) -> None:
        """Send input events and wait until the page was drawn anew."""
        before = self.evaluate("document.documentElement.dataset.drawn")
        self.send(*acts)
        self.wait(f"document.documentElement.dataset.drawn > {before}")

    def type(self, text: str) -> None:
        """Type into what has the focus, and wait until the page was drawn anew."""
        before = self.evaluate("document.documentElement.dataset.drawn")
        self._call("Input.insertText", text=text)
        self.wait(f"document.documentElement.dataset.drawn > {before}")

    def picture(self, target: Path) -> None:
        """Save what the window shows as a PNG."""
        image = self._call("Page.captureScreenshot", format="png")["data"]
        target.write_bytes(base64.b64decode(image))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != self._last:
                self._hear(answer)
            elif "error" in answer:
                raise AssertionError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], _PATIENCE_S)[0]:
                raise AssertionError("the browser says nothing")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise AssertionError("the browser ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _hear(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(str(details.get("exception", {}).get("description", details["text"])))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(" ".join(str(each.get("value", each)) for each in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
