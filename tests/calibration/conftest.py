"""The tiny network's graph and its ranges on drawn people."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def graph(tiny_bundle: Path):
    graphs = pytest.importorskip("lehrnet.calibration.graph")
    return graphs.read_graph(tiny_bundle / "fp32.onnx")


@pytest.fixture(scope="session")
def samples(tiny_checkpoint, drawn_folder: Path):
    from lehrnet.calibration.samples import divide, read_people

    return divide(read_people(drawn_folder, tiny_checkpoint.spec), 16, 16)


@pytest.fixture(scope="session")
def ranges(graph, samples, tiny_checkpoint, tmp_path_factory):
    from lehrnet.calibration.ranges import collect_ranges

    return collect_ranges(graph, samples[0], tiny_checkpoint.spec, tmp_path_factory.mktemp("ranges") / "ranges.json")


@pytest.fixture(scope="session")
def judge(samples, tiny_checkpoint, tiny_bundle: Path):
    from lehrnet.calibration.judge import Judge

    return Judge(samples[1], tiny_checkpoint.spec, tiny_bundle / "fp32.onnx")


@pytest.fixture(scope="session")
def every_conv(graph) -> set[str]:
    from lehrnet.calibration.units import quantizable_units

    return {name for unit in quantizable_units(graph) for name in unit.convs}
