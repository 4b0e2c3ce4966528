# SPDX-License-Identifier: Apache-2.0

import datetime
import threading

import numpy as np
import pytest
from conftest import ALL, brute_force

import silurus


def test_range_finds_what_was_inserted(db):
    db.insert(7, [0, 0, 1, 1])
    assert db.range([0.5, 0.5, 2, 2]).tolist() == [7]


def test_ids_are_uint64(db):
    db.insert(2**64 - 2, [0, 0, 1, 1])
    found = db.range(ALL)
    assert found.dtype == np.uint64 and found.tolist() == [2**64 - 2]


def test_entries_gives_exact_boxes(db):
    db.insert(7, [0.1, 0.2, 0.3, 0.4])
    ids, boxes = db.entries(ALL)
    assert ids.tolist() == [7] and boxes.tolist() == [[0.1, 0.2, 0.3, 0.4]]


@pytest.mark.parametrize("predicate, expected", [("intersects", [1, 2, 3]), ("within", [1]), ("contains", [3])])
def test_predicates_say_how_boxes_match(db, predicate, expected):
    db.insert_v([1, 2, 3], [[1, 1, 2, 2], [2, 2, 9, 9], [-9, -9, 9, 9]])
    assert sorted(db.range([0, 0, 3, 3], predicate).tolist()) == expected
    assert db.count([0, 0, 3, 3], predicate) == len(expected)


def test_limit_bounds_what_is_found(db):
    db.insert_v([1, 2, 3], [[0, 0, 1, 1]] * 3)
    assert len(db.range(ALL, limit=2)) == 2


def test_range_v_finds_what_brute_force_finds(db, boxes, seed):
    ids, rows = boxes
    db.load(ids, rows)
    corners = np.random.default_rng(seed + 1).random((300, 2))
    found, offsets = db.range_v(corners, corners + 0.05)
    assert offsets.dtype == np.int64 and offsets[-1] == len(found)
    for i, corner in enumerate(corners):
        window = [*corner, *(corner + 0.05)]
        assert sorted(found[offsets[i] : offsets[i + 1]].tolist()) == brute_force(rows, window).tolist()


def test_count_v_counts_what_range_v_finds(db, boxes, seed):
    db.load(*boxes)
    corners = np.random.default_rng(seed + 2).random((100, 2))
    _, offsets = db.range_v(corners, corners + 0.1)
    assert db.count_v(corners, corners + 0.1).tolist() == np.diff(offsets).tolist()


def test_nearest_v_agrees_with_nearest(db, boxes, seed):
    db.load(*boxes)
    points = np.random.default_rng(seed + 3).random((100, 2))
    ids, distances = db.nearest_v(points, k=5)
    assert ids.shape == distances.shape == (100, 5)
    for i, point in enumerate(points):
        one_ids, one_distances = db.nearest(point, k=5)
        assert one_ids.tolist() == ids[i].tolist() and one_distances.tolist() == distances[i].tolist()


def test_nearest_v_marks_places_without_a_neighbour(db):
    db.insert(7, [3, 4, 3, 4])
    ids, distances = db.nearest_v([[0, 0]], k=2)
    assert ids.tolist() == [[7, 2**64 - 1]] and distances.tolist() == [[5.0, np.inf]]


def test_an_empty_batch_has_an_empty_answer(db):
    found, offsets = db.range_v(np.zeros((0, 2)), np.zeros((0, 2)))
    assert found.tolist() == [] and offsets.tolist() == [0]


def test_arrays_of_another_layout_are_taken(db):
    low = np.asfortranarray(np.array([[0, 0], [5, 5]], dtype=np.float32))
    db.insert_v(np.array([1, 2], dtype=np.int32), np.hstack([low, low + 1]))
    found, offsets = db.range_v(low[::-1], low[::-1] + 1)
    assert found.tolist() == [2, 1] and offsets.tolist() == [0, 1, 2]


def test_points_are_boxes_without_extent(db):
    db.load([7], [[3, 4]])
    assert db.entries(ALL)[1].tolist() == [[3, 4, 3, 4]]


def test_update_moves_an_entry(db):
    db.insert(7, [0, 0, 1, 1])
    db.update(7, [0, 0, 1, 1], [5, 5, 6, 6])
    assert db.count([0, 0, 1, 1]) == 0 and db.count([5, 5, 6, 6]) == 1


def test_erase_v_names_what_was_not_there(db):
    db.insert_v([1, 2], [[0, 0, 1, 1]] * 2)
    written = db.erase_v([1, 9, 2], [[0, 0, 1, 1]] * 3)
    assert written.failed == {1: "not-found"} and len(db) == 0


def test_a_batch_over_the_size_of_a_message_is_written_whole(db):
    count = 3 * db._core.max_batch() + 1
    written = db.insert_v(np.arange(count), np.zeros((count, 4)))
    assert written.failed == {} and len(db) == count


