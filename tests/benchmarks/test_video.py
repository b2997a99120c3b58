import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.benchmarks.video import STAGES, smoothing_figures
from lehrnet.cli import main


def test_smoothing_halves_the_jitter_and_lags_less_than_a_frame() -> None:
    figures = smoothing_figures()
    assert figures["jitter_smoothed_px"] < figures["jitter_px"] / 2
    assert abs(figures["lag_ms"]) < 34  # a frame at 30 a second


@pytest.mark.slow
def test_a_video_is_measured_by_stage(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 120))
    for number in range(6):
        writer.write(np.full((120, 160, 3), number * 20, np.uint8))
    writer.release()
    result = tmp_path / "r.json"
    arguments = ["--video", path, "--frames", "6", "--device", "cpu", "--threads", "1", "--result", result]
    assert main(["bench", str(tiny_bundle), *map(str, arguments)]) == 0
    figures = json.loads(result.read_text())["tracking"]
    assert set(figures["stages"]) == set(STAGES)
    assert figures["under_load"]["used"] > 0
    assert figures["streams"]["frames_per_s"] > 0
