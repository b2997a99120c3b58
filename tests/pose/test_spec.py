import pytest

from lehrnet.pose.spec import COCO, MPII, PoseSpec, spec_for


def test_joints_name_the_usual_spec() -> None:
    assert (spec_for(17), spec_for(16)) == (COCO, MPII)
    with pytest.raises(ValueError, match="no usual skeleton has 21 joints.*--skeleton"):
        spec_for(21)


@pytest.mark.parametrize("size", [(250, 192), (0, 32), (256,)])
def test_a_size_that_the_network_cannot_halve_five_times_is_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        PoseSpec(input_size=size)  # pyright: ignore[reportArgumentType]
