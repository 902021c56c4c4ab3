"""Picture files: the same pixels on every path, named policies, hostile files that take nothing and start nothing."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.data import ImageFolder
from disentangle.data.decoding import PictureDecoder
from disentangle.errors import DataError, InputError
from disentangle.evaluations.features import file_images
from disentangle.images import (
    PictureError,
    decode_picture,
    fit_picture,
    inspect_picture,
    open_shelf,
    read_picture_file,
)

RNG = np.random.default_rng(0)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def blank_png(width: int, height: int, *, bits: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG of zeros, a thousandth of its pixels' size."""
    row = 1 + (width * {0: 1, 2: 3, 4: 2, 6: 4}[colour] * bits + 7) // 8
    packer, packed = zlib.compressobj(9), b""
    for start in range(0, height, 64):
        packed += packer.compress(bytes(row * min(64, height - start)))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    packed += packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


# --- the same pixels everywhere


def training(folder: Path) -> np.ndarray:
    """(H, W, 3) as a training reads the only picture, a square."""
    side = decode_picture(next(folder.iterdir()).read_bytes()).shape[0]
    return (ImageFolder(folder, side).images(torch.tensor([0]))[0] * 255).round().byte().permute(1, 2, 0).numpy()


def reference(folder: Path) -> np.ndarray:
    """As ``--reference`` and ``--images`` read it."""
    return file_images(folder).read(0, 1)[0].permute(1, 2, 0).numpy()


