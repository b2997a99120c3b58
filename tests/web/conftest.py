"""A bundle with a page, and a browser that shows it, where both are on this machine."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lehrnet.web.site import PACKAGE, RUNTIME_FILES, VERSION, find_runtime

SURE = 0.5  # of heatmaps


def stand_in(folder: Path) -> Path:
    """A folder in the form of the npm package, whose files hold only their names."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": PACKAGE, "version": VERSION}))
    for name in RUNTIME_FILES:
        (folder / "dist" / name).write_text(name)
    return folder


@pytest.fixture
def stand_in_runtime(tmp_path: Path) -> Path:
    return stand_in(tmp_path / PACKAGE)


@pytest.fixture(scope="session")
def page_bundle(tiny_checkpoint, tmp_path_factory) -> Path:
    """The tiny network's bundle with its page, but no ONNX Runtime Web: for all that needs no browser."""
    pytest.importorskip("onnxsim")
    from lehrnet.export import export_bundle

    folder = tmp_path_factory.mktemp("page")
    return export_bundle(tiny_checkpoint, folder / "tiny", precisions=["fp32"], web=stand_in(folder / PACKAGE)).root


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The npm package onnxruntime-web."""
    try:
        return find_runtime()
    except (FileNotFoundError, ValueError) as error:
        pytest.skip(f"{error}; in a checkout `npm ci --prefix web` installs it")


@pytest.fixture(scope="session")
def web_bundle(runtime: Path, tiny_checkpoint, tmp_path_factory) -> Path:
    """The tiny network's bundle with its page; its scores are raised to those of people, so that it can follow one."""
    pytest.importorskip("onnxsim")
    import torch

    from lehrnet.export import export_bundle

    sure = copy.deepcopy(tiny_checkpoint.network)
    with torch.no_grad():
        sure.head.bias += SURE
    out = tmp_path_factory.mktemp("web") / "tiny"
    return export_bundle(replace(tiny_checkpoint, network=sure), out, precisions=["fp32"], web=runtime).root


@pytest.fixture(scope="session")
def chromium():
    """The module that drives Chromium."""
    pytest.importorskip("playwright", reason="Playwright is not installed: pip install 'lehrnet[browser]'")
    from lehrnet.benchmarks import browser

    try:
        browser.find_chromium()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return browser
