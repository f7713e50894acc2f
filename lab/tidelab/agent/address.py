"""Where a coordinator is, and why it cannot be reached.

The one rule: whoever reads such an error knows what to try next.
"""

from __future__ import annotations

import contextlib
import ssl
from urllib.parse import urlsplit

import msgspec
from websockets.exceptions import InvalidStatus

from tidelab.core.coord.denial import Denial

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class _Refusal(msgspec.Struct):
    error: Denial


_refusal = msgspec.json.Decoder(_Refusal)


def socket_of(url: str) -> str:
    """Tell where the socket is; raises ValueError when the URL is none of a coordinator.

    The address of its page, `.../v2/`, is as good.
    """
    with contextlib.suppress(ValueError):  # a port that is no number, or too large
        parts = urlsplit(url)
        if parts.scheme in _SCHEMES and parts.hostname and parts.port != 0:
            path = parts.path.rstrip("/").removesuffix("/v2")
            return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{path}/v2/connect"
    raise ValueError(f"the URL of a coordinator is like http://127.0.0.1:9104, not {url!r}")


def trouble_of(error: Exception) -> str:
    """Tell what is wrong with a connection that did not come about, and what may help."""
    match error:
        case InvalidStatus():
            return _refused(error)
        case ssl.SSLCertVerificationError():
            told = f"its certificate is not trusted: {error.verify_message}"
            return f"{told}; the variable SSL_CERT_FILE may name the one to trust"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return "it does not speak TLS: is its URL one with http://?"
        case OSError() if "Connect call failed" in str(error):
            return "nobody answers there; `tidelab agents serve` starts a coordinator"
        case _:
            return str(error) or "no answer"


def _refused(error: InvalidStatus) -> str:
    status, body = error.response.status_code, bytes(error.response.body or b"")
    try:
        told = _refusal.decode(body).error.message
    except msgspec.MsgspecError:
        return f"it answers {status}: is this the address of a coordinator?"
    return f"it answers {status}: {told}"
