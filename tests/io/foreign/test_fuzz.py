"""Programs for the pickle machine, drawn at random: data, or one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hostile_files import legacy, text, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.errors import CheckpointError
from disentangle.io import foreign

NAMES = [
    b"cos\nsystem\n", b"cbuiltins\nexec\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n",
    b"ctorch.storage\n_load_from_bytes\n", b"ccollections\nOrderedDict\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n",
    b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n", b"cbuiltins\nset\n",
    b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n", b"cargparse\nNamespace\n", b"ctorch\nSize\n",
    b"ccopyreg\n_reconstructor\n", b"ctorch._tensor\n_rebuild_from_type_v2\n",
]  # fmt: skip

INSTRUCTIONS = b"(.012)]}ltdeaubsRNQoiq\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"

pieces = st.one_of(
    st.sampled_from(
        [bytes([code]) for code in b"(.012)]}ltdeaubsRNQoiq\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"]
    ),
    st.sampled_from(NAMES),
    st.sampled_from(["storage", "f4", "latin1", "0", "cpu", "x" * 40]).map(text),
    st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
    st.integers(0, 6).map(lambda n: b"h" + bytes([n])),
    st.integers(0, 6).map(lambda n: b"q" + bytes([n])),
    st.integers(-(2**40), 2**40).map(lambda n: b"\x8a\x08" + struct.pack("<q", n)),
    st.binary(max_size=20).map(lambda b: b"C" + bytes([len(b)]) + b),
    st.binary(max_size=4),
)
programs = st.lists(pieces, max_size=40).map(lambda parts: b"\x80\x04" + b"".join(parts) + b".")
containers = st.sampled_from([lambda p: p, zipped, legacy, lambda p: zipped(p, {"archive/data/0": bytes(16)})])


def read(content: bytes, folder: Path) -> None:
    path = folder / "drawn.pt"
    path.write_bytes(content)
    for reader in (foreign.read_inert, foreign.read):
        try:
            reader(path)
        except CheckpointError as error:
            said = str(error)
            assert said.startswith(str(path))
            assert "\n" not in said


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, container=containers)
def test_drawn_programs(program, container, tmp_path):
    read(container(program), tmp_path)


@pytest.mark.slow
@settings(max_examples=6000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, container=containers)
def test_many_drawn_programs(program, container, tmp_path):
    read(container(program), tmp_path)
