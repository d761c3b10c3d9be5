"""Headless Chromium, told what to do over pipes, and what happened in a page: errors, violations, requests."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys

import pytest

COMMAND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(COMMAND is None, reason="there is no chromium; apt-get install chromium brings it")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND"),
]
LAUNCH = """if True:
    import fcntl, os, sys
    ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]  # out of the way of 3 and 4
    for end, number in zip(ends, (3, 4)):
        os.dup2(end, number)
    os.execv(sys.argv[3], sys.argv[3:])
"""
LONGEST_S = 60


class Browser:
    """A process of Chromium with one page after the other."""

    def __init__(self, profile):
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", LAUNCH, str(commands), str(answers), COMMAND, *FLAGS),
                *(f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"),
            ],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._number = 0
        self.events = []

    def close(self):
        try:
            self.ask("Browser.close")
            self._process.wait(LONGEST_S)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            os.close(self._write)
            os.close(self._read)

    def ask(self, method, session=None, **parameters):
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def wait_for(self, method):
        while not any(event["method"] == method for event in self.events):
            self._next()

    def _next(self):
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], LONGEST_S)[0], "chromium does not answer"
            read = os.read(self._read, 1 << 20)
            assert read, "chromium has ended"
            self._buffer += read
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, path, *, width=1200, dark=False, script=True):
        """Opens a file as a page and returns it when it is loaded."""
        self.events = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, target, self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        page.ask("Emulation.setScriptExecutionDisabled", value=not script)
        page.ask("Page.navigate", url=path.as_uri())
        self.wait_for("Page.loadEventFired")
        return page


class Page:
    """A page that is open."""

    def __init__(self, browser, target, session):
        self._browser, self._target, self._session = browser, target, session

    def ask(self, method, **parameters):
        return self._browser.ask(method, self._session, **parameters)

    def run(self, expression):
        """Returns the value of an expression of JavaScript."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def mouse(self, x, y, kind="mouseMoved", **more):
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def complaints(self):
        """Returns errors, warnings and what a policy forbids, of script and browser."""
        self.run("0")
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event["params"] for event in self._browser.events if event["method"] in kinds]

    def requests(self):
        """Returns the addresses that were asked for."""
        sent = [event for event in self._browser.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def picture(self, path):
        """Writes a PNG of the whole page."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        self._browser.ask("Target.closeTarget", targetId=self._target)