def inverted(folder: Path) -> np.ndarray:
    """As ``invert`` reads it."""
    from disentangle.cli.invert import _photo

    file = next(folder.iterdir())
    side = decode_picture(file.read_bytes()).shape[0]
    return ((_photo(file, (3, side, side)) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def predicted(folder: Path) -> np.ndarray:
    """As ``predict`` reads it."""
    file = next(folder.iterdir())
    side = decode_picture(file.read_bytes()).shape[0]
    return PictureDecoder(side)(read_picture_file(file)).transpose(1, 2, 0)


COLOURS = RNG.integers(0, 256, (12, 12, 3), np.uint8)
GREYS = RNG.integers(0, 65536, (12, 12), np.uint16)
ALPHA = np.concatenate([COLOURS, RNG.choice([0, 255], (12, 12, 1)).astype(np.uint8)], axis=2)
ON_WHITE = np.where(ALPHA[..., 3:] == 255, COLOURS, 255).astype(np.uint8)
TURNED = Image.Exif()
TURNED[0x0112] = 6  # to be shown turned by a quarter, clockwise
GREY_TRIPLE = np.repeat(((GREYS.astype(int) + 128) // 257).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize("read", [training, reference, inverted, predicted])
@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        ("png", encoded(Image.fromarray(COLOURS)), COLOURS),
        ("tiff", encoded(Image.fromarray(COLOURS), "TIFF"), COLOURS),
        ("webp", encoded(Image.fromarray(COLOURS), "WEBP", lossless=True), COLOURS),
        ("ppm", encoded(Image.fromarray(COLOURS), "PPM"), COLOURS),
        ("png", encoded(Image.fromarray(GREYS)), GREY_TRIPLE),
        ("tif", encoded(Image.fromarray(GREYS), "TIFF"), GREY_TRIPLE),
        ("pgm", encoded(Image.fromarray(GREYS), "PPM"), GREY_TRIPLE),
        ("png", encoded(Image.fromarray(ALPHA)), ON_WHITE),
        ("webp", encoded(Image.fromarray(ALPHA), "WEBP", lossless=True, exact=True), ON_WHITE),
        ("tiff", encoded(Image.fromarray(ALPHA), "TIFF"), ON_WHITE),
        ("png", encoded(Image.fromarray(COLOURS), exif=TURNED), np.rot90(COLOURS, -1)),
        ("webp", encoded(Image.fromarray(COLOURS), "WEBP", lossless=True, exif=TURNED), np.rot90(COLOURS, -1)),
        ("tiff", encoded(Image.fromarray(COLOURS), "TIFF", tiffinfo={0x0112: 6}), np.rot90(COLOURS, -1)),
        ("gif", encoded(Image.new("P", (12, 12), 3), "GIF", transparency=3), np.full((12, 12, 3), 255, np.uint8)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_file_gives_the_same_pixels_on_every_path(
    tmp_path: Path, read: Any, suffix: str, content: bytes, expected: np.ndarray
) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path), expected)


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_exif_orientation_by_hand(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    # TIFF 6.0, tag 274: where the stored row 0 and column 0 belong
    expected = {
        1: COLOURS,
        2: COLOURS[:, ::-1],  # row at the top, column at the right
        3: COLOURS[::-1, ::-1],  # bottom, right
        4: COLOURS[::-1],  # bottom, left
        5: COLOURS.transpose(1, 0, 2),  # row is the left side, column the top
        6: COLOURS.transpose(1, 0, 2)[:, ::-1],  # right side, top
        7: COLOURS.transpose(1, 0, 2)[::-1, ::-1],  # right side, bottom
        8: COLOURS.transpose(1, 0, 2)[::-1],  # left side, bottom
    }[turn]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        content = encoded(Image.fromarray(COLOURS), kind, exif=exif, **options)
        np.testing.assert_array_equal(decode_picture(content), expected)
    content = encoded(Image.fromarray(COLOURS), "TIFF", tiffinfo={0x0112: turn})
    np.testing.assert_array_equal(decode_picture(content), expected)


def test_one_value_of_sixteen_bits_may_be_transparent() -> None:
    values = np.array([[1000, 257], [65535, 514]], np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 2, 2, 16, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"tRNS", struct.pack(">H", 1000)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    assert decode_picture(content, channels=1)[..., 0].tolist() == [[255, 1], [255, 2]]
    assert decode_picture(content, channels=1, background="black")[..., 0].tolist() == [[0, 1], [255, 2]]


def test_a_phones_file_of_several_pictures_is_a_jpeg(tmp_path: Path) -> None:
    one, two = Image.new("RGB", (16, 16), (200, 10, 10)), Image.new("RGB", (16, 16), (0, 0, 255))
    content = encoded(one, "MPO", save_all=True, append_images=[two])
    assert np.abs(decode_picture(content).astype(int) - [200, 10, 10]).max() < 4


def test_pixels_do_not_depend_on_the_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    from disentangle.images import decoding, fitting

    contents = [encoded(Image.fromarray(a)) for a in (COLOURS, GREYS, ALPHA)]
    contents.append(encoded(Image.fromarray(COLOURS).quantize(7), transparency=2))
    whole = [PictureDecoder(5, resize="pad")(content) for content in contents]
    monkeypatch.setattr(decoding, "_BAND", 30)
    monkeypatch.setattr(fitting, "_BAND", 30)
    for content, expected in zip(contents, whole, strict=True):
        np.testing.assert_array_equal(PictureDecoder(5, resize="pad")(content), expected)


def test_the_notes_say_what_was_done(tmp_path: Path) -> None:
    for name, content in {
        "a.png": encoded(Image.fromarray(ALPHA)),
        "b.png": encoded(Image.fromarray(GREYS)),
        "c.png": encoded(Image.fromarray(COLOURS), exif=TURNED),
        "d.png": encoded(Image.fromarray(COLOURS[:, :5])),
    }.items():
        (tmp_path / name).write_bytes(content)
    text = " | ".join(file_images(tmp_path).notes)
    for part in ("1 of 4 images may be transparent, laid over white", "1 of 4 images of 16 bits, divided by 257",
                 "1 of 4 images turned upright", "1 of 4 images no squares"):  # fmt: skip
        assert part in text
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/a.png").write_bytes(encoded(Image.fromarray(COLOURS)))
    assert file_images(tmp_path / "plain").notes == ()


def test_a_reference_can_be_cropped_as_a_training_crops_it(tmp_path: Path) -> None:
    wide = RNG.integers(0, 256, (16, 40, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(wide)))
    cropped = file_images(tmp_path, fit="center-crop")
    assert cropped.fit == "center-crop"
    np.testing.assert_array_equal(cropped.read(0, 1)[0].permute(1, 2, 0).numpy(), wide[:, 12:28])
    assert cropped.digest != file_images(tmp_path).digest
    sized = file_images(tmp_path, fit="center-crop", resolution=8).read(0, 1)[0]
    assert torch.equal(sized, (ImageFolder(tmp_path, 8).images(torch.tensor([0]))[0] * 255).round().byte())
    for wrong in ({"fit": "pad"}, {"fit": "crop"}, {"fit": "as-is", "resolution": 8}):
        with pytest.raises(InputError, match="expected as-is without one"):
            file_images(tmp_path, **wrong)


def test_fits_of_other_aspects() -> None:
    wide = RNG.integers(0, 256, (4, 12, 3), np.uint8)
    np.testing.assert_array_equal(fit_picture(wide, (4, 8), "center-crop"), wide[:, 2:10])
    np.testing.assert_array_equal(
        fit_picture(wide.transpose(1, 0, 2), (8, 4), "center-crop"), wide.transpose(1, 0, 2)[2:10]
    )
    padded = fit_picture(wide, (8, 12), "pad", background="black")
    np.testing.assert_array_equal(padded[2:6], wide)
    assert not padded[:2].any()
    assert not padded[6:].any()
    with pytest.raises(InputError, match="Unknown fit of pictures 'crop'"):
        fit_picture(wide, (4, 4), "crop")


# --- listings: the whole set, or an error


@pytest.mark.parametrize("opened", [lambda path: ImageFolder(path, 8), file_images], ids=["training", "reference"])
@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path: Path, opened: Any) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(encoded(Image.fromarray(COLOURS)))
    (tmp_path / "b").chmod(0)
    try:
        if os.access(tmp_path / "b", os.R_OK):  # as root nothing is forbidden: let the listing fail as for others
            real = os.scandir

            def scandir(path: Any) -> Any:
                if os.fspath(path).endswith("/b"):
                    raise PermissionError(13, "Permission denied", os.fspath(path))
                return real(path)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "scandir", scandir)
                with pytest.raises((DataError, InputError), match=r"/b cannot be read \(Permission denied\)"):
                    opened(tmp_path)
        else:
            with pytest.raises((DataError, InputError), match=r"/b cannot be read \(Permission denied\)"):
                opened(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o755)


def test_folders_and_archives_are_listed_by_the_same_rules(tmp_path: Path) -> None:
    place = tmp_path / "set"
    for name in ("b/2.PNG", "a/1.jpg", "a/deep/3.webp", "x.ppm", "x.pgm", ".hidden/4.png", "__MACOSX/5.png", "._6.png",
                 "n.txt", "eps.eps", "Ä.png"):  # fmt: skip
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in place.rglob("*"):
            archive.write(path, path.relative_to(place).as_posix())
    expected = ["a/1.jpg", "a/deep/3.webp", "b/2.PNG", "x.pgm", "x.ppm", "Ä.png"]
    assert open_shelf(place).paths == open_shelf(tmp_path / "set.zip").paths == expected


def test_an_archive_that_lists_fewer_parts_than_it_states(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", encoded(Image.fromarray(COLOURS)))
    whole = (tmp_path / "a.zip").read_bytes()
    place = whole.rfind(b"PK\5\6")
    (tmp_path / "a.zip").write_bytes(whole[: place + 8] + struct.pack("<HH", 9, 9) + whole[place + 12 :])
    with pytest.raises(DataError, match=r"a\.zip cannot be read as a \.zip archive \(it lists 3 parts"):
        ImageFolder(tmp_path / "a.zip", 8)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    (tmp_path / "c.png").symlink_to(tmp_path / "nowhere")
    data = ImageFolder(tmp_path, 8)
    for position, why in enumerate(("device, FIFO or socket", "device, FIFO or socket", "No such file")):
        with pytest.raises(DataError, match=rf"{'abc'[position]}\.png cannot be read as a picture .*{why}"):
            data.images(torch.tensor([position]))
    with pytest.raises(InputError, match=r"a\.png cannot be read as an image .*FIFO"):
        file_images(tmp_path)
    with pytest.raises(DataError, match="neither a folder nor a readable"):
        ImageFolder(tmp_path / "a.png", 8)
    with pytest.raises(DataError, match=r"None of the 3 pictures can be read"):
        ImageFolder(tmp_path, 8, on_bad_image="skip")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow fewer names")
def test_names_that_drive_a_terminal_or_are_no_text(tmp_path: Path) -> None:
    for name in (b"a\x1b[2J\nError: all is well.png", b"b\xff\xfe.png", "c\u202egnp.png".encode(), b"[bold]d[x].png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"no picture")
    data = ImageFolder(tmp_path, 8)
    for position in range(4):
        with pytest.raises(DataError) as caught:
            data.images(torch.tensor([position]))
        assert str(caught.value).isprintable()
        str(caught.value).encode()
    with pytest.raises(InputError) as refused:
        file_images(tmp_path).read(0, 1)
    assert str(refused.value).isprintable()


# --- classes that another tool has written down


def nvidia_set(
    where: Path, labels: Any, names: tuple[str, ...] = ("00000/a.png", "00000/b.png", "00001/c.png")
) -> None:
    with zipfile.ZipFile(where, "w") as archive:
        for name in names:
            archive.writestr(name, encoded(Image.fromarray(COLOURS)))
        archive.writestr("dataset.json", labels if isinstance(labels, str) else json.dumps(labels))


def test_classes_stand_in_dataset_json(tmp_path: Path) -> None:
    rows = [["00001/c.png", 0], ["00000/a.png", 2], ["00000/b.png", 2], ["gone.png", 7]]
    nvidia_set(tmp_path / "a.zip", {"labels": rows})
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "folder")
    for path in (tmp_path / "a.zip", tmp_path / "folder"):
        data = ImageFolder(path, 8, flip=True)
        assert data.labels is not None
        assert data.labels.tolist() == [2, 2, 0] * 2
        assert data.class_names == ("0", "1", "2")


def test_one_chunk_alone_is_no_folder_around_everything(tmp_path: Path) -> None:
    names = ("00000/a.png", "00000/b.png")
    nvidia_set(tmp_path / "a.zip", {"labels": [[name, i] for i, name in enumerate(names)]}, names)
    data = ImageFolder(tmp_path / "a.zip", 8)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1]


def test_dataset_json_without_classes(tmp_path: Path) -> None:
    nvidia_set(tmp_path / "a.zip", {"labels": None})
    data = ImageFolder(tmp_path / "a.zip", 8)
    assert (data.labels, data.class_names) == (None, ())
    nvidia_set(tmp_path / "b.zip", {"made by": "another program"})
    assert ImageFolder(tmp_path / "b.zip", 8).class_names == ("00000", "00001")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"labels": [["00000/a.png", [0.0, 1.0]]]}, r"has the label \[0\.0, 1\.0\]; expected .* the number"),
        ({"labels": [["00000/a.png", 1.0]]}, r"has the label 1\.0"),
        ({"labels": [["00000/a.png", True]]}, "has the label True"),
        ({"labels": [["00000/a.png", -1]]}, "has the label -1"),
        ({"labels": [["00000/a.png", 10**30]]}, "has the label 1000"),
        ({"labels": {"00000/a.png": 1}}, "has the label"),
        ({"labels": [[1, 2, 3]]}, "has the label"),
        ({"labels": []}, "has no label for 3 of 3 pictures"),
        ({"labels": [["00000/a.png", 1], ["00000/b.png", 1]]}, r"no label for 1 of 3 pictures, 00001/c\.png"),
        ("[" * 100_000, "is not valid JSON"),
        ("{", "is not valid JSON"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "is not valid JSON"),
    ],
)
def test_labels_that_are_no_classes(tmp_path: Path, labels: Any, message: str) -> None:
    nvidia_set(tmp_path / "a.zip", labels)
    with pytest.raises(DataError, match=message):
        ImageFolder(tmp_path / "a.zip", 8)


