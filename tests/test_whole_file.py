"""A file appears whole or not at all."""

import errno
import os

import pytest

from albench.whole_file import write_whole


def test_a_file_is_written_over_in_one_step(tmp_path):
    path = tmp_path / "page.html"
    write_whole(path, "ℓ = 2")
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert path.stat().st_mode & 0o777 == 0o644, "others may read it"
    write_whole(path, "a \udcff b")
    assert path.read_text() == "a ? b", "a command line may hold bytes that are no letters"


def test_where_it_cannot_be_written_the_old_one_stays(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    write_whole(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
