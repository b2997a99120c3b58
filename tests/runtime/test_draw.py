"""Which colour a joint is drawn in, on any skeleton."""

import numpy as np
import pytest

from lehrnet.pose.skeleton import MPII16, Skeleton
from lehrnet.runtime.draw import LEFT, MIDDLE, RIGHT, draw_poses
from lehrnet.runtime.estimator import Poses

DOG = Skeleton("dog", ("snout", "L_Paw", "R_Paw"), (0.1,) * 3, ((1, 2),), ((0, 1),), ())


@pytest.mark.parametrize("skeleton", [DOG, MPII16], ids=["dog", "mpii"])
def test_sides_are_told_apart_by_the_pairs(skeleton: Skeleton) -> None:
    joints = len(skeleton)
    xy = np.stack((10 + 20 * np.arange(joints), np.full(joints, 50)), 1)[None].astype(np.float32)
    poses = Poses(xy, np.ones((1, joints), np.float32), np.array([[0.0, 0, 400, 100]]))
    drawn = draw_poses(np.zeros((100, 400, 3), np.uint8), poses, skeleton)
    for joint in range(joints):
        side = skeleton.side(joint)
        wanted = {"left": LEFT, "right": RIGHT, None: MIDDLE}[side]
        assert tuple(drawn[50, 10 + 20 * joint]) == wanted, skeleton.joints[joint]
