# SPDX-License-Identifier: Apache-2.0

"""A server and a gate for tests: real processes, in a folder of their own."""
import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SKIPPED = 77


def skip(why):
    print("skipped:", why)
    sys.exit(SKIPPED)


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)  # pacing: until the condition holds
    return value


class Pair:
    """A server with the gate before it."""

    def __init__(self, programs, folder, server_options=()):
        self.programs = programs
        self.folder = folder
        self.url = f"shm://{folder}/socket"
        self.options = ["--memory", "512M", "--log-level", "error", *server_options]
        self.processes = []
        self.start_server()
        ready = folder / "gate"
        self.start("silurus-gate", "--server", self.url, "--listen", "http://127.0.0.1:0", "--ready-file", ready)
        wait_for(ready.exists, "the gate does not start")
        self.base = ready.read_text().strip()

    def start(self, program, *arguments):
        process = subprocess.Popen([self.programs / program, *map(str, arguments)], stdout=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def start_server(self):
        ready = self.folder / "server"
        self.server = self.start("silurus-server", "--listen", self.url, "--ready-file", ready, *self.options)
        wait_for(ready.exists, "the server does not start")

    def tool(self, *arguments):
        done = subprocess.run([self.programs / "silurus", "--server", self.url, *map(str, arguments)], check=True, capture_output=True,
                              text=True)
        return done.stdout

    def get(self, path):
        with urllib.request.urlopen(path if path.startswith("http") else self.base + path) as answer:
            return answer.read()

    def json(self, path):
        return json.loads(self.get(path))

    def status(self, path):
        """Status, header fields and body, of an error too."""
        try:
            with urllib.request.urlopen(self.base + path) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(30)


@contextlib.contextmanager
def running(programs, *server_options):
    with tempfile.TemporaryDirectory() as name:
        pair = Pair(pathlib.Path(programs), pathlib.Path(name), server_options)
        try:
            yield pair
        finally:
            pair.stop()
