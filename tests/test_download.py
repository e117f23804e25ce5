"""Downloading against a local server that can be told to fail in every way that real ones do."""

import hashlib
import os
import re
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from attncourse.datasets import download as module
from attncourse.datasets.download import RemoteFile, download

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes: several reads
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    monkeypatch.setattr(module, "PAUSE", 0)


@pytest.fixture
def server():
    """A server with one address per behaviour; ``server.asked`` lists (path, Range header) of every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            asked.append((self.path, wanted))
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
            if self.path == "/missing":
                self.send_error(404)
                return
            if self.path == "/silent":
                time.sleep(1)
                return
            body = {"/wrong": CONTENT[:-1] + b"!", "/page": b"<html>please log in</html>",
                    "/small": CONTENT[:100]}.get(self.path, CONTENT)
            if start >= len(body):
                self.send_error(416)
                return
            if self.path == "/no-range":
                start = 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            cut = {"/cut-often": 100_000, "/cut-at-once": 0, "/stalls": 200_000}.get(self.path, len(body))
            self.wfile.write(body[start:start + cut])
            if self.path == "/stalls" and not start:
                time.sleep(1)

        def log_message(self, *_):
            pass

    asked = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    Server = namedtuple("Server", "file asked")

    def file(*paths, **changes) -> RemoteFile:
        urls = tuple(f"http://127.0.0.1:{http.server_port}{path}" for path in paths)
        return RemoteFile(**{"name": "data.bin", "mirrors": urls, "size": len(CONTENT), "sha256": DIGEST} | changes)

    yield Server(file, asked)
    http.shutdown()
    thread.join()
    http.server_close()


def test_the_whole_file_arrives_and_is_not_fetched_twice(server, tmp_path, capsys):
    file = server.file("/good")
    path = download(file, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "data.bin"
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["data.bin"]
    assert "data.bin: 100%" in capsys.readouterr().out
    assert download(file, path.parent) == path
    assert server.asked == [("/good", None)]


def test_a_connection_that_is_cut_goes_on_where_it_stopped(server, tmp_path):
    assert download(server.file("/cut-often"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/cut-often", wanted) for wanted in
                            (None, "bytes=100000-", "bytes=200000-", "bytes=300000-")]


def test_a_later_call_and_another_mirror_go_on_with_what_is_there(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1234])
    assert download(server.file("/missing", "/good"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/missing", "bytes=1234-"), ("/good", "bytes=1234-")]


def test_a_server_that_cannot_resume_sends_it_all_again(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1234])
    assert download(server.file("/no-range"), tmp_path).read_bytes() == CONTENT


def test_a_partial_file_that_is_whole_is_checked_without_a_request(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert download(server.file("/good"), tmp_path).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("start", [b"not the beginning of it", b"x" * (len(CONTENT) + 1)], ids=["wrong", "too-long"])
def test_a_spoilt_partial_file_does_no_lasting_harm(server, tmp_path, start):
    (tmp_path / "data.bin.part").write_bytes(start)
    assert download(server.file("/good", "/good"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("path", "reason"), [
    ("/missing", "HTTP 404 Not Found"),
    ("/wrong", "what it sent has a wrong checksum"),
    ("/page", "has 26 bytes where 307,200 are expected"),
    ("/cut-at-once", "the connection was cut after 0 of 307,200 bytes"),
    ("/silent", "silent for 0.3 seconds"),
])
def test_a_bad_mirror_is_named_with_its_reason_and_the_next_one_is_used(server, tmp_path, path, reason):
    with pytest.raises(ConnectionError, match=f"could not download data.bin: tried http.*{path} .{reason}.$"):
        download(server.file(path), tmp_path)
    assert not (tmp_path / "data.bin").exists()
    assert download(server.file(path, "/good"), tmp_path).read_bytes() == CONTENT



def test_what_came_before_the_last_failure_is_kept_and_said(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1234])
    with pytest.raises(ConnectionError, match=r"\(HTTP 404 Not Found\); 1,234 bytes are kept and a later call goes on"):
        download(server.file("/missing"), tmp_path)
    assert os.listdir(tmp_path) == ["data.bin.part"]


def test_a_server_that_falls_silent_half_way_is_asked_for_the_rest(server, tmp_path):
    assert download(server.file("/stalls"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/stalls", None), ("/stalls", "bytes=200000-")]


def test_an_unreachable_server_is_one_line(tmp_path):
    file = RemoteFile("data.bin", ("http://127.0.0.1:9/data.bin",), 10, DIGEST)
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/data.bin \(Connection refused\)$") as caught:
        download(file, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_interruption_leaves_a_file_to_go_on_with(server, tmp_path, monkeypatch):
    class Interrupted(module.tqdm):
        def update(self, n=1):
            if self.n > 100_000:
                raise KeyboardInterrupt
            super().update(n)

    with monkeypatch.context() as patch:
        patch.setattr(module, "tqdm", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(server.file("/good"), tmp_path)
    assert os.listdir(tmp_path) == ["data.bin.part"]
    kept = (tmp_path / "data.bin.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    assert download(server.file("/good"), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("/good", f"bytes={kept}-")


def test_too_little_space_is_said_before_the_first_byte(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(300_000_000))
    with pytest.raises(OSError, match=r"not enough space in .*: 400 MB are needed and 300 MB are free; make room"):
        download(server.file("/good", unpacked=400_000_000), tmp_path)
    assert server.asked == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full, a device that is always full")
@pytest.mark.parametrize(("path", "size"), [("/good", len(CONTENT)), ("/small", 100)])
def test_a_disk_that_fills_up_is_one_line_and_not_tried_elsewhere(server, tmp_path, path, size):
    (tmp_path / "data.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"could not write .*data.bin.part \(No space left on device\); what arrived is"):
        download(server.file(path, path, size=size), tmp_path)
    assert len(server.asked) == 1
    assert not (tmp_path / "data.bin").exists()
