"""Heatmaps from points and points from heatmaps: the definition that every backend follows. Batched, in cells."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

HEATMAP_STRIDE = 4  # the stem halves the image twice
EncodeMethod = Literal["gaussian", "unbiased"]
"""gaussian: centred on the nearest cell (HRNet). unbiased: centred on the point itself (DARK, UDP)."""
DecodeMethod = Literal["quarter", "dark", "udp"]
"""quarter: a quarter cell from the arg-max towards its higher neighbour (HRNet).
dark: a Newton step on the smoothed log heatmap, second differences over two cells (Zhang et al., CVPR 2020).
udp: the same with differences over one cell, up to the border (Huang et al., CVPR 2020)."""
DECODE_METHODS: tuple[DecodeMethod, ...] = get_args(DecodeMethod)
Frame = Literal["edges", "hrnet", "udp"]
"""How cells, crop and image hang together; `pose.frame` defines it.
edges: a cell's centre is that of the pixels that it covers, and edges of boxes meet edges of crops (lehrnet's own).
hrnet: cell i lies at crop px 4 i, as HRNet's official code and MMPose's default have it.
udp: the outermost cells lie on the outermost pixels' centres (Huang et al., CVPR 2020)."""
FRAMES: tuple[Frame, ...] = get_args(Frame)

SMOOTHING_RADIUS = 5  # DARK: an 11-cell Gaussian kernel of sigma 2, for targets of sigma 2
SMOOTHING_SIGMA = 2.0
LOG_FLOOR = 1e-3  # of the peak: below it a logarithm would tell of noise
LONGEST_STEP = 1.0  # cells: a Newton step that goes further left the peak that it started from


def encode(
    points: NDArray[np.floating], grid: tuple[int, int], sigma: float, method: EncodeMethod = "unbiased"
) -> NDArray[np.float32]:
    """Gaussians of height 1 (N, K, h, w) at points (N, K, 2) in cells; `grid` is (h, w), sigma in cells."""
    centres = np.floor(points + 0.5) if method == "gaussian" else points
    height, width = grid
    columns = np.exp(-((np.arange(width) - centres[..., :1]) ** 2) / (2 * sigma**2))
    rows = np.exp(-((np.arange(height) - centres[..., 1:]) ** 2) / (2 * sigma**2))
    return (rows[..., :, None] * columns[..., None, :]).astype(np.float32)


