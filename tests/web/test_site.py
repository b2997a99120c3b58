"""The folder `web` of a bundle."""

import json
import shutil
from pathlib import Path

import pytest

from lehrnet.cli import main
from lehrnet.pose.results import SURE_JOINT
from lehrnet.runtime.bundle import new_bundle_folder, open_bundle
from lehrnet.web.site import HERE, PAGE, RUNTIME_FILES, VERSION, find_runtime, read_files, read_site


def test_it_says_what_the_page_must_know(page_bundle: Path) -> None:
    site = read_site(page_bundle)
    bundle = open_bundle(page_bundle)
    assert (site.pose, site.variant, site.trained, site.note) == (bundle.spec, bundle.variant, True, bundle.note)
    assert site.colours == {"left": "#ffa03c", "right": "#3caaff", "middle": "#5adc5a"}
    assert (site.sure_joint, site.onnxruntime_web) == (SURE_JOINT, VERSION)
    assert site.graphs.keys() == {"fp32", "fp16"}
    assert 0 <= site.graphs["fp16"].measured["median_px"] <= site.graphs["fp16"].measured["max_px"]


def test_an_imported_network_has_a_page_too(tiny_bundle: Path, stand_in_runtime: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--web", "--onnxruntime-web", str(stand_in_runtime), "--out", str(out))
    assert main(["import", str(tiny_bundle / "fp32.onnx"), *options]) == 0
    assert read_site(out).pose.frame == "hrnet"
    assert "fp16.onnx" in read_files(out)


def test_every_file_is_listed_and_only_these(page_bundle: Path) -> None:
    expected = {path.name for path in PAGE.iterdir()} | {f"ort/{name}" for name in RUNTIME_FILES}
    assert read_files(page_bundle).keys() == {"site.json", "fp32.onnx", "fp16.onnx", *expected}


def test_the_page_names_no_other_place() -> None:
    for path in PAGE.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text, path
        assert "https:" not in text, path


def test_a_bundle_with_a_page_may_be_replaced_but_not_one_with_other_files(page_bundle: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(page_bundle, tmp_path / "copied"))
    (copied / "web" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds 'web/mine\.txt'"), new_bundle_folder(copied, overwrite=True):
        pass
    (copied / "web" / "mine.txt").unlink()
    with new_bundle_folder(copied, overwrite=True) as folder:
        (folder / "bundle.json").write_text("{}")
    assert [path.name for path in copied.iterdir()] == ["bundle.json"]


def test_a_folder_web_that_is_no_page_is_kept(tiny_bundle: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(tiny_bundle, tmp_path / "copied"))
    (copied / "web").mkdir()
    with pytest.raises(FileExistsError, match="holds 'web'"), new_bundle_folder(copied, overwrite=True):
        pass


class TestTheNpmPackage:
    def test_the_pin_is_that_of_the_lock_file(self) -> None:
        lock = json.loads((HERE / "package-lock.json").read_text())
        assert lock["packages"]["node_modules/onnxruntime-web"]["version"] == VERSION
        assert not [each["resolved"] for each in lock["packages"].values() if "resolved" in each]

    def test_its_absence_is_said_with_what_to_do(self, tmp_path: Path, capsys) -> None:
        none = tmp_path / "none"
        assert main(["export", "--web", "--onnxruntime-web", str(none), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert f"the page needs the npm package onnxruntime-web {VERSION}, which is not at {none}" in said
        assert f"`npm install onnxruntime-web@{VERSION}`" in said
        assert not (tmp_path / "out").exists()

    def test_another_version_another_package_and_a_part_are_refused(self, stand_in_runtime: Path) -> None:
        (stand_in_runtime / "dist" / RUNTIME_FILES[-1]).unlink()
        with pytest.raises(FileNotFoundError, match=f"lacks dist/{RUNTIME_FILES[-1]}"):
            find_runtime(stand_in_runtime)
        (stand_in_runtime / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.0.0"}')
        with pytest.raises(ValueError, match=rf"holds onnxruntime-web 1\.0\.0, expected onnxruntime-web {VERSION}"):
            find_runtime(stand_in_runtime)
        (stand_in_runtime / "package.json").write_text("[]")
        with pytest.raises(ValueError, match="holds None None, expected"):
            find_runtime(stand_in_runtime)

    def test_its_folder_without_a_page_is_refused(self, tmp_path: Path, capsys) -> None:
        assert main(["export", "--onnxruntime-web", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
        assert "--onnxruntime-web is for --web, which was not given" in capsys.readouterr().err
