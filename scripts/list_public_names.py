"""Writes tests/public_names.json: every public name and its arguments. Run it when a name was added on purpose."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.test_public_names import INVENTORY, public_names  # noqa: E402

INVENTORY.write_text(json.dumps(public_names(), indent=1) + "\n")
