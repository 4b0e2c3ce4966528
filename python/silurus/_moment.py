# SPDX-License-Identifier: Apache-2.0

"""Moments in the life of a tree."""
from __future__ import annotations

import datetime
import re
import time
from typing import Union

from . import _silurus

Moment = Union[int, str, datetime.datetime]
_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def to_moment(when: Moment) -> int:
    """The library's number of a moment.

    An int is the number of a version; a datetime is a time of day (without a time zone: local time); a str is how long
    ago: "-30s", "-1.5h" (ms, s, min or m, h, d).
    """
    if isinstance(when, bool):
        raise TypeError("a moment is an int, a datetime or a str")
    if isinstance(when, int):
        if when < 1:
            raise ValueError("versions begin with 1")
        return when
    if isinstance(when, datetime.datetime):
        return _silurus.moment_at(int(when.timestamp() * 1_000_000) * 1000)
    if isinstance(when, str):
        ago = re.fullmatch(r"-(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)", when.strip())
        if ago is None:
            raise ValueError(f'how long ago is written as "-30s" or "-1.5h", not "{when}"')
        return _silurus.moment_at(time.time_ns() - int(float(ago[1]) * _UNITS[ago[2]] * 1e9))
    raise TypeError("a moment is an int, a datetime or a str")
