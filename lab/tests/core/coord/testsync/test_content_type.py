"""Goal: bytes are called what the original calls them. Method: examples of each signature."""

from __future__ import annotations

import pytest

from tidelab.core.coord.testsync.content_type import content_type

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"hello", TEXT),
        (b'{"a": 1}', TEXT),
        ("\u00e9".encode(), TEXT),
        (b"\x1b[0m", TEXT),
        (b"hello \x00\xff raw", BYTES),
        (b"\x0b", BYTES),
        (b"\x0e", BYTES),
        (b"\x1c", BYTES),
        (b" \t\n<!DocType Html>", HTML),
        (b"<html><b>x</b></html>", HTML),
        (b"<!-- x", HTML),
        (b"<b", TEXT),
        (b"<bx>", TEXT),
        (b"  <?xml", "text/xml; charset=utf-8"),
        (b"%PDF-1.4", "application/pdf"),
        (b"\xfe\xff\x00a", "text/plain; charset=utf-16be"),
        (b"\xff\xfea\x00", "text/plain; charset=utf-16le"),
        (b"\xff\xfe", TEXT),
        (b"\xef\xbb\xbf\x00", TEXT),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x01\x02\x03\x04WEBPVP", "image/webp"),
        (b"RIFF\x01\x02\x03\x04WAVE", "audio/wave"),
        (b"RIFF\x01\x02\x03\x04wave", BYTES),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\x00\x00\x00\x10ftypmp42\x00\x00\x00\x00", "video/mp4"),
        (b"\x00\x00\x00\x14ftypisom\x00\x00\x00\x00mp41", "video/mp4"),
        (b"\x00\x00\x00\x10ftypisommp41", BYTES),
        (b"\x00\x00\x00\x10frypmp42\x00\x00\x00\x00", BYTES),
        (b"\x00\x00\x00\x11ftypmp42\x00\x00\x00\x00 ", BYTES),
        (b"\x00\x00\x00\x20ftypmp42", BYTES),
        (b"\x00\x00\x00\x08ftyp", BYTES),
        (b"x" * 34 + b"LP", "application/vnd.ms-fontobject"),
        (b"PK\x03\x04", "application/zip"),
        (b"a" * 512 + b"\x00", TEXT),
    ],
)
def test_bytes_are_known_by_how_they_begin(data: bytes, expected: str) -> None:
    assert content_type(data) == expected
