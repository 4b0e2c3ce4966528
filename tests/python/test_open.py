# SPDX-License-Identifier: Apache-2.0

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import silurus


def server_folder(client):
    return pathlib.Path(client.url.removeprefix("shm://")).parent


def wait_until(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "waited for 30 s"
        time.sleep(0.01)  # pacing: the condition decides


def test_data_in_a_directory_is_there_again(tmp_path):
    with silurus.open(tmp_path / "data") as db:
        db.insert(7, [0, 0, 1, 1])
    with silurus.open(tmp_path / "data") as db:
        assert db.range([0, 0, 1, 1]).tolist() == [7]


def test_close_ends_the_server_and_removes_its_files():
    db = silurus.open()
    folder = server_folder(db)
    server = int((folder / "pid").read_text())
    db.close()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_the_server_ends_with_a_process_that_crashes():
    program = (
        "import signal, silurus\n"
        "db = silurus.open()\n"
        "print(db.url, flush=True)\n"
        "signal.pause()\n"  # until it is killed
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        url = child.stdout.readline().strip()
        folder = pathlib.Path(url.removeprefix("shm://")).parent
        server = int((folder / "pid").read_text())
        child.send_signal(signal.SIGKILL)
    wait_until(lambda: not folder.exists())
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def fork_a_child_that_waits():
    """A child that lives until the other end of a pipe is closed: its pid, and that end."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    return child, write_end


def test_close_does_not_wait_for_a_child_of_fork():
    db = silurus.open()
    folder = server_folder(db)
    child, pipe = fork_a_child_that_waits()
    db.close()
    assert not folder.exists()
    os.close(pipe)
    assert os.waitpid(child, 0)[1] == 0


def test_the_server_ends_with_a_process_that_crashes_and_leaves_a_child():
    program = (
        "import os, signal, silurus\n"
        "db = silurus.open()\n"
        "if os.fork() == 0:\n"
        "    os.close(1)\n"
        "    signal.pause()\n"  # until it is killed
        "    os._exit(0)\n"
        "print(db.url, flush=True)\n"
        "signal.pause()\n"  # until it is killed
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        folder = pathlib.Path(parent.stdout.readline().strip().removeprefix("shm://")).parent
        parent.send_signal(signal.SIGKILL)
    try:
        wait_until(lambda: not folder.exists())
    finally:
        os.killpg(parent.pid, signal.SIGKILL)  # the child


def test_a_child_of_fork_that_ends_or_closes_leaves_the_server(db):
    child = os.fork()
    if child == 0:
        try:
            db._server.close()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert db.count([0, 0, 1, 1]) == 0


def test_a_server_that_does_not_end_is_killed(tmp_path, monkeypatch):
    stubborn = tmp_path / "server"
    stubborn.write_text(
        "#!/bin/sh\ntrap '' TERM\nwhile [ $# -gt 0 ]; do [ \"$1\" = --ready-file ] && echo >\"$2\"; shift; done\n"
        "while :; do sleep 0.01; done\n"  # pacing: until it is killed
    )
    stubborn.chmod(0o755)
    monkeypatch.setenv("SILURUS_SERVER_PROGRAM", str(stubborn))
    monkeypatch.setattr(sys.modules["silurus._open"], "_GRACE_SECONDS", 0.1)
    server = sys.modules["silurus._open"]._Server([], timeout=60)
    pid = int((server._folder / "pid").read_text())
    server.close()
    assert not server._folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_two_servers_do_not_meet():
    with silurus.open() as one, silurus.open() as other:
        one.insert(7, [0, 0, 1, 1])
        assert len(one) == 1 and len(other) == 0


def test_a_server_that_cannot_start_says_why():
    with pytest.raises(silurus.errors.UnavailableError, match="nonsense"):
        silurus.open(arguments=["--nonsense"])


def test_a_child_of_fork_has_to_connect_a_client_of_its_own(db):
    child = os.fork()
    if child == 0:
        try:
            db.count([0, 0, 1, 1])
        except silurus.errors.InvalidArgumentError:
            os._exit(17)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert db.count([0, 0, 1, 1]) == 0
