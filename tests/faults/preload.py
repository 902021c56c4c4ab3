"""What the process that all trainings are forked from imports once, and the tests themselves do not need."""

from __future__ import annotations

import accelerate  # noqa: F401
import matplotlib.figure  # noqa: F401
from PIL import Image

import tests.faults.trainings  # noqa: F401

Image.init()
