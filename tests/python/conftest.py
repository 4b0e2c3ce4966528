# SPDX-License-Identifier: Apache-2.0

"""What the tests share: a server for each test, and boxes."""
import random

import numpy as np
import pytest

import silurus

FAR = float(np.finfo(np.float64).max)
ALL = [-FAR, -FAR, FAR, FAR]


@pytest.fixture
def db():
    """A client of an empty server in two dimensions, which keeps versions."""
    with silurus.open(memory="64M", arguments=["--retain", "10min"]) as client:
        yield client


@pytest.fixture
def seed():
    """The seed of a random test; pytest shows it where the test fails."""
    chosen = random.randrange(2**32)
    print("seed", chosen)
    return chosen


@pytest.fixture
def boxes(seed):
    """Ids and boxes of 2,000 entries in the unit square."""
    made = np.random.default_rng(seed)
    low = made.random((2000, 2))
    return np.arange(2000, dtype=np.uint64), np.hstack([low, low + made.random((2000, 2)) * 0.02])


def brute_force(boxes, window):
    """Which of the boxes intersect a window."""
    low, high = np.array(window[:2]), np.array(window[2:])
    return np.flatnonzero(((boxes[:, :2] <= high) & (boxes[:, 2:] >= low)).all(axis=1))
