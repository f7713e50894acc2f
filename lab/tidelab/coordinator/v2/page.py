"""The page that shows who waits for whom: one file of ours, which may load nothing else.

The one rule: what the page may do is written down by the hashes of what stands in it, so nothing
that an agent says can ever run there.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

PAGE = files(__package__).joinpath("page.html").read_bytes()


def _hashes(tag: bytes) -> str:
    found = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), PAGE, re.DOTALL)
    hashes = (base64.b64encode(hashlib.sha256(each).digest()).decode() for each in found)
    return " ".join(f"'sha256-{each}'" for each in hashes)


HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        f"default-src 'none'; script-src {_hashes(b'script')}; style-src {_hashes(b'style')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'".encode(),
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
