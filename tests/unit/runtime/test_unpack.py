"""Unpacking: everything or nothing, and nothing outside of the folder."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ssc.runtime.errors import InputError
from ssc.runtime.unpack import unpack

FILES = {
    "VOCdevkit/a.txt": b"first",
    "VOCdevkit/deep/b.bin": np.random.default_rng(0).bytes(40_000),
    "VOCdevkit/empty": b"",
}


def write_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path, files=FILES, mode="w", special=()):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in special:
            archive.addfile(member)
    return path


def write_tgz(path, files=FILES):
    return write_tar(path, files, "w:gz")


WRITERS = [write_zip, write_tar, write_tgz]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("write", WRITERS)
def test_the_content_says_what_an_archive_is(tmp_path, write):
    archive = write(tmp_path / "archive")
    unpack(archive, tmp_path / "new" / "data")
    assert contents(tmp_path / "new" / "data") == FILES
    assert names(tmp_path / "new") == ["data"]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["/etc/x-of-ssc", "../x", "a/../../x"])
def test_nothing_is_written_outside_of_the_folder(tmp_path, write, name):
    archive = write(tmp_path / "archive", {**FILES, name: b"evil"})
    try:
        unpack(archive, tmp_path / "new" / "data")
    except InputError as error:
        assert "archive is refused" in str(error) and names(tmp_path / "new") == []
    else:  # the name was made one below the folder
        assert b"evil" in contents(tmp_path / "new" / "data").values() and names(tmp_path / "new") == ["data"]
    assert names(tmp_path) == ["archive", "new"] and not Path("/etc/x-of-ssc").exists()


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        special("VOCdevkit/link", tarfile.SYMTYPE, "../../outside"),
        special("VOCdevkit/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("VOCdevkit/link", tarfile.LNKTYPE, "../outside"),
        special("VOCdevkit/null", tarfile.CHRTYPE),
        special("VOCdevkit/disk", tarfile.BLKTYPE),
        special("VOCdevkit/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.type}{member.linkname}",
)
def test_links_out_of_the_folder_and_devices_are_refused(tmp_path, member):
    archive = write_tar(tmp_path / "archive", special=[member])
    with pytest.raises(InputError, match=rf"archive is refused: .*{member.name}") as info:
        unpack(archive, tmp_path / "new" / "data")
    assert "\n" not in str(info.value)
    assert names(tmp_path / "new") == []


def test_a_file_is_not_written_through_a_link(tmp_path):
    """A link to a folder beside, then a file below that link."""
    (tmp_path / "outside").mkdir()
    with tarfile.open(tmp_path / "archive", "w") as archive:
        archive.addfile(special("door", tarfile.SYMTYPE, "../outside"))
        archive.addfile(tarfile.TarInfo("door/x"), io.BytesIO())
    with pytest.raises(InputError, match="archive is refused"):
        unpack(tmp_path / "archive", tmp_path / "data")
    assert names(tmp_path / "outside") == []


def test_links_within_the_folder_are_kept(tmp_path):
    member = special("VOCdevkit/deep/link", tarfile.SYMTYPE, "../a.txt")
    unpack(write_tar(tmp_path / "archive", special=[member]), tmp_path / "data")
    assert (tmp_path / "data/VOCdevkit/deep/link").read_bytes() == b"first"


@pytest.mark.parametrize("write", WRITERS)
def test_an_archive_that_was_cut_off_is_told(tmp_path, write):
    data = write(tmp_path / "whole").read_bytes()
    for length in (0, 100, 600, 3000, 20_000, len(data) * 3 // 4):
        (tmp_path / "cut").write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut is damaged or cut off; fetch it again\.$"):
            unpack(tmp_path / "cut", tmp_path / "new" / "data")
        assert names(tmp_path / "new") == []


def test_a_changed_byte_is_told(tmp_path):
    data = bytearray(write_zip(tmp_path / "archive").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises(InputError, match="archive is damaged or cut off"):
        unpack(tmp_path / "archive", tmp_path / "data")
    assert names(tmp_path) == ["archive"]


def test_a_zip_that_lies_about_a_size_is_damaged(tmp_path):
    data = bytearray(write_zip(tmp_path / "archive", {"a": bytes(2**22)}).read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises(InputError, match="archive is damaged or cut off"):
        unpack(tmp_path / "archive", tmp_path / "new" / "data")
    assert names(tmp_path / "new") == []


def test_a_link_in_a_zip_becomes_a_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    unpack(tmp_path / "archive", tmp_path / "data")
    assert not (tmp_path / "data" / "link").is_symlink()
    assert contents(tmp_path / "data") == {"link": b"/etc/passwd"}


def test_absent_archive_and_present_folder(tmp_path):
    with pytest.raises(InputError, match="absent does not exist"):
        unpack(tmp_path / "absent", tmp_path / "data")
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="data exists already; delete it"):
        unpack(write_tar(tmp_path / "archive"), tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_what_a_killed_job_left_does_not_get_in(tmp_path):
    (tmp_path / ".data.part").mkdir()
    (tmp_path / ".data.part" / "old").touch()
    unpack(write_zip(tmp_path / "archive"), tmp_path / "data")
    assert contents(tmp_path / "data") == FILES
    assert names(tmp_path) == ["archive", "data"]
