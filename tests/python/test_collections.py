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
