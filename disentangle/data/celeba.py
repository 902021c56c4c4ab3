"""CelebA: 202,599 aligned photographs of faces, 178x218 (Liu, Luo, Wang and Tang 2015)."""

from __future__ import annotations

from pathlib import Path

from disentangle.data.decoding import PictureDecoder
from disentangle.data.encoded import CACHE_BYTES, EncodedImages
from disentangle.data.places import PathLike, reads_files
from disentangle.errors import DataError, unknown_name
from disentangle.images import open_shelf

__all__ = ["CROPS", "CelebA", "find_celeba"]

PICTURES = "img_align_celeba"
SIZE = (178, 218)  # width, height
CROPS = {"170": (4, 24, 4, 24), "none": (0, 0, 0, 0)}  # left, top, right, bottom


class CelebA(EncodedImages):
    """The aligned and cropped pictures of CelebA, from a local folder or archive.

    Args:
        data_dir: the folder ``img_align_celeba``, its .zip, or a folder that holds one of them, directly or in a
            sub-folder ``celeba`` (torchvision's layout).
        resolution: height and width in pixels.
        crop: ``"170"`` takes rows 24:-24 and columns 4:-4 of the 178x218 pictures, a square of 170; ``"none"`` takes
            the central square of 178.
        flip: append the mirror image of every picture, which doubles the length.
        cache_bytes: decoded pictures are kept in memory up to this size.
        on_bad_image: ``"raise"`` or ``"skip"``, as for :class:`~disentangle.data.folder.ImageFolder`.

    Attributes:
        image_shape: (3, resolution, resolution).
        folder: the folder or archive the pictures come from.

    Raises:
        InputError: an unknown option.
        DataError: the pictures are not found; by :meth:`images`, a picture that is unreadable or not 178x218.
    """

    def __init__(
        self,
        data_dir: PathLike,
        resolution: int,
        *,
        crop: str = "170",
        flip: bool = False,
        cache_bytes: int = CACHE_BYTES,
        on_bad_image: str = "raise",
    ) -> None:
        if crop not in CROPS:
            raise unknown_name("crop", crop, CROPS)
        found = find_celeba(data_dir)
        if found is None:
            raise DataError(
                f"CelebA was not found in {data_dir}: looked for the folder {PICTURES} and the archive {PICTURES}.zip, "
                "there and in its sub-folder celeba; give the folder of the aligned pictures."
            )
        self.folder = found
        decoder = PictureDecoder(resolution, source_size=SIZE, margins=CROPS[crop])
        super().__init__(open_shelf(found), decoder, flip=flip, cache_bytes=cache_bytes, on_bad_image=on_bad_image)


@reads_files
def find_celeba(data_dir: PathLike) -> Path | None:
    """The folder or archive of the aligned pictures in or at ``data_dir``, or None."""
    root = Path(data_dir).expanduser()
    if root.is_file():
        return root if root.suffix.lower() == ".zip" else None
    for folder in (root, root / "celeba", root / "CelebA"):
        for candidate in (folder / PICTURES, folder / f"{PICTURES}.zip"):
            if candidate.exists():
                return candidate
    # The folder itself, by its name or by its first picture.
    return root if root.is_dir() and (root.name == PICTURES or (root / "000001.jpg").is_file()) else None