def decode(
    heatmaps: NDArray[np.floating], method: DecodeMethod = "quarter", frame: Frame = "edges"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points (N, K, 2) in cells and scores (N, K), the height of each peak, of heatmaps (N, K, h, w).

    HRNet's own frame gives fewer peaks a quarter offset: none in the first two rows or columns, or in the last.
    """
    if heatmaps.ndim != 4:
        raise ValueError(f"heatmaps have shape {heatmaps.shape}, expected (N, K, h, w)")
    if method not in DECODE_METHODS:
        raise ValueError(f"decode method is {method!r}, expected one of {', '.join(DECODE_METHODS)}")
    people, joints, height, width = heatmaps.shape
    flat = heatmaps.reshape(people * joints, height * width)
    peak = flat.argmax(1) if len(flat) else np.zeros(0, np.intp)
    scores = flat[np.arange(len(flat)), peak].astype(np.float32)
    if not np.isfinite(scores).all():
        person, joint = divmod(int((~np.isfinite(scores)).argmax()), joints)
        raise ValueError(f"the heatmap of person {person}, joint {joint} holds NaN or infinity")
    row, column = np.divmod(peak, width)
    points = np.empty((len(flat), 2), np.float32)
    points[:, 0], points[:, 1] = column, row
    maps = flat.reshape(-1, height, width)
    if method == "quarter":
        points += _quarter_offset(maps, row, column, frame)
    else:
        points += _newton_offset(maps, row, column, method)
    return points.reshape(people, joints, 2), scores.reshape(people, joints)


def fuse_flipped(
    heatmaps: NDArray[np.float32], of_mirrored: NDArray[np.float32], mirror: tuple[int, ...], frame: Frame = "edges"
) -> NDArray[np.float32]:
    """Mean of the heatmaps (N, K, h, w) of crops and of their mirror images; `mirror` is `Skeleton.mirror`."""
    return (heatmaps + unmirrored(of_mirrored, mirror, frame)) * np.float32(0.5)


def unmirrored(
    of_mirrored: NDArray[np.float32], mirror: tuple[int, ...], frame: Frame = "edges"
) -> NDArray[np.float32]:
    """Heatmaps (N, K, h, w) of mirrored crops as those of the crops.

    In HRNet's frame a mirrored map lies one cell to the left (cell 0 at px 0 meets px W - 1, not W): it is shifted
    back, and the first column stays.
    """
    back = of_mirrored[:, list(mirror), :, ::-1]
    return np.concatenate((back[..., :1], back[..., :-1]), axis=3) if frame == "hrnet" else back


def _quarter_offset(
    maps: NDArray[np.floating], row: NDArray[np.intp], column: NDArray[np.intp], frame: Frame
) -> NDArray[np.float32]:
    """(M, 2): a quarter cell towards the higher neighbour on each axis; none on the border."""
    height, width = maps.shape[1:]
    cells = maps.reshape(-1)
    peak = (np.arange(len(maps)) * height + row) * width + column
    steps = np.array([1, width, -1, -width])
    right, below, left, above = cells.take(peak + steps[:, None], mode="clip")  # on the border: anything, unused
    offset = np.empty((len(maps), 2), np.float32)
    offset[:, 0] = np.sign(right - left) * ((column > 0) & (column < width - 1))
    offset[:, 1] = np.sign(below - above) * ((row > 0) & (row < height - 1))
    if frame == "hrnet":
        offset *= ((column > 1) & (column < width - 1) & (row > 1) & (row < height - 1))[:, None]
    offset *= 0.25
    return offset


def _newton_offset(
    maps: NDArray[np.floating], row: NDArray[np.intp], column: NDArray[np.intp], method: DecodeMethod
) -> NDArray[np.float32]:
    """(M, 2): from the peak to the top of the parabola through the smoothed log heatmap around it."""
    height, width = maps.shape[1:]
    reach = 2 if method == "dark" else 1
    rows = row[:, None] + np.arange(-reach, reach + 1)
    columns = column[:, None] + np.arange(-reach, reach + 1)
    inside = np.ones(len(maps), bool)
    if method == "dark":  # as published: a peak within two cells of the border stays
        inside = (rows >= 0).all(1) & (rows < height).all(1) & (columns >= 0).all(1) & (columns < width).all(1)
    values = _smoothed(maps, rows.clip(0, height - 1), columns.clip(0, width - 1))
    peak = values[:, reach, reach]
    logs = np.log(np.maximum(values, LOG_FLOOR * peak[:, None, None]), where=peak[:, None, None] > 0, out=values * 0)
    slope, curve = _differences(logs, method)
    determinant = curve[:, 0] * curve[:, 1] - curve[:, 2] ** 2
    top = inside & (peak > 0) & (curve[:, 0] < 0) & (determinant > 0)
    determinant = np.where(top, determinant, 1)
    x = (curve[:, 2] * slope[:, 1] - curve[:, 1] * slope[:, 0]) / determinant
    y = (curve[:, 2] * slope[:, 0] - curve[:, 0] * slope[:, 1]) / determinant
    step = np.where(top[:, None], np.stack((x, y), 1), 0)
    return step.clip(-LONGEST_STEP, LONGEST_STEP).astype(np.float32)


def _differences(logs: NDArray[np.float64], method: DecodeMethod) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First (x, y) and second (xx, yy, xy) differences at the middle of (M, 2r+1, 2r+1)."""
    middle = logs.shape[1] // 2

    def at(dy: int, dx: int) -> NDArray[np.float64]:
        return logs[:, middle + dy, middle + dx]

    slope = np.stack(((at(0, 1) - at(0, -1)) / 2, (at(1, 0) - at(-1, 0)) / 2), 1)
    span = middle  # cells between the middle and the outer points of a second difference
    xx = (at(0, span) - 2 * at(0, 0) + at(0, -span)) / span**2
    yy = (at(span, 0) - 2 * at(0, 0) + at(-span, 0)) / span**2
    if method == "dark":
        xy = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    else:
        xy = (at(1, 1) - at(0, 1) - at(1, 0) + 2 * at(0, 0) - at(0, -1) - at(-1, 0) + at(-1, -1)) / 2
    return slope, np.stack((xx, yy, xy), 1)


def _smoothed(maps: NDArray[np.floating], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """The Gaussian-smoothed maps (M, h, w) at rows (M, P) x columns (M, P) only; zero beyond the border."""
    height, width = maps.shape[1:]
    row_kernels, row_window = _kernels(rows, height)
    column_kernels, column_window = _kernels(columns, width)
    each = np.arange(len(maps))[:, None, None]
    window = maps[each, row_window[:, :, None], column_window[:, None, :]].astype(np.float64)
    return row_kernels @ window @ column_kernels.transpose(0, 2, 1)


def _kernels(sites: NDArray[np.intp], size: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Smoothing weights (M, P, window) of the sites (M, P) on an axis, and the window's cells (M, window)."""
    middle = sites[:, sites.shape[1] // 2, None]
    radius = sites.shape[1] // 2 + SMOOTHING_RADIUS
    window = middle + np.arange(-radius, radius + 1)
    distance = window[:, None, :] - sites[:, :, None]
    weights = np.exp(-(distance**2) / (2 * SMOOTHING_SIGMA**2)) * (np.abs(distance) <= SMOOTHING_RADIUS)
    total = np.exp(-(np.arange(-SMOOTHING_RADIUS, SMOOTHING_RADIUS + 1) ** 2) / (2 * SMOOTHING_SIGMA**2)).sum()
    inside = (window >= 0) & (window < size)
    return weights * inside[:, None, :] / total, window.clip(0, size - 1)