def test_erasing_nothing_is_a_lookup_error(db):
    with pytest.raises(LookupError) as raised:
        db.erase(7, [0, 0, 1, 1])
    assert isinstance(raised.value, silurus.errors.NotFoundError) and raised.value.code == 2


def test_a_nan_is_a_value_error(db):
    with pytest.raises(silurus.errors.InvalidArgumentError):
        db.range([0, 0, float("nan"), 1])
    with pytest.raises(ValueError):
        db.range_v([[0, 0], [np.nan, 0]], [[1, 1], [1, 1]])
    assert db.count(ALL) == 0  # the client goes on


def test_a_box_has_four_numbers(db):
    with pytest.raises(ValueError, match="a box has 4 numbers, not 3"):
        db.range([0, 0, 1])


def test_ids_are_not_negative(db):
    with pytest.raises(ValueError):
        db.insert_v([-1], [[0, 0, 1, 1]])


def test_load_refuses_a_tree_that_is_not_empty(db):
    db.insert(7, [0, 0, 1, 1])
    with pytest.raises(silurus.errors.ConflictError):
        db.load([8], [[0, 0, 1, 1]])


def test_no_server_is_an_error_of_its_own(tmp_path):
    with pytest.raises(silurus.SilurusError) as raised:
        silurus.connect(f"shm://{tmp_path}/none")
    assert raised.value.code in (2, 4)


def test_an_unknown_option_is_named(db):
    with pytest.raises(TypeError, match="speed"):
        silurus.connect(db.url, speed=11)


def test_at_a_version_shows_what_was(db):
    before = db.insert(1, [0, 0, 1, 1])
    db.insert(2, [0, 0, 1, 1])
    view = db.at(before)
    assert view.range(ALL).tolist() == [1] and view.count(ALL) == 1
    assert view.range_v([[0, 0]], [[1, 1]])[0].tolist() == [1]
    assert view.nearest_v([[0, 0]], 1)[0].tolist() == [[1]]


def test_at_a_time_of_day_shows_what_was(db):
    db.insert(1, [0, 0, 1, 1])
    now = datetime.datetime.now(datetime.timezone.utc)
    assert db.at(now).range(ALL).tolist() == [1]


def test_at_refuses_what_is_no_moment(db):
    with pytest.raises(ValueError):
        db.at("yesterday")


def test_history_and_difference_tell_of_versions(db):
    first = db.insert(1, [0, 0, 1, 1])
    second = db.insert(2, [0, 0, 1, 1])
    assert [kept.version for kept in db.history()][-2:] == [first, second]
    assert db.difference(first, second).inserted.tolist() == [2]


def test_offload_finds_the_same(db, boxes):
    db.load(*boxes)
    with silurus.connect(db.url, mode="offload") as other:
        assert sorted(other.range([0.2, 0.2, 0.4, 0.4])) == sorted(db.range([0.2, 0.2, 0.4, 0.4]))
        assert other.statistics()["offload"]["completed"] == 1


def test_statistics_count_searches(db):
    db.reset_statistics()
    db.range_v(np.zeros((10, 2)), np.ones((10, 2)))
    counted = db.statistics()
    assert counted["messaging"]["completed"] + counted["offload"]["completed"] == 10


def test_three_dimensions_work(seed):
    with silurus.open(dimensions=3) as db:
        db.load([1, 2], [[0, 0, 0, 1, 1, 1], [5, 5, 5, 6, 6, 6]])
        assert silurus.connect(db.url).dimensions == 3
        assert db.range([0, 0, 0, 2, 2, 2]).tolist() == [1]
        assert db.nearest([9, 9, 9])[0].tolist() == [2]


def test_threads_may_share_a_client(db, boxes):
    db.load(*boxes)
    expected = sorted(db.range([0.1, 0.1, 0.3, 0.3]).tolist())
    wrong = []

    def search():
        for _ in range(50):
            if sorted(db.range([0.1, 0.1, 0.3, 0.3]).tolist()) != expected:
                wrong.append(1)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_repr_tells_count_and_version(db):
    version = db.insert(7, [0, 0, 1, 1])
    assert f"1 entries, version {version}" in repr(db)


def test_notebooks_see_a_map(db):
    db.insert(7, [0, 0, 1, 1])
    shown = db._repr_html_()
    assert shown.count("<rect") == 1 and "a sample of 1 entries" in shown


def test_a_closed_client_says_so():
    client = silurus.open()
    client.close()
    assert "closed" in repr(client)


def test_a_batch_that_fails_on_its_way_says_how_much_is_in(db):
    most = db._core.max_batch()
    boxes = np.zeros((most + 1, 4))
    boxes[most, 2] = np.nan
    with pytest.raises(silurus.errors.InvalidArgumentError, match=f"{most} of {most + 1} writes were applied"):
        db.insert_v(np.arange(most + 1), boxes)
    assert db.count(ALL) == most
