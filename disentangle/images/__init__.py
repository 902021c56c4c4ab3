"""Picture files: one decoder with named policies, one walker of folders and archives, for every part of the toolkit.

The same file gives the same pixels wherever it is read: as training data, as a reference set, to be inverted, to be
classified.
"""

from disentangle.images.decoding import BACKGROUNDS, FORMATS, PictureError, PictureInfo, decode_picture, inspect_picture
from disentangle.images.fitting import FITS, fit_picture
from disentangle.images.listing import LARGEST, SUFFIXES, FolderShelf, ZipShelf, open_shelf, read_picture_file

__all__ = [
    "BACKGROUNDS",
    "FITS",
    "FORMATS",
    "LARGEST",
    "SUFFIXES",
    "FolderShelf",
    "PictureError",
    "PictureInfo",
    "ZipShelf",
    "decode_picture",
    "fit_picture",
    "inspect_picture",
    "open_shelf",
    "read_picture_file",
]


def __dir__() -> list[str]:
    return sorted(__all__)
