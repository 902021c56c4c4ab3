"""Folders, archives and databases of pictures; all the files are written here."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.data import LSUN, CelebA, ImageFolder, ImageSource, LabelledImageSource
from disentangle.data.encoded import PictureCache
from disentangle.errors import DataError, InputError


def colours(n: int, size: tuple[int, int] = (8, 8), seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)) for _ in range(n)]


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def save(path: Path, picture: Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def levels(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().to(torch.uint8)


def one(folder: Path, resolution: int, **options: Any) -> torch.Tensor:
    """The only picture of a folder, (channels, resolution, resolution) in 0 to 255."""
    return levels(ImageFolder(folder, resolution, **options).images(torch.tensor([0])))[0]


# --- order, classes, folders and archives


def test_pictures_come_in_the_order_of_their_paths_and_unchanged(tmp_path: Path) -> None:
    pictures = colours(4)
    for name, picture in zip(("b.png", "sub/a.bmp", "sub/deep/x.PNG", "zz.tiff"), pictures, strict=True):
        save(tmp_path / name, picture)
    (tmp_path / "notes.txt").write_text("no picture")
    data = ImageFolder(tmp_path, 8)
    assert isinstance(data, ImageSource)
    assert len(data) == 4
    assert data.image_shape == (3, 8, 8)
    assert data.labels is None
    assert data.class_names == ()
    images = data.images(torch.tensor([2, 0, 1, 3, 2]))
    assert images.dtype == torch.float32
    for row, position in zip(levels(images), (2, 0, 1, 3, 2), strict=True):
        assert torch.equal(row, torch.from_numpy(np.asarray(pictures[position]).copy()).permute(2, 0, 1))
    assert data.name(3).endswith("zz.tiff")


def test_first_level_folders_are_classes(tmp_path: Path) -> None:
    for name in ("dogs/1.png", "dogs/old/2.png", "cats/9.png", "birds/0.png"):
        save(tmp_path / name, colours(1)[0])
    data = ImageFolder(tmp_path, 8)
    assert isinstance(data, LabelledImageSource)
    assert data.class_names == ("birds", "cats", "dogs")
    assert data.labels is not None
    assert data.labels.dtype == torch.int64
    assert data.labels.tolist() == [0, 1, 2, 2]
    save(tmp_path / "loose.png", colours(1)[0])
    assert ImageFolder(tmp_path, 8).labels is None


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colours(1)[0])
    for name in ("._a.png", ".cache/b.png", "__MACOSX/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"not a picture")
    assert len(ImageFolder(tmp_path, 8)) == 1


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere/a.png", colours(1)[0])
    (tmp_path / "set").mkdir()
    (tmp_path / "set/link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "set/circle").symlink_to(tmp_path / "set", target_is_directory=True)
    assert len(ImageFolder(tmp_path / "set", 8)) == 1


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("around", ["", "photos/"])
def test_an_archive_is_the_folder_it_was_made_of(tmp_path: Path, around: str, compression: int) -> None:
    names = ("cats/a.png", "cats/b.png", "dogs/c.png")
    for name, picture in zip(names, colours(3), strict=True):
        save(tmp_path / "set" / name, picture)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", compression) as archive:
        for name in reversed(names):
            archive.write(tmp_path / "set" / name, around + name)
        archive.writestr("__MACOSX/cats/._a.png", b"")
    folder, archived = ImageFolder(tmp_path / "set", 8), ImageFolder(tmp_path / "set.zip", 8)
    assert archived.class_names == folder.class_names == ("cats", "dogs")
    assert archived.labels is not None
    assert archived.labels.tolist() == [0, 0, 1]
    assert torch.equal(archived.images(torch.arange(3)), folder.images(torch.arange(3)))
    assert archived.name(0) == f"{tmp_path / 'set.zip'}:{around}cats/a.png"


def test_an_archive_is_never_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("../outside.png", encoded(colours(1)[0]))
    assert len(ImageFolder(tmp_path / "set.zip", 8).images(torch.tensor([0]))) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["set.zip"]


# --- sizes


def test_centre_crop(tmp_path: Path) -> None:
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    save(tmp_path / "a.png", Image.fromarray(wide))
    assert torch.equal(one(tmp_path, 8), torch.from_numpy(wide[:, 6:14].copy()).permute(2, 0, 1))


def test_squash_keeps_the_whole_picture(tmp_path: Path) -> None:
    halves = np.zeros((8, 32, 3), np.uint8)
    halves[:, 16:] = 255
    save(tmp_path / "a.png", Image.fromarray(halves))
    squashed = one(tmp_path, 8, resize="squash")
    assert (squashed[:, :, :3] < 30).all()
    assert (squashed[:, :, 5:] > 225).all()


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_pad_keeps_the_aspect(tmp_path: Path, background: str, level: int, channels: int) -> None:
    save(tmp_path / "a.png", Image.new("RGB", (16, 8), (100, 100, 100)))
    padded = one(tmp_path, 16, resize="pad", background=background, channels=channels)
    assert (padded[:, :4] == level).all()
    assert (padded[:, 12:] == level).all()
    assert (padded[:, 4:12] == 100).all()


def test_a_very_thin_picture_is_padded(tmp_path: Path) -> None:
    save(tmp_path / "a.png", Image.new("L", (1, 900), 100))
    assert one(tmp_path, 16, resize="pad").shape == (3, 16, 16)


@pytest.mark.parametrize("resolution", [3, 8, 50])
def test_any_size_becomes_the_resolution(tmp_path: Path, resolution: int) -> None:
    save(tmp_path / "a.png", Image.new("RGB", (13, 9), (10, 20, 30)))
    picture = one(tmp_path, resolution)
    assert picture.shape == (3, resolution, resolution)
    assert (picture == torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None]).all()


def test_making_smaller_averages(tmp_path: Path) -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    save(tmp_path / "a.png", Image.fromarray(checks.astype(np.uint8)))
    assert (one(tmp_path, 8, channels=1).float() - 127.5).abs().max() < 10


# --- colour modes


def test_exif_orientation(tmp_path: Path) -> None:
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[:2] = 255  # bright at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    stored = np.rot90(upright, 1).copy()
    save(tmp_path / "a.png", Image.fromarray(stored), exif=exif)
    assert torch.equal(one(tmp_path, 8), torch.from_numpy(upright).permute(2, 0, 1))


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_pixels_show_the_background(tmp_path: Path, mode: str, background: str, level: int) -> None:
    if mode in ("RGBA", "LA"):
        picture = Image.new("RGBA", (8, 8), (90, 90, 90, 255)).convert(mode)
        picture.paste((90, 0) if mode == "LA" else (90, 90, 90, 0), (0, 0, 8, 4))
        save(tmp_path / "a.png", picture)
    else:
        picture = Image.new(mode, (8, 8), 1)
        if mode == "P":
            picture.putpalette([0, 0, 0, 90, 90, 90])
        picture.paste(0, (0, 0, 8, 4))
        save(tmp_path / "a.png", picture, transparency=0)
    found = one(tmp_path, 8, background=background)
    assert (found[:, :4] == level).all()
    assert (found[:, 4:] == (1 if mode == "L" else 90)).all()


def test_half_transparent_pixels_are_mixed(tmp_path: Path) -> None:
    save(tmp_path / "a.png", Image.new("RGBA", (8, 8), (0, 0, 0, 51)))
    assert (one(tmp_path, 8) == 204).all()


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    values = (np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8)
    save(tmp_path / f"a.{suffix}", Image.fromarray(values))
    expected = torch.from_numpy(np.rint(values / 257).astype(np.uint8))
    assert torch.equal(one(tmp_path, 8), expected.expand(3, 8, 8))
    assert torch.equal(one(tmp_path, 8, channels=1), expected[None])


@pytest.mark.parametrize(
    ("name", "picture", "level"),
    [
        ("a.png", Image.new("1", (8, 8), 1), (255, 255, 255)),
        ("a.png", Image.new("L", (8, 8), 7), (7, 7, 7)),
        ("a.gif", Image.new("RGB", (8, 8), (255, 0, 0)), (255, 0, 0)),
        ("a.webp", Image.new("RGB", (8, 8), (255, 255, 255)), (255, 255, 255)),
        ("a.jpeg", Image.new("CMYK", (8, 8), (0, 0, 0, 0)), (255, 255, 255)),
        ("a.jpg", Image.new("YCbCr", (8, 8), (100, 128, 128)), (100, 100, 100)),
    ],
)
def test_colour_modes(tmp_path: Path, name: str, picture: Image.Image, level: tuple[int, int, int]) -> None:
    save(tmp_path / name, picture)
    found = one(tmp_path, 8).float().mean((1, 2))
    assert (found - torch.tensor(level)).abs().max() <= 1


def test_grey_is_the_usual_luma(tmp_path: Path) -> None:
    save(tmp_path / "a.png", Image.new("RGB", (8, 8), (200, 100, 50)))
    found = one(tmp_path, 8, channels=1)
    assert found.shape == (1, 8, 8)
    assert abs(int(found[0, 0, 0]) - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) <= 1


def test_the_first_picture_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (one(tmp_path, 8) == 255).all()


# --- flip, cache, processes


def test_flip_appends_the_mirror_images(tmp_path: Path) -> None:
    for name, picture in zip(("x/a.png", "y/b.png"), colours(2), strict=True):
        save(tmp_path / name, picture)
    plain, flipped = ImageFolder(tmp_path, 8), ImageFolder(tmp_path, 8, flip=True)
    assert len(flipped) == 4
    assert flipped.labels is not None
    assert flipped.labels.tolist() == [0, 1, 0, 1]
    both = flipped.images(torch.tensor([3, 0, 1, 2, 0]))
    a, b = plain.images(torch.arange(2))
    assert torch.equal(both, torch.stack((b.flip(-1), a, b, a.flip(-1), a)))
    assert flipped.name(3) == plain.name(1)


def test_decoded_pictures_are_kept_up_to_the_limit(tmp_path: Path) -> None:
    for number, picture in enumerate(colours(5)):
        save(tmp_path / f"{number}.png", picture)
    size = 3 * 8 * 8
    for kept, limit in ((0, 0), (2, 2 * size + size // 2), (5, 100 * size)):
        data = ImageFolder(tmp_path, 8, cache_bytes=limit)
        read: list[int] = []
        original = data._shelf.read
        data._shelf.read = lambda position, read=read, original=original: read.append(position) or original(position)  # type: ignore[method-assign,misc]
        first = data.images(torch.arange(5))
        assert sorted(read) == [0, 1, 2, 3, 4]
        read.clear()
        assert torch.equal(data.images(torch.arange(5)), first)
        assert len(read) == 5 - kept


def test_a_picture_is_decoded_once_a_batch(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colours(1)[0])
    data = ImageFolder(tmp_path, 8, cache_bytes=0)
    read: list[int] = []
    original = data._shelf.read
    data._shelf.read = lambda position: read.append(position) or original(position)  # type: ignore[method-assign,func-returns-value]
    data.images(torch.zeros(7, dtype=torch.int64))
    assert read == [0]


def test_the_cache_keeps_the_first_ones_whatever_the_order() -> None:
    cache = PictureCache(6, (1,), 3)
    pictures = np.arange(6, dtype=np.uint8)[:, None]
    for batch in ([4, 2], [2, 0, 5], [1, 3]):
        positions = np.array(batch)
        cache.store(positions, pictures[positions])
    out = np.full((6, 1), 99, np.uint8)
    missing = cache.fetch(np.arange(6), out)
    assert missing.tolist() == [1, 3, 5]
    assert out[:, 0].tolist() == [0, 99, 2, 99, 4, 99]


def test_threads_may_share_a_source(tmp_path: Path) -> None:
    pictures = colours(24)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, picture in enumerate(pictures):
            archive.writestr(f"{number:02}.png", encoded(picture))
    expected = torch.stack([torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1) for picture in pictures])
    data = ImageFolder(tmp_path / "set.zip", 8, cache_bytes=10 * 3 * 64)
    start = threading.Barrier(6)

    def work(seed: int) -> bool:
        start.wait()
        order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
        return all(torch.equal(levels(data.images(part)), expected[part]) for part in order.split(5))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))


def small_set(folder: Path) -> Path:
    """A .zip with five pictures."""
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for number, picture in enumerate(colours(5)):
            archive.writestr(f"{number}.png", encoded(picture))
    return folder / "set.zip"


def small_lmdb(folder: Path, n: int = 5) -> Path:
    lmdb = pytest.importorskip("lmdb")
    environment = lmdb.open(str(folder), map_size=1 << 24)
    with environment.begin(write=True) as transaction:
        for number in reversed(range(n)):
            # Keys of different lengths, which sort as bytes.
            transaction.put(b"key%d" % number + b"x" * (number % 2), encoded(colours(n)[number], "WEBP", lossless=True))
    environment.close()
    return folder


@pytest.mark.parametrize("kind", ["zip", "lmdb"])
def test_sources_travel_to_other_processes(tmp_path: Path, kind: str) -> None:
    data = ImageFolder(small_set(tmp_path), 8) if kind == "zip" else LSUN(small_lmdb(tmp_path), 8)
    expected = data.images(torch.arange(5))
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.images(torch.arange(5)), expected)
    assert len(pickle.dumps(data)) < 4000  # neither the cache nor an open file goes along


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["zip", "lmdb"])
def test_forked_workers_read_right(tmp_path: Path, kind: str) -> None:
    where = small_set(tmp_path) if kind == "zip" else small_lmdb(tmp_path)
    data = ImageFolder(where, 8, cache_bytes=0) if kind == "zip" else LSUN(where, 8, cache_bytes=0)
    expected = data.images(torch.tensor([3]))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def work() -> None:
        same = all(torch.equal(data.images(torch.tensor([3])), expected) for _ in range(50))
        queue.put(same)

    workers = [context.Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert all(torch.equal(data.images(torch.tensor([3])), expected) for _ in range(50))
    assert [queue.get(timeout=60) for _ in workers] == [True] * 3
    for worker in workers:
        worker.join()


# --- bad input


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colours(1)[0])
    (tmp_path / "b.jpg").write_bytes(b"this is no picture")
    data = ImageFolder(tmp_path, 8)
    assert len(data.images(torch.tensor([0]))) == 1
    for batch in ([1], [0, 1]):
        with pytest.raises(DataError, match=r"b\.jpg cannot be read as a picture .*on_bad_image='skip'"):
            data.images(torch.tensor(batch))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
def test_a_cut_off_picture_is_named(tmp_path: Path, kind: str) -> None:
    whole = encoded(colours(1, (64, 64))[0], kind)
    (tmp_path / f"a.{kind.lower()}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"a.{kind.lower()} cannot be read as a picture"):
        one(tmp_path, 8)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)), "floating-point"),
        (Image.fromarray(np.full((8, 8), 70000, np.int32)), "outside 0 to 65535"),
    ],
)
def test_values_without_a_known_white_are_refused(tmp_path: Path, picture: Image.Image, message: str) -> None:
    save(tmp_path / "a.tiff", picture)
    with pytest.raises(DataError, match=rf"a\.tiff .*{message}"):
        one(tmp_path, 8)


def test_a_removed_picture_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colours(1)[0])
    data = ImageFolder(tmp_path, 8)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        data.images(torch.tensor([0]))


def test_a_picture_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    save(tmp_path / "a.png", colours(1)[0])
    with pytest.raises(DataError, match=r"a\.png cannot be read .*decompression bomb"):
        one(tmp_path, 8)


def test_an_archive_member_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from disentangle.images import listing

    monkeypatch.setattr(listing, "LARGEST", 100)
    with pytest.raises(DataError, match=r"set\.zip:0\.png .*the limit is 100"):
        one(small_set(tmp_path), 8)


def test_unreadable_pictures_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, picture in zip(("x/1.png", "y/3.png"), colours(2), strict=True):
        save(tmp_path / name, picture)
    (tmp_path / "x/0.png").write_bytes(b"")
    (tmp_path / "y/4.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    whole = ImageFolder(tmp_path, 8)
    data = ImageFolder(tmp_path, 8, on_bad_image="skip", flip=True)
    assert len(whole) == 4
    assert len(data) == 4
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert torch.equal(data.images(torch.arange(2)), whole.images(torch.tensor([1, 2])))
    assert [Path(name).name for name in data.skipped] == ["0.png", "4.png"]
    assert "0.png" in caplog.text
    assert "4.png" in caplog.text


def test_only_unreadable_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"None of the 1 pictures can be read; the first is .*a\.png"):
        ImageFolder(tmp_path, 8, on_bad_image="skip")


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    message = r"holds no images \(looked for \.png, \.jpg, \.jpeg, \.webp, \.bmp, \.gif, \.tif, \.tiff, \.ppm and"
    with pytest.raises(DataError, match=message) as caught:
        ImageFolder(tmp_path, 8)
    assert str(tmp_path) in str(caught.value)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", "")
    with pytest.raises(DataError, match=r"empty\.zip holds no images"):
        ImageFolder(tmp_path / "empty.zip", 8)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder or \.zip archive .*typo"):
        ImageFolder(tmp_path / "typo", 8)
    (tmp_path / "a.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"a\.zip is neither a folder nor a readable \.zip"):
        ImageFolder(tmp_path / "a.zip", 8)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = small_set(tmp_path)
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)  # within the first picture
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"set\.zip:0\.png cannot be read"):
        ImageFolder(path, 8).images(torch.tensor([0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": "crop"}, "Unknown resize 'crop'"),
        ({"channels": 4}, r"channels is 4; expected 3 \(RGB\) or 1"),
        ({"background": "whyte"}, "background 'whyte'; did you mean 'white'"),
        ({"on_bad_image": "ignore"}, "Unknown value of on_bad_image 'ignore'"),
        ({"cache_bytes": -1}, "cache_bytes is -1"),
        ({"resolution": 0}, "resolution is 0"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    save(tmp_path / "a.png", colours(1)[0])
    with pytest.raises(InputError, match=message):
        ImageFolder(tmp_path, **{"resolution": 8, **options})


@pytest.mark.parametrize(
    ("indices", "message"),
    [(torch.tensor([1]), "positions 0 to 0"), (torch.tensor([0.5]), "float"), (torch.tensor(0), "one dimension")],
)
def test_wrong_indices(tmp_path: Path, indices: torch.Tensor, message: str) -> None:
    save(tmp_path / "a.png", colours(1)[0])
    with pytest.raises(InputError, match=message):
        ImageFolder(tmp_path, 8).images(indices)


def test_no_indices_give_no_pictures(tmp_path: Path) -> None:
    save(tmp_path / "a.png", colours(1)[0])
    assert ImageFolder(tmp_path, 8).images(torch.tensor([])).shape == (0, 3, 8, 8)


# --- CelebA


@pytest.mark.parametrize(
    ("layout", "archive"),
    [
        ("img_align_celeba", False),
        ("celeba/img_align_celeba", False),
        ("img_align_celeba/img_align_celeba", False),
        ("img_align_celeba", True),
        ("celeba/img_align_celeba", True),
    ],
)
def test_celeba_is_found_and_cropped(tmp_path: Path, layout: str, archive: bool) -> None:
    pictures = colours(2, (178, 218))
    if archive:
        target = tmp_path / f"{layout}.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(target, "w") as file:
            for number, picture in enumerate(pictures, 1):
                file.writestr(f"img_align_celeba/{number:06}.png", encoded(picture))
    else:
        for number, picture in enumerate(pictures, 1):
            save(tmp_path / layout / f"{number:06}.png", picture)
    data = CelebA(tmp_path, 170)
    assert len(data) == 2
    assert data.image_shape == (3, 170, 170)
    expected = torch.from_numpy(np.asarray(pictures[1])[24:-24, 4:-4].copy()).permute(2, 0, 1)
    assert torch.equal(levels(data.images(torch.tensor([1])))[0], expected)
    central = torch.from_numpy(np.asarray(pictures[0])[20:-20].copy()).permute(2, 0, 1)
    assert torch.equal(levels(CelebA(tmp_path, 178, crop="none").images(torch.tensor([0])))[0], central)
    assert CelebA(data.folder, 32).images(torch.arange(2)).shape == (2, 3, 32, 32)  # by its own path too


def test_celeba_by_its_first_picture(tmp_path: Path) -> None:
    save(tmp_path / "faces/000001.jpg", colours(1, (178, 218))[0])
    assert len(CelebA(tmp_path / "faces", 32)) == 1


def test_celeba_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"CelebA was not found in .*img_align_celeba\.zip"):
        CelebA(tmp_path, 32)
    save(tmp_path / "img_align_celeba/000001.png", colours(1, (100, 100))[0])
    with pytest.raises(InputError, match="Unknown crop '178'"):
        CelebA(tmp_path, 32, crop="178")
    with pytest.raises(DataError, match=r"000001\.png .*100x100 pixels instead of 178x218"):
        CelebA(tmp_path, 32).images(torch.tensor([0]))


# --- LSUN


def test_lsun_in_the_order_of_its_keys(tmp_path: Path) -> None:
    folder = small_lmdb(tmp_path / "bedroom_val_lmdb", 12)
    before = sorted(path.name for path in folder.iterdir())
    data = LSUN(folder, 8)
    assert len(data) == 12
    assert data.image_shape == (3, 8, 8)
    order = sorted(range(12), key=lambda number: b"key%d" % number + b"x" * (number % 2))
    found = levels(data.images(torch.arange(12)))
    for row, number in zip(found, order, strict=True):
        assert torch.equal(row, torch.from_numpy(np.asarray(colours(12)[number]).copy()).permute(2, 0, 1))
    assert data.name(0).endswith(":key0")
    assert sorted(path.name for path in folder.iterdir()) == before


def test_lsun_needs_no_lock_file_and_opens_twice(tmp_path: Path) -> None:
    folder = small_lmdb(tmp_path)
    (folder / "lock.mdb").unlink()
    first, second = LSUN(folder, 8), LSUN(folder, 16)
    assert first.images(torch.arange(5)).shape == (5, 3, 8, 8)
    assert second.images(torch.arange(5)).shape == (5, 3, 16, 16)
    assert not (folder / "lock.mdb").exists()


def test_lsun_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no data\.mdb; expected an LSUN folder"):
        LSUN(tmp_path, 8)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/data.mdb").write_bytes(b"x" * 9000)
    pytest.importorskip("lmdb")
    with pytest.raises(DataError, match=r"damaged cannot be read as an lmdb database"):
        LSUN(tmp_path / "damaged", 8)
    with pytest.raises(DataError, match=r"empty holds no pictures"):
        LSUN(small_lmdb(tmp_path / "empty", 0), 8)


def test_lsun_names_a_bad_value(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    environment = lmdb.open(str(tmp_path), map_size=1 << 20)
    with environment.begin(write=True) as transaction:
        transaction.put(b"abc", b"no picture")
    environment.close()
    with pytest.raises(DataError, match=":abc cannot be read as a picture"):
        LSUN(tmp_path, 8).images(torch.tensor([0]))
