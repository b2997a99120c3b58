"""What a network of this family is made of; a named variant is a value (paper, section 2)."""

from dataclasses import dataclass, replace

# Far beyond every network of the family (HRNet-W48: 48 wide, 4 units, 4 modules), and small enough to be built.
MOST_JOINTS, WIDEST, DEEPEST = 1024, 512, 16


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
        if not _is_count(self.joints, MOST_JOINTS):
            raise ValueError(f"joints is {self.joints!r}, expected 1 to {MOST_JOINTS}")
        if not _is_count(self.width, WIDEST) or self.width % 4:
            raise ValueError(
                f"width is {self.width!r}, expected a multiple of 4 up to {WIDEST}: a partial conv acts on a quarter"
            )
        if not _is_count(self.units, DEEPEST):
            raise ValueError(f"units is {self.units!r}, expected 1 to {DEEPEST}")
        three = isinstance(self.modules, tuple) and len(self.modules) == 3
        if not three or not all(_is_count(modules, DEEPEST) for modules in self.modules):
            raise ValueError(f"modules is {self.modules!r}, expected three numbers, each 1 to {DEEPEST}")
        for name in ("light_units", "light_convs", "attention"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected true or false")
        if self.attention and not self.light_units:
            raise ValueError("attention needs light_units: EMA is a part of the LeEMA-Fusionblock")

    @property
    def residual_units(self) -> int:
        """How many of them stages 2, 3 and 4 hold, each with at least one tensor."""
        return self.units * sum(modules * branches for modules, branches in zip(self.modules, (2, 3, 4), strict=True))

    def branch_channels(self, branches: int) -> tuple[int, ...]:
        """Channels of the first `branches` branches, finest first."""
        return tuple(self.width * 2**branch for branch in range(branches))


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


_BUDGET = NetworkConfig()
_LETTER = NetworkConfig(units=4, light_convs=False)
_HRNET = NetworkConfig(units=4, light_units=False, light_convs=False, attention=False)

VARIANTS: dict[str, NetworkConfig] = {
    "lehrnet_w32": _BUDGET,
    "lehrnet_w32_lean": replace(_BUDGET, attention=False),
    "lehrnet_w32_literal": _LETTER,
    "lehrnet_w32_literal_lean": replace(_LETTER, attention=False),
    "lehrnet_w24": replace(_BUDGET, width=24),
    "lehrnet_w16": replace(_BUDGET, width=16),
    "hrnet_w32": _HRNET,
    "hrnet_w48": replace(_HRNET, width=48),
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
