# SPDX-License-Identifier: Apache-2.0

"""Calls keep nothing. LEAK_CALLS says how many of each kind are made; 1000000 is what a release is tried with."""
import gc
import os
import tracemalloc

import pytest

import silurus
from silurus.rtree import index

CALLS = int(os.environ.get("LEAK_CALLS", "20000"))
BYTES_A_CALL = 1.0  # less than any object has; what malloc keeps in hand is in the fixed part
FIXED_BYTES = 2 << 20


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def assert_keeps_nothing(call, calls):
    for i in range(max(calls // 10, 1000)):
        call(i)
    gc.collect()
    resident = resident_bytes()
    tracemalloc.start(1)
    before = tracemalloc.get_traced_memory()[0]
    for i in range(calls):
        call(i)
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert traced < BYTES_A_CALL * calls + 20_000
    assert resident_bytes() - resident < BYTES_A_CALL * calls + FIXED_BYTES


def fail(call, error):
    with pytest.raises(error):
        call()


def test_searches_of_an_index_keep_nothing():
    idx = index.Index()
    for i in range(100):
        idx.insert(i, (i, i, i + 1, i + 1), obj=i)
    assert_keeps_nothing(lambda i: list(idx.intersection((0, 0, 20, 20))), CALLS)
    assert_keeps_nothing(lambda i: list(idx.nearest((i % 100, 0), 3, objects=True)), CALLS // 5)


def test_writes_of_an_index_keep_nothing():
    idx = index.Index()

    def call(i):
        idx.insert(i, (i % 7, 0, 9, 9), obj="x")
        idx.count((0, 0, 1, 1))
        idx.delete(i, (i % 7, 0, 9, 9))

    assert_keeps_nothing(call, CALLS)


def test_indexes_keep_nothing_when_they_go():
    assert_keeps_nothing(lambda i: index.Index().insert(1, (0, 0, 1, 1)), CALLS // 20)


def test_errors_keep_nothing():
    idx = index.Index()
    assert_keeps_nothing(lambda i: fail(lambda: idx.count((1, 1, 0, 0)), Exception), CALLS // 10)


def test_arrays_keep_nothing():
    tree = silurus.LocalTree()
    tree.load(range(5000), [[i, i] for i in range(5000)])
    assert_keeps_nothing(lambda i: tree.range([0, 0, 4000, 4000]), CALLS // 10)
    assert_keeps_nothing(lambda i: tree.range_v([[0, 0]] * 3, [[900, 900]] * 3), CALLS // 10)


def test_calls_of_a_client_keep_nothing(db):
    db.insert_v(range(200), [[i, i] for i in range(200)])
    assert_keeps_nothing(lambda i: db.range([0, 0, 100, 100]), CALLS // 5)
    assert_keeps_nothing(lambda i: db.nearest_v([[0, 0], [5, 5]], k=70), CALLS // 10)
    assert_keeps_nothing(lambda i: fail(lambda: db.range([0, 0, float("nan"), 0]), ValueError), CALLS // 10)
