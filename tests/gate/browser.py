# SPDX-License-Identifier: Apache-2.0

"""Chromium without a screen, spoken to over a pipe (its DevTools protocol): no driver and no package for Python is needed."""
import base64
import collections
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

import processes


def find_browser():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def high(fd):
    """A descriptor beyond those that the browser expects."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD, 20)
    os.close(fd)
    return moved


class Browser:
    """One page of a browser. Host names other than this machine's do not resolve, so that a request to another host fails,
    and is listed."""

    def __init__(self, folder):
        commands, self.commands = map(high, os.pipe())
        self.answers, answers = map(high, os.pipe())
        self.said = []      # texts on the console, exceptions, refusals by the page's policy
        self.requested = []  # addresses
        self.failed = []    # addresses whose request failed, and why
        self.unread = b""
        self.events = collections.deque()
        self.last = 0
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "browser", find_browser(), "--headless=new", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={folder}/browser",
             "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank"],
            pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        self.session = None
        page = next(target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def receive(self, seconds):
        """The next message; none: there is none within that time."""
        end = time.monotonic() + seconds
        while b"\0" not in self.unread:
            if not select.select([self.answers], [], [], max(0, end - time.monotonic()))[0]:
                return None
            data = os.read(self.answers, 1 << 20)
            if not data:
                raise EOFError("the browser has ended")
            self.unread += data
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def call(self, method, seconds=60, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.commands, data):]
        end = time.monotonic() + seconds
        while True:
            answer = self.receive(end - time.monotonic())
            if answer is None:
                raise TimeoutError(method)
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def note(self, event):
        method, about = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(value.get("value", value.get("description"))) for value in about["args"]))
        elif method == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            self.said.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.said.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requested.append(about["request"]["url"])
        elif method == "Network.loadingFailed" and not about.get("canceled"):
            self.failed.append(about["errorText"])

    def run(self, script):
        """The value of an expression in the page, which may be a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, script, what, seconds=60):
        """The value of an expression as soon as it is true."""
        try:
            return processes.wait_for(lambda: self.run(script), f"{what}: {script}", seconds)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; the page says: {self.run('document.body.innerText')}") from None

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete'", "the page does not load")

    def screen(self, wide, high, ratio=1, dark=False, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=wide, height=high, deviceScaleFactor=ratio, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path, whole=False):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def key(self, key):
        text = key if len(key) == 1 else ("\r" if key == "Enter" else None)
        codes = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        about = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def drag(self, start, end, shift=False):
        """Presses at one place, moves, lets go at another; modifiers: 8 is Shift."""
        about = {"button": "left", "modifiers": 8 if shift else 0}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], clickCount=1, **about)
        if start != end:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], **about)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], clickCount=1, **about)

    def close(self):
        try:
            self.session = None
            self.call("Browser.close", seconds=10)
        except (EOFError, TimeoutError, OSError, RuntimeError):
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.commands)
        os.close(self.answers)
