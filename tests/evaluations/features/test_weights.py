"""Weight files: known by the whole of their hashes, other ones by theirs; and every way in which a download fails."""

from __future__ import annotations

import base64
import hashlib
import http.server
import logging
import resource
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from disentangle.errors import CheckpointError, InputError, OutputError
from disentangle.evaluations.features import download as downloads
from disentangle.evaluations.features import find_weights, inception, load_distance, load_extractor
from disentangle.evaluations.features import weights as weight_files
from disentangle.evaluations.features.download import download, find_or_download
from disentangle.evaluations.features.perceptual import LPIPS, _length
from disentangle.evaluations.features.weights import FILES, LPIPS_HEADS, WeightFile, identified_weights
from disentangle.evaluations.generation.path_length import scored_name

CONTENT = b"numbers of a network " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights of the user's are seen."""
    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("DISENTANGLE_WEIGHTS", raising=False)
    return tmp_path


# --------------------------------------------------------------------------------------------------------- hashes


def test_every_known_file_is_known_by_the_whole_of_its_hash() -> None:
    for file in FILES.values():
        assert len(file.sha256) == 64
        assert file.size is not None
        assert file.address == "" or file.address.startswith("https://")
        for name in file.names:  # names state the beginning of the hash, where they state any
            stem = Path(name).stem.rpartition("-")[2]
            if len(stem) == 8 and set(stem) <= set("0123456789abcdef"):
                assert file.sha256.startswith(stem)
    with pytest.raises(InputError, match="expected the whole of it, 64 digits"):
        replace(FILES["vgg16"], sha256="397923af")
    with pytest.raises(InputError, match="expected the whole of it"):
        replace(FILES["vgg16"], sha256="")


def test_the_heads_of_lpips_are_those_that_its_wheel_records() -> None:
    from importlib import metadata

    recorded = {str(file): file.hash for file in metadata.files("lpips") or []}
    for trunk, sha256 in LPIPS_HEADS.items():
        found = recorded[f"lpips/weights/v0.1/{trunk}.pth"]
        assert found is not None
        assert found.value == base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")


@pytest.mark.parametrize("key", ["vgg16", "dinov2-vitl14", "inception"])
def test_a_file_of_the_right_name_and_another_content_is_refused(key: str, nowhere: Path) -> None:
    folder = nowhere / "TORCH_HOME" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / FILES[key].names[0]
    path.write_bytes(b"anything")
    for given in (None, path, folder):
        with pytest.raises(CheckpointError, match="it is damaged, or another file of that name"):
            find_weights(key, path=given)


def test_the_beginning_of_a_hash_is_not_enough(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    """What F14 was: 32 of 256 bits agree."""
    monkeypatch.setitem(FILES, "test", WeightFile("test", ("t.pth",), "", SHA256[:8] + "0" * 56))
    (nowhere / "t.pth").write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match=f"has sha256 {SHA256[:16]}..., but t.pth has {SHA256[:8]}00000000"):
        find_weights("test", path=nowhere)


