# SPDX-License-Identifier: Apache-2.0

import gc
import threading

import numpy as np
import pytest
from conftest import brute_force

import silurus


def test_a_tree_finds_what_brute_force_finds(boxes, seed):
    ids, rows = boxes
    tree = silurus.LocalTree()
    tree.load(ids[:1000], rows[:1000])
    tree.insert_v(ids[1000:], rows[1000:])
    corners = np.random.default_rng(seed + 1).random((700, 2))  # several batches
    found, offsets = tree.range_v(corners, corners + 0.05)
    for i, corner in enumerate(corners):
        expected = brute_force(rows, [*corner, *(corner + 0.05)]).tolist()
        assert sorted(found[offsets[i] : offsets[i + 1]].tolist()) == expected


def test_a_tree_finds_neighbours(boxes, seed):
    tree = silurus.LocalTree()
    tree.load(*boxes)
    points = np.random.default_rng(seed + 2).random((300, 2))
    _, distances = tree.nearest_v(points, k=3)
    gaps = np.maximum(0, np.maximum(boxes[1][None, :, :2] - points[:, None], points[:, None] - boxes[1][None, :, 2:]))
    expected = np.sort(np.sqrt((gaps**2).sum(axis=2)), axis=1)[:, :3]
    assert np.allclose(distances, expected, rtol=1e-14)


def test_a_tree_of_three_dimensions_works():
    tree = silurus.LocalTree(3)
    tree.load([1, 2], [[0, 0, 0, 1, 1, 1], [5, 5, 5, 6, 6, 6]])
    assert tree.range([0, 0, 0, 2, 2, 2]).tolist() == [1] and tree.bounds == [0, 0, 0, 6, 6, 6]


def test_threads_may_write_and_search_at_once(boxes):
    tree = silurus.LocalTree()
    ids, rows = boxes

    def write():
        for i in range(0, len(ids), 50):
            tree.insert_v(ids[i : i + 50], rows[i : i + 50])

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    while writer.is_alive():
        counts.append(len(tree.range_v([[-1, -1]], [[9, 9]])[0]))
    writer.join()
    assert counts == sorted(counts) and len(tree) == len(ids)


def test_rows_are_inserted_all_or_none_and_the_bad_one_is_named():
    tree = silurus.LocalTree()
    tree.insert_v([7], [[0, 0, 1, 1]])
    with pytest.raises(silurus.errors.InvalidArgumentError, match="row 2"):
        tree.insert_v([7, 8, 9, 10], [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, np.nan, 5], [6, 6, 7, 7]])
    assert tree.range([-9, -9, 9, 9]).tolist() == [7] and len(tree) == 1


def test_the_interpreter_goes_on_while_a_search_waits_for_a_writer(boxes):
    tree = silurus.LocalTree()
    ids, rows = np.tile(boxes[0], 100), np.tile(boxes[1], (100, 1))
    ended = threading.Event()

    def write():
        tree.insert_v(ids, rows)
        ended.set()

    threads = [threading.Thread(target=write)] + [threading.Thread(target=tree.__len__) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert ended.wait(600)
    for thread in threads:
        thread.join()
    assert len(tree) == len(ids)


def test_answers_outlive_their_tree():
    tree = silurus.LocalTree()
    tree.load(np.arange(1000), np.random.default_rng(1).random((1000, 2)))
    found = tree.range([-1, -1, 2, 2])
    del tree
    gc.collect()
    assert sorted(found.tolist()) == list(range(1000))


def test_arrays_are_taken_without_a_copy():
    boxes = np.zeros((10, 4))
    assert silurus._arrays.to_boxes(boxes, 2) is boxes
    ids = np.arange(10, dtype=np.uint64)
    assert silurus._arrays.to_ids(ids) is ids


def test_repr_tells_count_and_bounds():
    tree = silurus.LocalTree()
    tree.insert_v([1], [[0, 0, 1, 2]])
    assert repr(tree) == "<silurus.LocalTree: 1 entries, bounds [0, 0, 1, 2], version 2>"


def test_notebooks_see_the_boxes_of_leaves(boxes):
    tree = silurus.LocalTree()
    tree.load(*boxes)
    assert tree._repr_html_().count("<rect") == len(tree._core.leaves()) > 10


def test_other_dimensions_are_refused():
    with pytest.raises(ValueError):
        silurus.LocalTree(4)
