"""What is installed: one top-level package, with the mapped folders and their data inside."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy, so that nothing is left in the checkout."""
    pytest.importorskip("build")
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(".*", "*.egg-info", "runs", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, copy / "checkout", ignore=ignore)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy / "checkout")],
        check=True,
        capture_output=True,
    )
    (file,) = out.glob("*.whl")
    return file


def packages() -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return set(config["options"]["packages"].split())


def test_the_package_list_is_the_disk():
    on_disk = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "disentangle").rglob("__init__.py")
    } | {
        ".".join(("disentangle", *path.parent.relative_to(ROOT).parts))
        for folder in ("evaluations", "pretrained")
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert packages() == on_disk


def test_the_root_folders_are_linked_into_the_package():
    """For editors, type checkers and bare checkouts; without links the map in setup.cfg does it at installation."""
    for folder in ("evaluations", "pretrained"):
        link = ROOT / "disentangle" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..", folder)


@pytest.mark.parametrize("folder", ["evaluations", "pretrained"])
def test_a_second_copy_of_the_modules_is_never_imported(folder):
    code = f"import disentangle.{folder}; import {folder}"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr.endswith(
        f"ImportError: {folder} is a part of disentangle; expected import disentangle.{folder}.\n"
    )


def test_a_bare_checkout_is_whole(tmp_path):
    """Nothing installed but what it needs: the checkout's own folder on the path."""
    code = (
        "import sys; sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder)];"
        f"sys.path.insert(0, {str(ROOT)!r});"
        "import disentangle.evaluations.disentanglement as d, disentangle.pretrained as p;"
        "print(d.__file__, p.__file__)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for path in result.stdout.split():
        assert Path(path).is_relative_to(ROOT / "disentangle")


def test_only_disentangle_at_the_top_level(wheel):
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"disentangle"}


def test_every_module_and_data_file_is_inside(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "disentangle").rglob("*.py")}
    for folder in ("evaluations", "pretrained"):
        for ending in ("py", "json", "md", "safetensors"):
            expected |= {f"disentangle/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob(f"*.{ending}")}
    expected |= {"disentangle/viz/report.html.j2", "disentangle/py.typed"}
    expected = {name for name in expected if not name.endswith("README.md")}
    assert expected <= names, sorted(expected - names)


def test_installed_and_used_from_inside_and_outside_the_checkout(wheel, tmp_path):
    """Unpacked beside the checkout's own folder, as `pip install` does it."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import disentangle, disentangle.evaluations, disentangle.pretrained, disentangle.io;"
        "assert len(disentangle.io.zoo_entries()) >= 1;"
        "print(disentangle.evaluations.mig.__name__)"
    )
    for folder in (tmp_path, ROOT):
        result = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = ['', {str(site)!r}] + {sys.path!r}; {code}"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip() == "mig"


def test_a_folder_of_the_same_name_hides_nothing(tmp_path):
    """A script that lies beside a clone of the repository imports the package, not the clone's folder."""
    (tmp_path / "disentangle").mkdir()
    code = "import disentangle; print(disentangle.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() != "None", "install it anew: pip install -e ."
