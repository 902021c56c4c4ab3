"""Files that try to run code, to fill the memory or to break the reader, by name."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
SHOUT = b"cos\nsystem\n(S'touch hacked'\ntR"
PERSISTENT = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def storage(kind: str = "FloatStorage", key: str = "0", numel: int = 4) -> bytes:
    return b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + whole(numel) + b"tQ"


def tensor(of: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(whole, values)) + b"t"

    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + of + whole(offset) + numbers(size) + numbers(stride) + b"\x89}tR"


def zipped(pickled: bytes, entries: dict[str, bytes] | None = None, *, compressed: bool = False) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in (entries or {}).items():
            archive.writestr(name, content)
    return held.getvalue()


def legacy(pickled: bytes, keys: list[str] | None = None, data: bytes = b"") -> bytes:
    return LEGACY + pickled + pickle.dumps(keys or [], 2) + data


def nested(depth: int) -> bytes:
    """Storages inside storages."""
    inner = legacy(b"\x80\x02" + storage() + b".", ["0"], struct.pack("<q", 4) + bytes(16))
    for _ in range(depth):
        load = b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(inner)) + inner + b"tR."
        inner = legacy(b"\x80\x03" + load)
    return b"\x80\x03ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(inner)) + inner + b"tR."


def stored(raw: bytes) -> bytes:
    """A storage of these bytes, as a pickled module has it."""
    return b"\x80\x03ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(raw)) + raw + b"tR."


def array(dtype: bytes, shape: bytes = b"K\x04\x85", raw: bytes = b"C\x10" + bytes(16)) -> bytes:
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    return b"\x80\x03" + made + b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb."


FLOAT = (
    b"cnumpy\ndtype\n(" + text("f4") + b"\x89\x88tR(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def laughs() -> bytes:
    """Ten lists in ten lists, sixty levels deep, all shared."""
    code = b"\x80\x02]q\x00"
    for level in range(60):
        code += b"](" + (b"h" + bytes([level])) * 10 + b"eq" + bytes([level + 1])
    return code + b"."


def module(state: bytes) -> bytes:
    return b"\x80\x02ctorch.nn.modules.container\nSequential\n)\x81" + state + b"b."


def files() -> dict[str, bytes]:
    """Every hostile file by a name that says what it tries."""
    four = struct.pack("<q", 4) + bytes(16)
    found = {
        "os.system": SHOUT + b".",
        "posix.system": b"cposix\nsystem\n(S'touch hacked'\ntR.",
        "exec": b"\x80\x02cbuiltins\nexec\n(" + text("open('hacked', 'w')") + b"tR.",
        "eval": b"\x80\x02c__builtin__\neval\n(" + text("open('hacked', 'w')") + b"tR.",
        "compile": b"\x80\x02cbuiltins\ncompile\n(" + text("1") + text("x") + text("eval") + b"tR.",
        "open for writing": b"\x80\x02cbuiltins\nopen\n(" + text("hacked") + text("w") + b"tR.",
        "subprocess by a stacked name": b"\x80\x04" + text("subprocess") + text("Popen") + b"\x93(](" + text("touch")
        + text("hacked") + b"etR.",
        "instance opcode": b"(S'touch hacked'\nios\nsystem\n.",
        "object opcode": b"(cos\nsystem\nS'touch hacked'\no.",
        "new object": b"\x80\x02cos\nsystem\n(S'touch hacked'\nt\x81.",
        "new object with keywords": b"\x80\x04cos\nsystem\n(S'touch hacked'\nt}\x92.",
        "build with a setstate": b"\x80\x02cos\nsystem\n)\x81}(" + text("__setstate__") + b"cos\nsystem\nsb.",
        "getattr chain": b"\x80\x02cbuiltins\ngetattr\n(c__builtin__\n__import__\n(" + text("os") + b"tR"
        + text("system") + b"tR(" + text("touch hacked") + b"tR.",
        "import": b"\x80\x02cimportlib\nimport_module\n(" + text("antigravity") + b"tR.",
        "run a module": b"\x80\x02crunpy\nrun_path\n(" + text("hacked.py") + b"tR.",
        "socket": b"\x80\x02csocket\ncreation\n(" + text("127.0.0.1") + b"tR.",
        "torch.load": b"\x80\x02ctorch\nload\n(" + text("hacked") + b"tR.",
        "pickle.loads": b"\x80\x03cpickle\nloads\n(C" + bytes([len(SHOUT) + 1]) + SHOUT + b".tR.",
        "torch.hub": b"\x80\x02ctorch.hub\nload_state_dict_from_url\n(" + text("file:///hacked") + b"tR.",
        "call of a call": b"\x80\x02cos\nsystem\n(tR(" + text("touch hacked") + b"tR.",
        "extension of one byte": b"\x80\x02\x82\x01.",
        "extension of two bytes": b"\x80\x02\x83\x01\x00.",
        "extension of four bytes": b"\x80\x02\x84\x01\x00\x00\x00.",
        "register an extension": b"\x80\x02ccopyreg\nadd_extension\n(" + text("os") + text("system")
        + b"K\x01tR\x82\x01.",
        "persistent id as text": b"Phello\n.",
        "persistent id as a call": b"\x80\x02" + SHOUT + b"Q.",
        "unknown instruction": b"\x80\x02\xff.",
        "only a stop": b"\x80\x02.",
        "no stop": b"\x80\x02]]]]",
        "pop of nothing": b"\x80\x020000.",
        "mark as a value": b"\x80\x02(R.",
        "deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "deep tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
        "deep dictionaries": b"\x80\x02" + (b"}" + text("k")) * 100_000 + b"N" + b"s" * 100_000 + b".",
        "billion laughs": laughs(),
        "list in itself": b"\x80\x02]q\x00h\x00a.",
        "integer of a megabyte": b"\x80\x02\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b".",
        "integer of many digits": b"L" + b"9" * 60_000 + b"L\n.",
        "negative length": b"\x80\x02\x8b" + struct.pack("<i", -5) + b".",
        "string of negative length": b"\x80\x02T" + struct.pack("<i", -5) + b".",
        "reference to nothing": b"\x80\x02h\x07.",
        "bytes beyond the end": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
        "text beyond the end": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x.",
        "frame beyond the end": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        "buffer outside": b"\x80\x05\x97.",
        "list as a key": b"\x80\x02}]Ns.",
        "deep tuple as a key": b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.",
        "line without an end": b"c" + b"a" * 100_000,
        "text that is no UTF-8": b"\x80\x02X\x02\x00\x00\x00\xc3\x28.",
        "too many objects": b"\x80\x02" + b"N0" * 2_000_000 + b"N.",
        "bytes copied a million times": b"\x80\x02" + text("x" * 4000) + b"q\x000" + (
            b"c_codecs\nencode\n(h\x00tR0" * 60_000
        ) + b"N.",
        "storage that runs code": stored(legacy(b"\x80\x02" + SHOUT + b".")),
        "storage that is a pickle": stored(b"\x80\x02" + SHOUT + b"."),
        "storages in storages": nested(9),
        "tensor beyond its storage": stored_tensor(0, (5,), (1,)),
        "tensor far beyond its storage": stored_tensor(0, (2**40,), (1,)),
        "tensor that repeats one number": stored_tensor(0, (2**40,), (0,)),
        "tensor with a negative stride": stored_tensor(3, (4,), (-1,)),
        "tensor with a negative offset": stored_tensor(-4, (4,), (1,)),
        "tensor of many dimensions": stored_tensor(0, (1,) * 40, (1,) * 40),
        "tensor of overflowing strides": stored_tensor(0, (2, 2), (2**47, 2**47)),
        "tensor without a storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x89}tR.",
        "sparse tensor": b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n)R.",
        "array of objects": array(b"cnumpy\ndtype\n(" + text("O8") + b"\x89\x88tR", raw=b"]"),
        "array of records": array(
            FLOAT[:-2] + b"b" + b"(K\x03" + text("|") + b"N(" + text("a") + b"t}K\x08K\x01K\x10tb"
        ),
        "array too short for its shape": array(FLOAT, shape=whole(2**40) + b"\x85"),
        "array of a negative shape": array(FLOAT, shape=whole(-4) + b"\x85"),
        "array of an absurd type": array(b"cnumpy\ndtype\n(" + text("f" + "9" * 5000) + b"\x89\x88tR"),
        "array without a type": array(b"N"),
        "source text in NVIDIA's container": b"\x80\x02" + PERSISTENT + b"(}(" + text("type") + text("class")
        + text("version") + b"K\x06" + text("module_src") + text("open('hacked', 'w')") + text("class_name")
        + text("G") + text("state") + b"}utR.",
        "container without a description": b"\x80\x02" + PERSISTENT + b"(" + text("x") + b"tR.",
        "network in itself": module(b"}(" + text("_parameters") + b"}" + text("_modules") + b"}q\x05" + text("a")
        + b"h\x05su"),
        "zip that runs code": zipped(b"\x80\x02" + SHOUT + b"."),
        "zip without the numbers": zipped(b"\x80\x02" + storage() + b"."),
        "zip with too few numbers": zipped(b"\x80\x02" + storage(numel=2**40) + b".", {"archive/data/0": bytes(16)}),
        "zip bomb of a storage": zipped(
            b"\x80\x02" + storage(numel=5_000_000) + b".", {"archive/data/0": bytes(20_000_000)}, compressed=True
        ),
        "zip bomb of a pickle": zipped(b"\x80\x02" + b"N0" * 20_000_000, compressed=True),
        "zip of a program": zipped(b"\x80\x02N.", {"archive/code/x.py": b"open('hacked', 'w')"}),
        "zip of something else": zipfile_of({"word/document.xml": b"<x/>"}),
        "zip with a path upwards": zipped(b"\x80\x02" + storage(key="../../../etc/passwd") + b"."),
        "older file that runs code": legacy(b"\x80\x02" + SHOUT + b"."),
        "older file of another version": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(7, 2) + b"\x80\x02N.",
        "older file cut off": legacy(b"\x80\x02" + storage() + b".", ["0"], four[:12]),
        "older file with a lie about a size": legacy(b"\x80\x02" + storage(numel=2**40) + b".", ["0"], four),
        "older file with a negative size": legacy(b"\x80\x02" + storage(numel=-1) + b".", ["0"], four),
        "older file with a storage of no type": legacy(b"\x80\x02" + storage(kind="EvilStorage") + b".", ["0"], four),
        "older file without its list": LEGACY + b"\x80\x02" + storage() + b".",
    }  # fmt: skip
    return found


def stored_tensor(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    raw = legacy(b"\x80\x02" + storage() + b".", ["0"], struct.pack("<q", 4) + bytes(16))
    return b"\x80\x03" + tensor(stored(raw)[2:-1], offset, size, stride) + b"."


def zipfile_of(entries: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return held.getvalue()