def test_another_file_bears_its_hash(
    monkeypatch: pytest.MonkeyPatch, nowhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(FILES, "test", WeightFile("test", ("t.pth",), "", SHA256))
    same, other = nowhere / "renamed.pth", nowhere / "o\x1b[2Jther.pth"
    same.write_bytes(CONTENT)
    other.write_bytes(b"mine")
    found = identified_weights("test", path=same)
    assert (found.published, found.name("fd"), found.sha256) == (True, "fd", SHA256)
    with caplog.at_level(logging.WARNING):
        found = identified_weights("test", path=other)
    expected = hashlib.sha256(b"mine").hexdigest()
    assert (found.published, found.name("fd"), found.sha256) == (False, f"fd-{expected[:8]}", expected)
    assert f"is not the published t.pth, so scores with it bear its hash, {expected[:8]}" in caplog.text
    assert "\x1b" not in caplog.text
    assert find_weights("test", path=other) == other


def test_a_folder_that_forbids_reading_is_a_sentence(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    def forbidden(path: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(FILES, "test", WeightFile("test", ("t.pth",), "", SHA256))
    monkeypatch.setattr(weight_files, "sha256_of", forbidden)
    (nowhere / "t.pth").write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Permission denied\); expected t.pth"):
        find_weights("test", path=nowhere)


def test_places_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    monkeypatch.setitem(FILES, "test", WeightFile("test", ("t.pth",), "", SHA256, alternative="do without"))
    with pytest.raises(InputError, match=r"cannot be looked at \(File name too long\); expected t.pth"):
        find_weights("test", path=nowhere / ("x" * 300))
    monkeypatch.setenv("DISENTANGLE_WEIGHTS", str(nowhere / ("x" * 300)))
    with pytest.raises(InputError, match="t.pth were not found; do without"):
        find_weights("test")


def test_extractors_of_other_weights_are_named_so(nowhere: Path) -> None:
    random = load_extractor("efficientnet-lite0", random=True)
    path = nowhere / "mine.pth"
    torch.save(random.network.state_dict(), path)
    extractor = load_extractor("efficientnet-lite0", weights=path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert extractor.name == f"efficientnet-lite0-{sha256[:8]}"
    assert extractor.sha256 == sha256
    assert not extractor.has_published_weights
    distance = load_distance("efficientnet-lite0", weights=path)
    assert distance.name == f"stages-efficientnet-lite0-{sha256[:8]}"
    assert scored_name("ppl", distance) == f"ppl/efficientnet-lite0-{sha256[:8]}"


def test_only_the_published_inception_makes_a_fid(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    class Small(torch.nn.Module):
        size = 8

        def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
            assert set(weights) == {"w"}

    monkeypatch.setattr(inception, "FIDInception", Small)
    path = nowhere / "inception.pth"
    torch.save({"w": torch.ones(2)}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    other = load_extractor("inception", weights=path)
    assert (other.name, other.has_published_weights) == (f"inception-{sha256[:8]}", False)
    monkeypatch.setitem(FILES, "inception", replace(FILES["inception"], sha256=sha256))
    same = load_extractor("inception", weights=path)
    assert (same.name, same.has_published_weights) == ("inception", True)


@pytest.mark.slow
def test_only_the_published_trunk_and_heads_make_lpips(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    torch.manual_seed(0)
    trunk = {
        name: value
        for name, value in torchvision.models.vgg16(weights=None, init_weights=False).state_dict().items()
        if name.startswith("features.")
    }
    loose = LPIPS(trunk)
    assert not loose.has_published_weights
    assert loose.name.startswith("lpips-vgg16-")
    assert LPIPS(trunk).name == loose.name
    trunk["features.0.bias"] = trunk["features.0.bias"] + 1e-3
    assert LPIPS(trunk).name != loose.name
    assert scored_name("ppl", loose) == f"ppl/{loose.name}"
    path = nowhere / "vgg.pth"
    torch.save(trunk, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    other = load_distance("lpips", weights=path)
    assert other.name == f"lpips-vgg16-{sha256[:8]}"
    monkeypatch.setitem(FILES, "vgg16", replace(FILES["vgg16"], sha256=sha256))
    same = load_distance("lpips", weights=path)
    assert (same.name, same.has_published_weights) == ("lpips-vgg16", True)
    assert scored_name("ppl", same) == "ppl"
    monkeypatch.setitem(LPIPS_HEADS, "vgg", "0" * 64)
    heads = load_distance("lpips", weights=path)
    assert (heads.name, heads.has_published_weights) == ("lpips-vgg16-a78928a0", False)


# ------------------------------------------------------------------------------------------------------- downloads


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as the test wants, over HTTP: the client's own library meets every fault."""

    answer: Callable[[Server], None] = lambda server: None

    def do_GET(self) -> None:
        type(self).answer(self)

    def log_message(self, *arguments: Any) -> None:
        pass

    def send(self, content: bytes, *, length: int | None = None, kind: str = "application/octet-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is None or length >= 0:
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts an answer behind the address of the file ``test``."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def opened(address: str) -> Any:
        assert address == "https://weights.test/t.pth"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), downloads._ByHttpsAlone())
        return opener.open(f"http://127.0.0.1:{server.server_port}/t.pth", timeout=2)

    monkeypatch.setattr(downloads, "_opened", opened)

    def put(answer: Callable[[Server], None], *, size: int | None = len(CONTENT)) -> None:
        file = WeightFile("test", ("t.pth",), "https://weights.test/t.pth", SHA256, size, alternative="or do without")
        monkeypatch.setitem(FILES, "test", file)
        monkeypatch.setattr(Server, "answer", answer)

    yield put
    server.shutdown()
    server.server_close()


def kept(nowhere: Path) -> list[str]:
    folder = nowhere / "XDG_CACHE_HOME" / "disentangle" / "weights"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("size", [len(CONTENT), None])
@pytest.mark.parametrize("length", [None, -1])
def test_what_arrives_whole_is_kept(nowhere: Path, serve: Callable[..., None], size: int | None, length: Any) -> None:
    serve(lambda server: server.send(CONTENT, length=length), size=size)
    with pytest.raises(InputError, match=r"t.pth were not found; get it from https://.*, sha256 [0-9a-f]{64}, and"):
        find_or_download("test")
    found = find_or_download("test", allow_download=True)
    assert found.path.read_bytes() == CONTENT
    assert found.published
    assert kept(nowhere) == ["t.pth"]
    serve(lambda server: server.send_error(500))  # not asked again
    assert find_or_download("test", allow_download=True).path == found.path


def redirect(server: Server) -> None:
    server.send_response(302)
    server.send_header("Location", "http://elsewhere.test/t.pth")
    server.end_headers()


def break_off(server: Server) -> None:
    server.send(CONTENT[:5000], length=len(CONTENT))
    server.wfile.flush()
    server.connection.shutdown(socket.SHUT_RDWR)


def chunks_cut_off(server: Server) -> None:
    server.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + CONTENT[:100])
    server.wfile.flush()
    server.connection.shutdown(socket.SHUT_RDWR)


def silence(server: Server) -> None:
    server.send(CONTENT[:100], length=len(CONTENT))
    server.wfile.flush()
    threading.Event().wait(4)


FAILURES: dict[str, tuple[Callable[[Server], None], type[Exception], str]] = {
    "no such file": (lambda server: server.send_error(404), InputError, r"could not be downloaded \(.*Not Found"),
    "no HTTP": (lambda server: server.wfile.write(b"hello\r\n\r\n"), InputError, "could not be downloaded"),
    "nothing": (lambda server: None, InputError, "could not be downloaded"),
    "a redirection to http": (
        redirect,
        InputError,
        "it leads to http://elsewhere.test/t.pth, which is no address by h",
    ),
    "broken off": (break_off, InputError, r"it ended after 5,000 of 21,000 bytes\); try again|could not be downloaded"),
    "chunks cut off": (chunks_cut_off, InputError, r"could not be downloaded \(.*\); try again, or do without\.$"),
    "silence": (silence, InputError, r"could not be downloaded \(timed out\)"),
    "a web page": (
        lambda server: server.send(b"<html>sign in</html>", kind="text/html; charset=utf-8"),
        InputError,
        "answers with a web page, not the file",
    ),
    "longer": (
        lambda server: server.send(CONTENT + b"!"),
        CheckpointError,
        "sends more than the 21,000 bytes of t.pth",
    ),
    "endless": (
        lambda server: server.send(CONTENT * 400, length=10**12),
        CheckpointError,
        "sends more than the 21,000 bytes of t.pth",
    ),
    "shorter": (lambda server: server.send(CONTENT[:-1]), InputError, "it ended after 20,999 of 21,000 bytes"),
    "another file": (
        lambda server: server.send(CONTENT[::-1]),
        CheckpointError,
        "sends a file with sha256 .*; it is damaged, or another file of that name, and nothing was kept",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_goes_wrong_is_one_sentence_and_nothing_stays(
    case: str, nowhere: Path, serve: Callable[..., None]
) -> None:
    answer, error, message = FAILURES[case]
    serve(answer)
    with pytest.raises(error, match=message) as caught:
        download("test")
    assert type(caught.value) is error
    assert str(caught.value).startswith("https://weights.test/t.pth ")
    assert "\n" not in str(caught.value)
    assert kept(nowhere) == []


def test_no_server_and_no_https(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{taken.getsockname()[1]}/t.pth"
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setitem(FILES, "test", WeightFile("test", ("t.pth",), address, SHA256, 5, alternative="or else"))
        with pytest.raises(InputError, match=r"could not be downloaded \(.*\); try again, or else\."):
            download("test")
    for bad in ("http://weights.test/t.pth", (nowhere / "t.pth").as_uri(), "ftp://weights.test/t.pth"):
        monkeypatch.setitem(FILES, "test", WeightFile("test", ("t.pth",), bad, SHA256, alternative="or else"))
        with pytest.raises(InputError, match="is no address by https, which alone is downloaded from; or else"):
            download("test")
    monkeypatch.setitem(FILES, "test", WeightFile("test", ("t.pth",), "", SHA256, alternative="or else"))
    with pytest.raises(InputError, match="have no address to download from; or else"):
        download("test")
    assert kept(nowhere) == []


def test_redirections_by_https_are_followed_and_no_others() -> None:
    handler, request = downloads._ByHttpsAlone(), urllib.request.Request("https://weights.test/t.pth")
    followed = handler.redirect_request(request, None, 302, "", Message(), "https://mirror.test/t.pth")
    assert followed.full_url == "https://mirror.test/t.pth"
    for bad in ("http://mirror.test/t.pth", "ftp://mirror.test/t.pth", "file:///etc/passwd"):
        with pytest.raises(OSError, match="no address by https"):
            handler.redirect_request(request, None, 302, "", Message(), bad)


def test_a_full_disk(nowhere: Path, serve: Callable[..., None]) -> None:
    serve(lambda server: server.send(CONTENT))
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"t\.pth cannot be written \(File too large\)"):
            download("test")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert kept(nowhere) == []


def test_an_interruption_leaves_nothing(nowhere: Path, serve: Callable[..., None], monkeypatch: Any) -> None:
    serve(lambda server: server.send(CONTENT))
    monkeypatch.setattr(downloads._Answer, "read", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        download("test")
    assert kept(nowhere) == []


def test_a_named_file_that_is_missing_is_not_replaced_by_a_download(nowhere: Path, serve: Callable[..., None]) -> None:
    serve(lambda server: server.send(CONTENT))
    with pytest.raises(InputError, match="does not exist; expected t.pth"):
        find_or_download("test", path=nowhere / "absent.pth", allow_download=True)
    assert kept(nowhere) == []


# ----------------------------------------------------------------------------------------------------- distances


def test_the_length_of_what_stays_zero() -> None:
    """d |x| = x.dx / |x|, and 0 where x stays 0, in both modes of differentiation."""
    stage = torch.tensor([3.0, 0.0, 4.0, 0.0]).reshape(1, 2, 1, 2)
    tangent = torch.tensor([1.0, 0.0, 2.0, 0.0]).reshape(1, 2, 1, 2)
    length, moved = torch.func.jvp(_length, (stage,), (tangent,))
    assert length.flatten().tolist() == [5.0, 0.0]
    torch.testing.assert_close(moved.flatten(), torch.tensor([11 / 5, 0.0]))
    gradient = torch.func.grad(lambda x: _length(x).sum())(stage)
    torch.testing.assert_close(gradient.flatten(), torch.tensor([3 / 5, 0.0, 4 / 5, 0.0]))


@pytest.mark.slow
def test_a_silent_place_has_the_derivative_zero_by_lpips() -> None:
    """Where every channel of a stage is silent the length's derivative is 0/0, and the place does not move at all."""
    torch.manual_seed(0)
    trunk = torchvision.models.vgg16(weights=None).state_dict()
    trunk["features.0.bias"] = torch.full_like(trunk["features.0.bias"], -0.5)  # dark places silence the first stage
    distance = LPIPS({name: value for name, value in trunk.items() if name.startswith("features.")})
    subject = torch.rand(1, 3, 16, 16)

    def images(t: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(torch.tanh(subject * (1 + t)), (16, 16, 16, 16), value=-0.6)

    zero, one = torch.zeros(()), torch.ones(())
    value, limit = torch.func.jvp(lambda t: distance.embed(images(t)), (zero,), (one,))
    assert torch.isfinite(value).all()
    step = (distance.embed(images(one * 1e-3)) - value) / 1e-3
    assert float(limit.square().sum()) == pytest.approx(float(step.square().sum()), rel=0.02)
    gradient = torch.func.grad(lambda t: distance.embed(images(t)).sum())(zero)
    np.testing.assert_allclose(float(gradient), float(limit.sum()), rtol=1e-3)
