"""Downloads from a server that knows ranges or not, and that hangs up halfway."""

import errno
import hashlib
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from ssc.runtime import download as module
from ssc.runtime.download import download
from ssc.runtime.errors import InputError, user_message

DATA = np.random.default_rng(0).bytes(300_000)
MD5 = f"md5:{hashlib.md5(DATA).hexdigest()}"
SHA = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    """Serves DATA as `server.behaviour` says, and notes what was asked for."""

    def do_GET(self):
        site = self.server
        site.asked.append(self.headers.get("Range"))
        if site.status != 200:
            return self.send_error(site.status)
        start = int(self.headers["Range"][6:-1]) if site.ranges and "Range" in self.headers else 0
        if start >= len(DATA):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if site.length:
            self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        amount = site.hang_up.pop(0) if site.hang_up else len(DATA)
        self.wfile.write(DATA[start:][:amount])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(monkeypatch):
    """A server; `hang_up` lists after how many bytes it breaks off the first, second, ... answer."""
    monkeypatch.setattr(module, "_PAUSE", 0)
    monkeypatch.setattr(module, "_CHUNK", 1 << 16)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.status, server.ranges, server.length, server.hang_up = [], 200, True, True, []
        server.url = f"http://127.0.0.1:{server.server_port}/data.tar"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(site, tmp_path):
    def act(*, url=None, checksum=MD5):
        download(url or site.url, tmp_path / "new" / "data.tar", checksum=checksum, hint="bring it by hand")
        return {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}

    act.part = tmp_path / "new" / "data.tar.part"
    act.part.parent.mkdir()
    return act


@pytest.mark.parametrize("checksum", [MD5, SHA, SHA[:15]])
def test_a_file_is_fetched_whole(site, fetch, checksum):
    assert fetch(checksum=checksum) == {"data.tar": DATA}
    assert site.asked == [None]


def test_without_a_stated_length(site, fetch):
    site.length = False
    assert fetch() == {"data.tar": DATA}


def test_a_file_address(site, fetch, tmp_path):
    (tmp_path / "source").write_bytes(DATA)
    fetch.part.write_bytes(DATA[:1000])
    assert fetch(url=(tmp_path / "source").as_uri()) == {"data.tar": DATA}


def test_a_part_is_continued(site, fetch):
    fetch.part.write_bytes(DATA[:123_456])
    assert fetch() == {"data.tar": DATA}
    assert site.asked == ["bytes=123456-"]


def test_a_server_without_ranges_starts_over(site, fetch):
    site.ranges = False
    fetch.part.write_bytes(DATA[:123_456])
    assert fetch() == {"data.tar": DATA}
    assert len(site.asked) == 1


def test_a_whole_part_is_not_fetched_again(site, fetch):
    fetch.part.write_bytes(DATA)
    assert fetch() == {"data.tar": DATA}
    assert site.asked == []


@pytest.mark.parametrize("length", [len(DATA), len(DATA) + 5])
def test_a_part_of_another_file_is_thrown_away(site, fetch, length):
    fetch.part.write_bytes(bytes(length))
    assert fetch() == {"data.tar": DATA}
    assert site.asked == [f"bytes={length}-", None]


def test_broken_connections_are_taken_up_again(site, fetch, caplog):
    caplog.set_level(logging.INFO, logger="ssc")
    site.hang_up = [50_000, 0, 0, 70_000, 0, 0, 0]
    assert fetch() == {"data.tar": DATA}
    assert site.asked == [None, *["bytes=50000-"] * 3, *["bytes=120000-"] * 4]
    assert "connection lost after 50000 bytes (250000 bytes are missing); trying again" in caplog.messages


def test_a_connection_that_breaks_without_ranges_starts_over(site, fetch):
    site.ranges, site.hang_up = False, [50_000]
    assert fetch() == {"data.tar": DATA}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_brings_nothing_more_is_given_up_and_the_part_kept(site, fetch, ranges):
    site.ranges, site.hang_up = ranges, [50_000, *[0 if ranges else 50_000] * 99]
    with pytest.raises(
        InputError, match=rf"Could not fetch {site.url} \(250000 bytes are missing\); bring it by hand\."
    ):
        fetch()
    assert len(site.asked) == 1 + 1 + module._TRIES
    assert fetch.part.read_bytes() == DATA[:50_000]
    site.hang_up = []
    assert fetch() == {"data.tar": DATA}


def test_an_address_that_does_not_answer_is_told_at_once(site, fetch):
    site.status = 404
    with pytest.raises(InputError, match=r"Could not fetch .*404.*; bring it by hand\."):
        fetch()
    assert len(site.asked) == 1
    with pytest.raises(InputError, match=r"Could not fetch http://127\.0\.0\.1:1/x .*refused"):
        fetch(url="http://127.0.0.1:1/x")
    assert list(fetch.part.parent.iterdir()) == []


def test_a_full_disk_is_no_lost_connection(site, fetch, monkeypatch):
    tries = []

    def full(url, part):
        tries.append(url)
        part.write_bytes(DATA[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_receive_once", full)
    with pytest.raises(OSError, match="No space left") as info:
        fetch()
    assert len(tries) == 1 and f"{fetch.part} cannot be written" in user_message(info.value)


@pytest.mark.parametrize("started", [0, 1000])
def test_a_wrong_checksum_leaves_nothing_new(site, fetch, started):
    fetch.part.with_suffix("").write_bytes(b"old")
    fetch.part.write_bytes(bytes(started))
    wrong = "md5:" + "0" * 32
    found = hashlib.md5(bytes(started) + DATA[started:]).hexdigest()
    with pytest.raises(InputError, match=rf"data\.tar: MD5 starts with {found}, not 0{{32}}; the download is damaged"):
        fetch(checksum=wrong)
    assert {path.name: path.read_bytes() for path in fetch.part.parent.iterdir()} == {"data.tar": b"old"}


def test_progress_goes_to_the_log_in_few_lines(site, fetch, caplog):
    caplog.set_level(logging.INFO, logger="ssc")
    fetch()
    assert 3 <= len(caplog.messages) <= 10
    assert caplog.messages[-1].startswith(f"MiB of {site.url}: 5/5, ")
