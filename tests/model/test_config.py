from dataclasses import replace

import pytest

from lehrnet.model.config import VARIANTS, NetworkConfig, variant, variant_name


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_keeps_its_name_whatever_its_joints(name: str) -> None:
    assert variant_name(variant(name, joints=16)) == name


def test_a_config_of_no_variant_is_custom() -> None:
    assert variant_name(replace(VARIANTS["lehrnet_w32"], units=2)) == "custom"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'lehrnet_w48'; there are lehrnet_w32"):
        variant("lehrnet_w48")


@pytest.mark.parametrize("wrong", [{"joints": 0}, {"width": 30}, {"units": 0}, {"modules": (1, 4)}])
def test_a_config_that_cannot_be_built_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NetworkConfig(**wrong)


def test_attention_without_leanblocks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs light_units"):
        NetworkConfig(light_units=False)
