"""What a network of this family is made of; a named variant is a value (paper, section 2)."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class NetworkConfig:
    """One network: HRNet's body with the light parts switched on or off.

    The defaults are the reading that meets the paper's budget of 4.2 M parameters and 1.5 G multiply-adds:
    every 3x3 conv after the first is an LConv, and a branch holds three units a module.
    """

    joints: int = 17
    width: int = 32
    """Channels of the 1/4 branch; each further branch doubles them. EMA has as many groups."""
    units: int = 3
    """Residual units that a branch holds in one exchange module."""
    modules: tuple[int, int, int] = (1, 4, 3)
    """Exchange modules of stages 2, 3 and 4 (HRNet)."""
    light_units: bool = True
    """Leanblock in place of Basicblock (section 2.2)."""
    light_convs: bool = True
    """LConv in place of HRNet's other 3x3 convs: stem, Bottlenecks, transitions and fusion."""
    attention: bool = True
    """EMA in the residual unit: LeEMA-Fusionblock in place of Leanblock (section 2.3)."""

    def __post_init__(self) -> None:
        if self.joints < 1:
            raise ValueError(f"joints is {self.joints}, expected at least 1")
        if self.width < 4 or self.width % 4:
            raise ValueError(f"width is {self.width}, expected a multiple of 4: a partial conv acts on a quarter")
        if self.units < 1 or len(self.modules) != 3 or min(self.modules) < 1:
            raise ValueError(f"units {self.units}, modules {self.modules}: expected positive counts, three stages")
        if self.attention and not self.light_units:
            raise ValueError("attention needs light_units: EMA is a part of the LeEMA-Fusionblock")

    def branch_channels(self, branches: int) -> tuple[int, ...]:
        """Channels of the first `branches` branches, finest first."""
        return tuple(self.width * 2**branch for branch in range(branches))


_BUDGET = NetworkConfig()
_LETTER = NetworkConfig(units=4, light_convs=False)

VARIANTS: dict[str, NetworkConfig] = {
    "lehrnet_w32": _BUDGET,
    "lehrnet_w32_lean": replace(_BUDGET, attention=False),
    "lehrnet_w32_literal": _LETTER,
    "lehrnet_w32_literal_lean": replace(_LETTER, attention=False),
    "lehrnet_w24": replace(_BUDGET, width=24),
    "lehrnet_w16": replace(_BUDGET, width=16),
    "hrnet_w32": NetworkConfig(units=4, light_units=False, light_convs=False, attention=False),
}
DEFAULT_VARIANT = "lehrnet_w32"


def variant(name: str, joints: int = NetworkConfig.joints) -> NetworkConfig:
    """The named variant for a number of joints."""
    if name not in VARIANTS:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(VARIANTS)}")
    return replace(VARIANTS[name], joints=joints)


def variant_name(config: NetworkConfig) -> str:
    """The name of a config whatever its joints, or "custom"."""
    same = (name for name, known in VARIANTS.items() if replace(known, joints=config.joints) == config)
    return next(same, "custom")
