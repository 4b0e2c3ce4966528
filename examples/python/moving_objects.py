# SPDX-License-Identifier: Apache-2.0

"""Objects that move, and searches of where they were.

    python3 examples/python/moving_objects.py
"""
import numpy as np

import silurus

COUNT, STEPS = 1000, 20
random = np.random.default_rng(seed=1)
ids = np.arange(COUNT)
places = random.random((COUNT, 2))
speeds = random.normal(scale=0.002, size=(COUNT, 2))


def boxes_of(places):
    return np.hstack([places, places])


# Every version of the last ten minutes can be asked.
with silurus.open(arguments=["--retain", "10min", "--retain-versions", "1000"]) as db:
    versions = [db.load(ids, boxes_of(places))]
    for _ in range(STEPS):
        moved = places + speeds
        result = db.update_v(ids, boxes_of(places), boxes_of(moved))
        assert not result.failed
        versions.append(result.version)
        places = moved

    window = [0.4, 0.4, 0.6, 0.6]
    then, now = db.at(versions[0]).range(window), db.range(window)
    print(f"{len(then)} objects were in the window, {len(now)} are now, {len(np.intersect1d(then, now))} stayed")
    print(f"{len(db.difference(versions[0], versions[-1]).moved)} objects have moved")
