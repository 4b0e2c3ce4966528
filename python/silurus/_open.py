# SPDX-License-Identifier: Apache-2.0

"""A server that is started beside the process."""
from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import signal
import tempfile
import time
import weakref
from typing import Any, List, Optional, Set, Union

from . import _silurus, errors
from ._client import Client, connect

#: How long a server may take to end before it is killed.
_GRACE_SECONDS = 60.0

# Starts the server and waits for a line on standard input, or for its end, which is the end of the process that holds
# the other end of the pipe, however it comes; then ends the server and removes its socket. A server that does not end
# is killed after a number of fiftieths of a second. A server that ends by itself is told by a file.
_KEEPER = r"""
folder=$1; turns=$2; shift 2
exec 3<&0 </dev/null
"$@" 3<&- >"$folder/log" 2>&1 &
server=$!
echo "$server" >"$folder/pid"
{
  read -r _ <&3
  [ -e "$folder/ended" ] || kill "$server" 2>/dev/null
  while [ "$turns" -gt 0 ] && [ ! -e "$folder/ended" ] && kill -0 "$server" 2>/dev/null; do
    sleep 0.02
    turns=$((turns - 1))
  done
  [ "$turns" -gt 0 ] || kill -9 "$server" 2>/dev/null
} &
exec 3<&-
wait "$server"
echo $? >"$folder/ended"
wait
rm -rf "$folder"
"""

#: Those of the servers of this process.
_keepers: Set[subprocess.Popen[bytes]] = set()


def _leave_to_parent() -> None:
    """In a child of fork(): the servers are the parent's, and end with it also while the child lives."""
    for keeper in _keepers:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.returncode = 0  # it is not a child of this process
    _keepers.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


def _program() -> str:
    """The server's program: SILURUS_SERVER_PROGRAM; the one that came with the package, or was built with it; PATH."""
    named = os.environ.get("SILURUS_SERVER_PROGRAM")
    if named:
        return named
    here = pathlib.Path(__file__).parent
    for place in (here / "bin" / "silurus-server", here.parent.parent / "bin" / "silurus-server"):
        if os.access(place, os.X_OK):
            return str(place)
    found = shutil.which("silurus-server")
    if found is None:
        raise errors.NotFoundError(
            "there is no silurus-server on the path: install the package silurus-server, or say where it is in "
            "SILURUS_SERVER_PROGRAM"
        )
    return found


class _Server:
    """A server in a private directory, which ends with this process."""

    def __init__(self, arguments: List[str], timeout: float) -> None:
        program = _program()
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="silurus-"))
        self.url = f"shm://{self._folder}/socket"
        ready = self._folder / "ready"
        command = [
            program,
            "--listen",
            self.url,
            "--ready-file",
            str(ready),
            "--log-level",
            "warning",
            *arguments,
        ]
        # A session of its own, so that an interrupt from the terminal reaches the program alone.
        keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "silurus-keeper", str(self._folder), str(int(_GRACE_SECONDS * 50)), *command],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _keepers.add(keeper)
        self.close = weakref.finalize(self, _end, keeper, self._folder)
        until = time.monotonic() + timeout
        while not ready.exists():
            if (self._folder / "ended").exists():
                log = (self._folder / "log").read_text(errors="replace").strip()
                self.close()
                raise errors.UnavailableError(f"silurus-server did not start: {log}")
            if time.monotonic() > until:
                self.close()
                raise errors.DeadlineExceededError(f"silurus-server was not ready after {timeout:g} s")
            time.sleep(0.002)


def _end(keeper: subprocess.Popen[bytes], folder: pathlib.Path) -> None:
    if keeper not in _keepers:
        return  # the parent's
    _keepers.discard(keeper)
    assert keeper.stdin is not None
    try:
        # The end of the pipe alone is not seen while a child, of a library's fork() perhaps, holds it as well.
        keeper.stdin.write(b"\n")
    except OSError:
        pass  # the keeper has been killed
    keeper.stdin.close()
    try:
        keeper.wait(_GRACE_SECONDS + 10)
    except subprocess.TimeoutExpired:
        os.killpg(keeper.pid, signal.SIGKILL)  # its session: the server, too
        keeper.wait()
    shutil.rmtree(folder, ignore_errors=True)


def open(
    path: Union[str, os.PathLike[str], None] = None,
    dimensions: int = 2,
    *,
    memory: Optional[str] = None,
    arguments: Optional[List[str]] = None,
    timeout: float = 60.0,
    **options: Any,
) -> Client:
    """Starts a server beside this process and connects to it: for notebooks and programs of their own data.

    path: the data directory, which is made if there is none; one server at a time can have it. None: in memory alone,
    gone when it ends. The server listens on a private socket, and ends with the client (close()) or with this process,
    also when that crashes.

    memory: what the tree may take, "16G"; arguments: other options of silurus-server, ["--retain", "10min"]; timeout:
    seconds that it may take to start; options: those of connect().
    """
    given = ["--dimensions", str(dimensions)]
    if path is not None:
        given += ["--data", os.path.abspath(path)]
    if memory is not None:
        given += ["--memory", memory]
    server = _Server(given + list(arguments or []), timeout)
    try:
        client = connect(server.url, dimensions, **options)
    except BaseException:
        server.close()
        raise
    client._server = server
    return client
