# SPDX-License-Identifier: Apache-2.0

"""What goes wrong, as exceptions.

Every error of the library is a SilurusError, with the library's code in `code` and its name in `name`. Where Python has
an exception of the same meaning (ValueError, LookupError, TimeoutError ...), it is one of these, too.
"""
from __future__ import annotations

from typing import Dict, Type


class SilurusError(Exception):
    """An error of the library. `code`: its number, which never changes; `name`: "not-found"."""

    code: int = 0
    name: str = "unknown"


class InvalidArgumentError(SilurusError, ValueError):
    """The call asked for something that makes no sense: a NaN, a box with its edges the wrong way round, k = 0."""

    code, name = 1, "invalid-argument"


class NotFoundError(SilurusError, LookupError):
    """There is no such entry, file, version or server."""

    code, name = 2, "not-found"


class OutOfMemoryError(SilurusError, MemoryError):
    """The memory budget of the server's tree is used up."""

    code, name = 3, "out-of-memory"


class UnavailableError(SilurusError, ConnectionError):
    """The server cannot be reached or is shutting down; trying again later may help."""

    code, name = 4, "unavailable"


class ConnectionLostError(SilurusError, ConnectionError):
    """The server went away, and no other was found in time."""

    code, name = 5, "connection-lost"


class DeadlineExceededError(SilurusError, TimeoutError):
    """There was no answer in time."""

    code, name = 6, "deadline-exceeded"


class ProtocolError(SilurusError):
    """A server or a file sent bytes that break its format."""

    code, name = 7, "protocol"


class UnsupportedError(SilurusError, NotImplementedError):
    """This transport, build or server cannot do that."""

    code, name = 8, "unsupported"


class IoError(SilurusError, OSError):
    """The operating system refused."""

    code, name = 9, "io"


class NotAllowedError(SilurusError, PermissionError):
    """The server does not allow it (its option --access)."""

    code, name = 10, "permission"


class TooLargeError(SilurusError):
    """Over a stated limit."""

    code, name = 11, "too-large"


class ConflictError(SilurusError):
    """The state forbids it now: a bulk load of a tree that is not empty."""

    code, name = 12, "conflict"


class NotPrimaryError(SilurusError):
    """Nothing happened: this member of the group may not do it, another one may."""

    code, name = 13, "not-primary"


class InDoubtError(SilurusError):
    """A write was sent, and whether it happened could not be learnt in time."""

    code, name = 14, "in-doubt"


class MovedError(SilurusError):
    """Nothing happened: what this server holds is moving, or has moved, to others."""

    code, name = 15, "moved"


class NoSpaceError(SilurusError):
    """Nothing happened: a disk, a quota or a limit of file sizes is full."""

    code, name = 16, "no-space"


class NoCollectionError(SilurusError):
    """Nothing happened: there is no such collection, or not any more."""

    code, name = 17, "no-collection"


_BY_CODE: Dict[int, Type[SilurusError]] = {
    one.code: one
    for one in (
        InvalidArgumentError,
        NotFoundError,
        OutOfMemoryError,
        UnavailableError,
        ConnectionLostError,
        DeadlineExceededError,
        ProtocolError,
        UnsupportedError,
        IoError,
        NotAllowedError,
        TooLargeError,
        ConflictError,
        NotPrimaryError,
        InDoubtError,
        MovedError,
        NoSpaceError,
        NoCollectionError,
    )
}


def error_of(code: int, message: str) -> SilurusError:
    """The exception of a code of the library; the extension module calls it."""
    made = _BY_CODE.get(code, SilurusError)(message)
    made.code = code
    return made


def name_of(code: int) -> str:
    """Name of a code: "not-found"."""
    return _BY_CODE.get(code, SilurusError).name