# --- formats


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"


def test_no_picture_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, mark = tmp_path / "bin/gs", tmp_path / "mark"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho started >> {mark}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.png").write_bytes(EPS)
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with Image.open(io.BytesIO(EPS)) as picture, pytest.raises(Exception):  # noqa: B017, PT011
        picture.load()  # the stand-in makes no picture
    assert mark.exists(), "the stand-in works"
    mark.unlink()
    with pytest.raises(DataError, match="cannot be read as a picture"):
        ImageFolder(tmp_path / "set", 8).images(torch.tensor([0]))
    with pytest.raises(InputError, match="cannot be read as an image"):
        file_images(tmp_path / "set").read(0, 1)
    with pytest.raises(PictureError):
        decode_picture(EPS)
    with pytest.raises(PictureError):
        inspect_picture(EPS)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["ICO", "PCX", "TGA", "PDF", "SGI", "JPEG2000", "ICNS", "DDS", "IM"])
def test_other_formats_are_refused_whatever_their_name(kind: str) -> None:
    try:
        content = encoded(Image.new("RGB", (32, 32)), kind)
    except (OSError, KeyError):
        pytest.skip(f"Pillow writes no {kind} here")
    with pytest.raises(PictureError, match="cannot identify"):
        decode_picture(content)


# --- sizes


