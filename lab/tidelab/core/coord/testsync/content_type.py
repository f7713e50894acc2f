"""The content type of bytes that nobody described: what the original's library would say.

This is the algorithm of the MIME Sniffing Standard (mimesniff.spec.whatwg.org) in the subset that
Go's `http.DetectContentType` has; old clients may look at the answer.
"""

from __future__ import annotations

_SEEN = 512  # bytes: no more are looked at
_SPACE = b"\t\n\x0c\r "
_TAGS = (
    b"<!doctype html", b"<html", b"<head", b"<script", b"<iframe", b"<h1", b"<div", b"<font",
    b"<table", b"<a", b"<style", b"<title", b"<b", b"<body", b"<br", b"<p", b"<!--",
)  # fmt: skip
_TAG_ENDS = (b" ", b">")

_Mark = tuple[str, int, bytes, bytes]  # type, the place of the second part, first part, second part

_TEXTS: tuple[_Mark, ...] = (
    ("application/pdf", 0, b"%PDF-", b""),
    ("application/postscript", 0, b"%!PS-Adobe-", b""),
    ("text/plain; charset=utf-8", 0, b"\xef\xbb\xbf", b""),
)
_MEDIA: tuple[_Mark, ...] = (
    ("image/x-icon", 0, b"\x00\x00\x01\x00", b""),
    ("image/x-icon", 0, b"\x00\x00\x02\x00", b""),
    ("image/bmp", 0, b"BM", b""),
    ("image/gif", 0, b"GIF87a", b""),
    ("image/gif", 0, b"GIF89a", b""),
    ("image/webp", 8, b"RIFF", b"WEBPVP"),
    ("image/png", 0, b"\x89PNG\r\n\x1a\n", b""),
    ("image/jpeg", 0, b"\xff\xd8\xff", b""),
    ("audio/aiff", 8, b"FORM", b"AIFF"),
    ("audio/mpeg", 0, b"ID3", b""),
    ("application/ogg", 0, b"OggS\x00", b""),
    ("audio/midi", 0, b"MThd\x00\x00\x00\x06", b""),
    ("video/avi", 8, b"RIFF", b"AVI "),
    ("audio/wave", 8, b"RIFF", b"WAVE"),
)
_OTHERS: tuple[_Mark, ...] = (
    ("video/webm", 0, b"\x1a\x45\xdf\xa3", b""),
    ("application/vnd.ms-fontobject", 34, b"", b"LP"),
    ("font/ttf", 0, b"\x00\x01\x00\x00", b""),
    ("font/otf", 0, b"OTTO", b""),
    ("font/collection", 0, b"ttcf", b""),
    ("font/woff", 0, b"wOFF", b""),
    ("font/woff2", 0, b"wOF2", b""),
    ("application/x-gzip", 0, b"\x1f\x8b\x08", b""),
    ("application/zip", 0, b"PK\x03\x04", b""),
    ("application/x-rar-compressed", 0, b"Rar!\x1a\x07\x00", b""),
    ("application/x-rar-compressed", 0, b"Rar!\x1a\x07\x01\x00", b""),
    ("application/wasm", 0, b"\x00asm", b""),
)
_ORDER_MARKS = {
    b"\xfe\xff": "text/plain; charset=utf-16be",
    b"\xff\xfe": "text/plain; charset=utf-16le",
}
_BINARY = frozenset({*range(0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)})


def content_type(data: bytes) -> str:
    """Guess the type of some bytes from how they begin."""
    data = data[:_SEEN]
    text = data.lstrip(_SPACE)
    if _is_html(text):
        return "text/html; charset=utf-8"
    if text.startswith(b"<?xml"):
        return "text/xml; charset=utf-8"
    if len(data) >= 4 and (known := _ORDER_MARKS.get(data[:2])):
        return known
    if marked := _find_mark(data, (*_TEXTS, *_MEDIA)):
        return marked
    if _is_mp4(data):
        return "video/mp4"
    if marked := _find_mark(data, _OTHERS):
        return marked
    return "application/octet-stream" if _BINARY & set(text) else "text/plain; charset=utf-8"


def _is_html(text: bytes) -> bool:
    lower = text.lower()
    return any(
        lower.startswith(tag) and text[len(tag) : len(tag) + 1] in _TAG_ENDS for tag in _TAGS
    )


def _find_mark(data: bytes, marks: tuple[_Mark, ...]) -> str | None:
    for name, place, first, second in marks:
        if data.startswith(first) and data[place:].startswith(second):
            return name
    return None


def _is_mp4(data: bytes) -> bool:
    size = int.from_bytes(data[:4])
    if len(data) < 12 or size % 4 or len(data) < size or data[4:8] != b"ftyp":
        return False
    brands = (data[at : at + 3] for at in range(8, size, 4) if at != 12)  # 12: a version
    return b"mp4" in brands
