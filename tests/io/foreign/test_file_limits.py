"""A small file cannot take the machine: what a file shares, states or hides is measured in a process of its own."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from greedy_files import FOUR, START, files
from hostile_files import legacy, storage, zipped
from sample_files import torch_bytes

from disentangle.errors import CheckpointError
from disentangle.inert import Limits, read_inert
from disentangle.io import foreign

# One process reads one file in every way. It prints how much memory that took above its imports (megabytes), the
# seconds, and what was said; the address space ends 3 GiB above.
CHILD = """
import json, resource, sys, time
import torch
torch.set_num_threads(1)
from disentangle.io import foreign
from disentangle.inert import read_plain
from disentangle.cli import convert as command
from disentangle.errors import CheckpointError
import disentangle.models
path, out = sys.argv[1:3]
def shown(path):
    command.listing(foreign.contents(path))
readers = [foreign.read_inert, read_plain, shown, lambda path: foreign.convert(path, out, discriminator=out + ".d")]
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 3 * 2**30,) * 2)
before, start, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), []
for reader in readers:
    try:
        reader(path)
        said.append("")
    except CheckpointError as error:
        said.append(str(error))
took = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([took // 1024, time.process_time() - start, said]))
"""


FILES = files()


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="measures a process by /proc")
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_small_file_takes_little(name, tmp_path):
    path = tmp_path / "file.pt"
    path.write_bytes(FILES[name]())
    assert path.stat().st_size < 8 * 2**20
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(path), str(tmp_path / "out.safetensors")]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr[-2000:]
    took, seconds, said = json.loads(run.stdout)
    size = path.stat().st_size / 2**20
    assert took < 512 + 8 * size, f"{took} MB"
    assert seconds < 4 * (10 + size)
    for message in said:
        assert len(message) < 1000
        assert message.isprintable()


SENTENCES = (
    "type found in torch", "extended precision", "text of impossible letters", "shape that overflows",
    "nothing beside a known name", "array of a shape that overflows", "bytes of a number",
)  # fmt: skip


@pytest.mark.parametrize("name", SENTENCES)
def test_what_cannot_be_read_is_said_in_one_sentence(name, tmp_path):
    path = tmp_path / "file.pt"
    path.write_bytes(FILES[name]())
    said = []
    for reader in (foreign.read_inert, foreign.read, foreign.contents):
        try:
            reader(path)
        except CheckpointError as error:
            said.append(str(error))
    assert said
    assert all(message.startswith(str(path)) and message.isprintable() for message in said)


def test_a_name_of_a_type_is_not_looked_up_in_torch(tmp_path):
    path = tmp_path / "file.pt"
    path.write_bytes(FILES["type found in torch"]())
    code = (
        "import sys; from disentangle.inert import read_inert\ntry: read_inert(sys.argv[1])\nexcept ValueError: pass\n"
    )
    code += "assert 'torch.onnx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_names_reach_the_terminal_escaped(tmp_path):
    from click.testing import CliRunner

    from disentangle.cli import cli

    evil = "\x1b]0;owned\x07\x1b[2J\n\x1b[31mError: all is well"
    path = tmp_path / "file.pt"
    path.write_bytes(
        torch_bytes({"g_ema": {"conv1.conv.modulation.bias": torch.ones(2), evil: torch.ones(2)}, evil: 1})
    )
    listed = CliRunner().invoke(cli, ["convert", str(path), "--list"]).output
    assert "\\x1b]0;owned\\x07" in listed
    assert all(line.isprintable() for line in listed.splitlines())
    with pytest.raises(CheckpointError) as caught:
        foreign.read(path)
    assert "\\x1b[2J" in str(caught.value)
    assert str(caught.value).isprintable()


def test_limits_are_raised_by_an_option(tmp_path):
    path = tmp_path / "file.pkl"
    path.write_bytes(START + b"(" + b"N" * 3_100_000 + b"t.")
    with pytest.raises(CheckpointError, match="more than 3,000,000 objects.*--allow"):
        read_inert(path)
    assert len(read_inert(path, limits=Limits().times(2))) == 3_100_000


def test_fifo_and_device_are_no_checkpoints(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="device, FIFO or socket"):
            read_inert(path)


def test_a_torch_file_with_two_answers_is_refused(tmp_path):
    """Two parts of one name, two pickles, one storage in two sizes: readers would differ in which they take."""
    path = tmp_path / "file.pt"
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/data.pkl", b"\x80\x02K\x01.")
    path.write_bytes(held.getvalue())
    with pytest.raises(CheckpointError, match="two of its parts have one name"):
        read_inert(path)
    path.write_bytes(zipped(b"\x80\x02N.", {"b/data.pkl": b"\x80\x02K\x01."}))
    with pytest.raises(CheckpointError, match="several pickles"):
        read_inert(path)
    two = b"\x80\x02" + storage(numel=2) + b"0" + storage(kind="DoubleStorage", numel=1) + b"."
    for content in (zipped(two, {"archive/data/0": bytes(8)}), legacy(two, ["0"], struct.pack("<q", 2) + bytes(8))):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="announced in two sizes"):
            read_inert(path)
    path.write_bytes(legacy(b"\x80\x02" + storage() + b".", ["0", "0"], FOUR * 2))
    with pytest.raises(CheckpointError, match="names one twice"):
        read_inert(path)


def test_objects_that_share_are_read_as_such(tmp_path):
    """The budget counts what is made, not what is referred to: sharing itself costs nothing."""
    weight = torch.ones(1000, 1000)
    data = OrderedDict((f"w{i}", weight) for i in range(1000))
    path = tmp_path / "file.pt"
    path.write_bytes(torch_bytes({"state": data, "args": Namespace(x=1)}))
    found = read_inert(path)["state"]
    assert len({tensor.data_ptr() for tensor in found.values()}) == 1