def test_too_many_pixels_are_refused_with_the_way_out() -> None:
    content = blank_png(9000, 9000)
    with pytest.raises(PictureError, match=r"9000x9000 pixels, 81,000,000; .*more with max_pixels=81000000"):
        decode_picture(content)
    with pytest.raises(PictureError, match=r"up to 100 are decoded, more with max_pixels=144"):
        decode_picture(encoded(Image.fromarray(COLOURS)), max_pixels=100)
    with pytest.raises(InputError, match="max_pixels is 0"):
        PictureDecoder(8, max_pixels=0)


def test_photos_of_cameras_are_not_refused() -> None:
    """61 million pixels in a file of 18 MB, and 24 million in one of 4 MB, progressive or as WebP."""
    from disentangle.images import decoding

    jpeg = decoding._largest(4, 0, 3, 0)
    assert decoding._total((9504, 6336), jpeg, 18 << 20, None) == 7 * 9504 * 6336  # bytes that are reserved
    for besides in (6, 12):
        assert decoding._total((6000, 4000), decoding._largest(4, besides, 3, 0), 8 << 20, None)


MEASURE = """
import resource, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image
from disentangle.data.decoding import PictureDecoder
from disentangle.images import PictureError
Image.init()
Image.MAX_IMAGE_PIXELS = None
decode = PictureDecoder(64, resize="squash")
def attempt(content):
    try:
        return decode(content).shape
    except PictureError as error:
        return str(error)
contents = [Path(sys.argv[1]).read_bytes()] * 8
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) << 10
before = peak()
with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(attempt, contents))[0])
taken, allowed = peak() - before, (512 << 20) + 8 * sum(map(len, contents))
assert taken < allowed, f"{taken:,} of {allowed:,}"
"""


