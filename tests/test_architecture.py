"""Imports go down the layers only, and importing the package or its command line is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each part may import of our own, besides itself and the modules at the root of the package.
ROOT_MODULES = {
    "_version", "archives", "array_files", "checks", "colour", "config", "deprecation", "devices", "errors", "files",
    "images", "inert", "json_files", "looking", "own_code", "plugins", "signatures", "tensor_files", "text",
}  # fmt: skip
MAY_IMPORT = {
    "linalg": set(),
    "nn": {"linalg"},
    "optim": {"linalg"},
    "data": set(),
    "evaluations": {"linalg"},
    "models": {"linalg", "nn"},
    "latents": {"evaluations.features", "linalg", "models.base"},
    "viz": {"linalg"},
    "io": {"models.base", "models.discriminators", "nn", "pretrained"},
    "training": {"data", "io", "latents", "linalg", "models", "nn", "optim", "viz"},
    "quickstart": {"data", "evaluations", "io", "latents", "linalg", "models", "viz"},
    "pretrained": set(),
}
EVERYTHING = {"cli", "__init__", "__main__"}


def sources() -> list[tuple[str, Path]]:
    """(dotted name inside the package, file) of every module."""
    found = [(path.relative_to(ROOT / "disentangle"), path) for path in (ROOT / "disentangle").rglob("*.py")]
    found += [
        (Path("evaluations") / path.relative_to(ROOT / "evaluations"), path)
        for path in (ROOT / "evaluations").rglob("*.py")
    ]
    found += [(Path("pretrained") / path.name, path) for path in (ROOT / "pretrained").glob("*.py")]
    return [(".".join(name.with_suffix("").parts).removesuffix(".__init__"), path) for name, path in found]


def imported(path: Path) -> set[str]:
    """Dotted names inside our package that a file imports, at any depth of the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} uses a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("disentangle.") for name in names if name.split(".")[0] == "disentangle" and "." in name}


@pytest.mark.parametrize(("name", "path"), sources(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_go_down_the_layers(name: str, path: Path):
    part = name.split(".")[0]
    if part in EVERYTHING:
        return
    if part in ROOT_MODULES:
        allowed = ROOT_MODULES
    else:
        assert part in MAY_IMPORT, f"{part} is new: give it a layer in this test and in CONTRIBUTING.md"
        allowed = MAY_IMPORT[part] | ROOT_MODULES | {part}
    for target in imported(path):
        assert any(target == a or target.startswith(f"{a}.") for a in allowed), f"{name} must not import {target}"


def test_models_import_no_sibling_family():
    for path in (ROOT / "disentangle" / "models").glob("*.py"):
        if path.name == "__init__.py":
            continue
        siblings = {t.split(".")[1] for t in imported(path) if t.startswith("models.")}
        assert siblings <= {"base", "ops", "spaces"}, f"{path.name} imports {siblings}"


def test_evaluations_are_imported_by_their_installed_name():
    for path in [*(ROOT / "disentangle").rglob("*.py"), *(ROOT / "evaluations").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.split(".")[0] not in ("evaluations", "pretrained"), path


def test_files_stay_readable():
    for name, path in sources():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 450, f"{name} has {lines} lines; one concept a file"


HELP = (
    "from click.testing import CliRunner; from disentangle.cli import cli; "
    "result = CliRunner().invoke(cli, {}); assert result.exit_code == 0, result.output"
)
HEAVY = {"torch", "sklearn", "numpy", "matplotlib", "accelerate", "pydantic"}


@pytest.mark.parametrize(
    "statement",
    [
        "import disentangle",
        "from disentangle.cli import main",
        HELP.format(["--help"]),
        HELP.format(["train", "vae", "-h"]),
    ],
    ids=["import", "command line", "help", "command help"],
)
def test_heavy_packages_are_not_loaded(statement: str):
    check = f"import sys; heavy = {HEAVY} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", f"{statement}; {check}"], check=True)


def test_the_compiler_is_not_loaded_with_the_models():
    check = "import sys, disentangle.models, disentangle.io.foreign; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_public_names_exist():
    import disentangle

    for name in disentangle.__all__:
        assert getattr(disentangle, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        disentangle.nothing  # noqa: B018
