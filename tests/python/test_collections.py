# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from conftest import ALL

import silurus


def test_a_collection_has_entries_of_its_own(db):
    roads = db.create("roads")
    roads.insert(7, [0, 0, 1, 1])
    assert roads.range(ALL).tolist() == [7]
    assert db.range(ALL).tolist() == []
    assert db["roads"].range(ALL).tolist() == [7]
    assert len(roads) == 1 and len(db) == 0
    assert "1 entries" in repr(roads)


def test_collections_are_listed(db):
    db.create("roads").insert(7, [0, 0, 1, 1])
    assert [(one.name, one.dimensions, one.entries) for one in db.collections()] == [("default", 2, 0), ("roads", 2, 1)]


def test_one_that_is_not_there_is_an_error(db):
    with pytest.raises(silurus.errors.NoCollectionError, match="rivers"):
        db["rivers"]


def test_one_that_is_dropped_is_an_error(db):
    roads = db.create("roads")
    db.drop("roads")
    with pytest.raises(silurus.errors.NoCollectionError):
        roads.range(ALL)


def test_a_replacement_takes_the_name_and_the_readers(db):
    roads = db.create("roads")
    new = db.create("new")
    new.load([1, 2], [[0, 0], [1, 1]])
    db.rename("new", "roads", replace=True)
    assert sorted(roads.range(ALL).tolist()) == [1, 2]
    db.clear("roads")
    assert roads.count(ALL) == 0


def test_joins_find_pairs_that_meet(db):
    roads, rivers = db.create("roads"), db.create("rivers")
    roads.load([1, 2], [[0, 0, 1, 1], [5, 5, 6, 6]])
    rivers.load([7, 8], [[1, 1, 2, 2], [3, 3, 4, 4]])
    assert roads.join("rivers").tolist() == [[1, 7]]
    assert sorted(roads.join("rivers", within_distance=1.5).tolist()) == [[1, 7], [2, 8]]
    empty = db.join("rivers")
    assert empty.shape == (0, 2) and empty.dtype == np.uint64
    with pytest.raises(silurus.errors.NotFoundError, match="lakes"):
        roads.join("lakes")


def test_entries_of_a_keyed_one_are_named_by_their_ids(db):
    buses = db.create("buses", keyed=True)
    first, replaced = buses.put(7, [1, 2, 1, 2])
    assert not replaced
    second, replaced = buses.put(7, [3, 4, 5, 6])
    assert replaced and second > first
    got = buses.get([9, 7])
    assert got.ids.tolist() == [7] and got.missing.tolist() == [9]
    assert got.boxes.tolist() == [[3, 4, 5, 6]] and got.versions.tolist() == [second]
    with pytest.raises(silurus.errors.ConflictError):
        buses.put(7, [0, 0, 0, 0], if_version=first)
    third = buses.update(7, [0, 0, 1, 1], if_version=second)
    assert buses.get([7]).versions.tolist() == [third]
    with pytest.raises(silurus.errors.ConflictError):
        buses.insert(7, [0, 0, 1, 1])
    with pytest.raises(silurus.errors.NotFoundError):
        buses.update(8, [0, 0, 1, 1])
    buses.erase(7)
    with pytest.raises(silurus.errors.NotFoundError):
        buses.erase(7)
    assert len(buses.get([7]).ids) == 0


def test_many_entries_of_a_keyed_one(db):
    buses = db.create("buses", keyed=True)
    ids = np.arange(5000, dtype=np.uint64)
    points = np.random.default_rng(1).random((5000, 2))
    assert buses.put_v(ids, points).failed == {}
    moved = points + 1
    assert buses.put_v(ids[:2500], moved[:2500]).failed == {}
    got = buses.get(ids[::-1])
    assert got.ids.tolist() == ids[::-1].tolist()
    expected = np.vstack([moved[:2500], points[2500:]])[::-1]
    assert np.array_equal(got.boxes, np.hstack([expected, expected]))
    assert sorted(buses.range([0, 0, 3, 3])) == ids.tolist()
    assert buses.erase_v([1, 2, 9999]).failed == {2: "not-found"}
    assert buses.get([1, 2, 3]).missing.tolist() == [1, 2]


def test_one_that_is_not_keyed_has_no_ids(db):
    with pytest.raises(silurus.errors.UnsupportedError):
        db.get([1])
    with pytest.raises(silurus.errors.UnsupportedError):
        db.put(1, [0, 0, 1, 1])
