"""Pictures as telephones, downloads and attackers make them."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.pose.pictures import picture_size, read_image, read_image_of

IMAGE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8), (0, 0), 2)
KINDS = (".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif")


def encoded(suffix: str, *flags: int, image: NDArray[Any] = IMAGE) -> bytes:
    return cv2.imencode(suffix, image, list(flags))[1].tobytes()


def turned(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF orientation."""
    entries = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHHI", 0x112, 3, 1, orientation, 0, 0)
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(entries) + 2) + entries + jpeg[2:]


def written(folder: Path, content: bytes, name: str = "a.jpg") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


PROGRESSIVE, RESTARTS = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)


@pytest.mark.parametrize("suffix", KINDS)
def test_the_header_says_the_size_and_the_pixels_come(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path, encoded(suffix), f"a{suffix}")
    assert picture_size(path) == (80, 48, False)
    assert read_image(path).shape == (48, 80, 3)


@pytest.mark.parametrize("flags", [(cv2.IMWRITE_WEBP_QUALITY, 50), (cv2.IMWRITE_WEBP_QUALITY, 101)])
def test_both_kinds_of_webp_are_measured(flags: tuple[int, int], tmp_path: Path) -> None:
    assert picture_size(written(tmp_path, encoded(".webp", *flags)))[:2] == (80, 48)


def test_a_jpeg_s_size_behind_a_long_thumbnail_is_found(tmp_path: Path) -> None:
    thumbnails = b"".join(b"\xff\xe2" + struct.pack(">H", 65000) + bytes(64998) for _ in range(3))
    jpeg = encoded(".jpg")
    assert picture_size(written(tmp_path, jpeg[:2] + thumbnails + jpeg[2:])) == (80, 48, False)


@pytest.mark.parametrize("flags", [(), PROGRESSIVE, RESTARTS], ids=["plain", "progressive", "restarts"])
class TestJpegs:
    @pytest.mark.parametrize("tail", [bytes(400_000), b"\0\0\0\x10ftypmp42" + os.urandom(300_000)])
    def test_bytes_after_the_end_do_not_matter(self, flags, tail: bytes, tmp_path: Path) -> None:
        whole = encoded(".jpg", *flags)
        plain = read_image(written(tmp_path, whole))
        np.testing.assert_array_equal(read_image(written(tmp_path, whole + tail)), plain)

    @pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.98])
    @pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut", "end glued on"])
    def test_missing_bytes_are_refused(self, flags, share: float, end: bytes, tmp_path: Path) -> None:
        whole = encoded(".jpg", *flags)
        with pytest.raises(ValueError, match=r"a\.jpg (is cut off|does not decode|is not an image)"):
            read_image(written(tmp_path, whole[: int(len(whole) * share)] + end))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tiff", ".gif"])
def test_half_a_picture_of_another_kind_is_refused(suffix: str, tmp_path: Path) -> None:
    whole = encoded(suffix)
    with pytest.raises(ValueError, match="does not decode|is not an image"):
        read_image(written(tmp_path, whole[: len(whole) // 2]))


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n and no more", b"\xff\xd8", b"BM", b"RIFF"]
)
def test_what_is_no_picture_is_named(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.jpg (is not an image that lehrnet reads|does not decode|is cut off)"):
        read_image(written(tmp_path, content))


def bombs() -> dict[str, bytes]:
    """Headers that promise 65,500 x 65,500 pixels."""
    side = 65_500
    jpeg = bytearray(encoded(".jpg"))
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", side, side)
    png = bytearray(encoded(".png"))
    png[16:24] = struct.pack(">II", side, side)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    bmp = bytearray(encoded(".bmp"))
    bmp[18:26] = struct.pack("<ii", side, -side)
    gif = bytearray(encoded(".gif"))
    gif[6:10] = struct.pack("<HH", side, side)
    return {"jpeg": bytes(jpeg), "png": bytes(png), "bmp": bytes(bmp), "gif": bytes(gif)}


@pytest.mark.parametrize("kind", bombs())
def test_a_header_that_promises_too_much_is_refused_before_decoding(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has 65500 x 65500 pixels, more than the 200,000,000 allowed; --max-pixels"):
        read_image(written(tmp_path, bombs()[kind]))


def test_max_pixels_is_a_bound(tmp_path: Path) -> None:
    path = written(tmp_path, encoded(".png"))
    assert read_image(path, max_pixels=80 * 48).shape == (48, 80, 3)
    with pytest.raises(ValueError, match="more than the 3,839 allowed"):
        read_image(path, max_pixels=80 * 48 - 1)


def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero"), tmp_path):
        with pytest.raises(ValueError, match="is not a regular file"):
            read_image(path)


class TestOrientation:
    def test_labels_of_stored_pixels_get_stored_pixels(self, tmp_path: Path) -> None:
        path = written(tmp_path, turned(encoded(".jpg"), 6))
        assert picture_size(path) == (80, 48, True)
        assert read_image(path).shape == (80, 48, 3)
        assert read_image_of(path, (80, 48)).shape == (48, 80, 3)
        assert read_image_of(path, (48, 80)).shape == (80, 48, 3)

    def test_a_size_that_exif_does_not_explain_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is 80 x 48, the labels say 48 x 80"):
            read_image_of(written(tmp_path, encoded(".jpg")), (48, 80))


def test_a_grey_image_is_read_as_colour(tmp_path: Path) -> None:
    path = written(tmp_path, encoded(".png", image=np.full((5, 6), 90, np.uint8)), "grey.png")
    assert read_image(path).shape == (5, 6, 3)


def test_other_words_on_standard_error_are_passed_on(tmp_path: Path) -> None:
    """Reading a JPEG listens to libjpeg there: what others write meanwhile must come through, and nothing be lost."""
    path = written(tmp_path, encoded(".jpg"))
    code = (
        "import os, sys; from pathlib import Path; import lehrnet.pose.pictures as p\n"
        "decode = p._decode\n"
        "p._decode = lambda *a, **k: (os.write(2, b'another thread\\n'), decode(*a, **k))[1]\n"
        "p.read_image(Path(sys.argv[1])); os.write(2, b'after\\n')"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stderr
    assert said == "another thread\nafter\n"