def hostile() -> dict[str, Any]:
    turned = {"exif": TURNED}
    return {
        "rgba.png": lambda: blank_png(7000, 7000, colour=6),
        "grey16.png": lambda: blank_png(7000, 7000, bits=16, colour=0),
        "huge16.png": lambda: blank_png(13300, 13300, bits=16, colour=0),
        "turned.jpg": lambda: encoded(Image.new("RGB", (6500, 6500)), "JPEG", **turned),
        "progressive.jpg": lambda: encoded(Image.new("RGB", (5000, 5000)), "JPEG", progressive=True, subsampling=0),
        "lossless.webp": lambda: encoded(Image.new("RGBA", (4600, 4600)), "WEBP", lossless=True),
        "lzw.tiff": lambda: encoded(Image.new("RGB", (5200, 5200)), "TIFF", compression="tiff_lzw"),
        "text.png": lambda: blank_png(
            16,
            16,
            extra=b"".join(chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(bytes(900_000), 9)) for i in range(900)),
        ),
        "profile.png": lambda: blank_png(16, 16, extra=chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(100 << 20), 9))),
        "canvas.webp": lambda: b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xfe\x3f\0\xfe\x3f\0",
        "strips.tiff": lambda: tiff_of_strips(1_000_000),
        "scans.jpg": lambda: many_scans(2000),
    }


def tiff_of_strips(count: int) -> bytes:
    """A header that lists a million strips of one row."""
    tags = [(256, 4, 1, 6000), (257, 4, 1, 6000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, count, 122),
            (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, 122)]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", *tag) for tag in tags) + bytes(4)
    return b"II*\0\x08\0\0\0" + directory + bytes(4 * count)


def many_scans(count: int) -> bytes:
    content = encoded(Image.new("L", (3000, 3000)), "JPEG", progressive=True)
    scan = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + scan * count + content[-2:]


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", sorted(hostile()))
def test_a_small_file_cannot_take_the_machine(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(hostile()[name]())
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / name], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]


def test_an_archive_of_pictures_that_unpack_without_end(tmp_path: Path) -> None:
    blank = b"P6 8000 8000 255\n" + bytes(3 * 8000 * 8000)
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
            archive.writestr("a.ppm", blank)
        with pytest.raises(DataError, match=r"would unpack to 192,000,017 bytes; the limit is"):
            ImageFolder(tmp_path / "a.zip", 8).images(torch.tensor([0]))
        with pytest.raises(InputError, match=r"would unpack to 192,000,017 bytes; the limit is"):
            file_images(tmp_path / "a.zip")


def test_parts_of_an_archive_that_overlap(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", blank_png(3000, 3000))
    whole = (tmp_path / "a.zip").read_bytes()
    end = whole.rfind(b"PK\5\6")
    start = struct.unpack_from("<L", whole, end + 16)[0]
    entry = whole[start:end]
    entries = b"".join(entry.replace(b"a.png", b"%c.png" % letter) for letter in b"abcdefgh")
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 8, 8, len(entries), start, 0)
    (tmp_path / "a.zip").write_bytes(whole[:start] + entries + tail)
    with pytest.raises(DataError, match="its parts overlap"):
        ImageFolder(tmp_path / "a.zip", 8)
