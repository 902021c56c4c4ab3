"""Data sets: procedural ones with known factors, readers for the published ones, folders of images.

``open_data(name_or_path)`` finds the right one by name or by what a path holds.
"""

from disentangle.data.cars3d import Cars3D
from disentangle.data.celeba import CelebA
from disentangle.data.cifar import CIFAR10, CIFAR100
from disentangle.data.factors import FactorDataset
from disentangle.data.fashion_mnist import FashionMNIST
from disentangle.data.folder import ImageFolder
from disentangle.data.images import ImageSource, LabelledImageSource
from disentangle.data.known import MPI3D, DSprites, Shapes3D
from disentangle.data.labelled import Subset, check_classes, hold_out, overlap, with_classes
from disentangle.data.lsun import LSUN
from disentangle.data.nvidia3d import Falcor3D, Isaac3D
from disentangle.data.own_factors import FactorArrays, FactorFolder, ListedFactors
from disentangle.data.point_tables import Codes, Factors, matched, read_codes, read_factors
from disentangle.data.registry import list_data, open_data, open_factors, register, splits
from disentangle.data.rooms import Rooms
from disentangle.data.smallnorb import SmallNORB
from disentangle.data.source import DataInfo, DataSource, Request
from disentangle.data.sprites import Sprites
from disentangle.signatures import checks_arguments

for _data_set in (
    CIFAR10, CIFAR100, LSUN, MPI3D, Cars3D, CelebA, DSprites, FactorArrays, FactorFolder, FashionMNIST, ImageFolder,
    Rooms, Shapes3D, SmallNORB, Sprites,
):  # fmt: skip
    checks_arguments(_data_set)

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "LSUN",
    "MPI3D",
    "Cars3D",
    "CelebA",
    "Codes",
    "DSprites",
    "DataInfo",
    "DataSource",
    "FactorArrays",
    "FactorDataset",
    "FactorFolder",
    "Factors",
    "Falcor3D",
    "FashionMNIST",
    "ImageFolder",
    "ImageSource",
    "Isaac3D",
    "LabelledImageSource",
    "ListedFactors",
    "Request",
    "Rooms",
    "Shapes3D",
    "SmallNORB",
    "Sprites",
    "Subset",
    "check_classes",
    "hold_out",
    "list_data",
    "matched",
    "open_data",
    "open_factors",
    "overlap",
    "read_codes",
    "read_factors",
    "register",
    "splits",
    "with_classes",
]


def __dir__() -> list[str]:
    return sorted(__all__)
