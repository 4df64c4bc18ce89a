"""Who may ask the studio: only its own page. Checked before anything else, on every request.

The studio listens on this machine alone, but every web page that is open in the same browser can send requests there.
Three things keep them out. The address has a random token, which no other page knows. The Host must be a name of this
machine, so that a stranger's domain that is made to point here (DNS rebinding) is refused. And whatever changes
something must come from a page of the same origin.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer: nothing is loaded from elsewhere, and no other page may show or read what is here."""
_HERE = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[1-9]\d{0,3}|:[1-5]\d{4}|:6[0-5]\d{3})?", re.IGNORECASE)
"""Hosts that are this machine. The port may be any: a forwarded one (ssh -L) is often another."""


class Guard:
    """Passes on to `app` what the studio's own page asks, without the token; refuses all else in a sentence.

    Args:
        token: the first part of every path.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *ours]
            await send(message)

        status, reason = self._refusal(scope)
        if status:
            return await _say(guarded, status, reason)
        path = scope["path"][len(self._token) + 1 :]
        return await self._app({**scope, "path": path, "raw_path": path.encode()}, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str]:
        """The status and the reason with which a request is refused; 0 if it may pass."""
        hosts, origins = (_values(scope, name) for name in (b"host", b"origin"))
        if len(hosts) != 1 or not _HERE.fullmatch(hosts[0]):
            return 421, "The studio answers only to 127.0.0.1 and localhost."
        _, first, rest = (*scope["path"].split("/", 2), "", "")[:3]
        if not hmac.compare_digest(first.encode(), self._token.encode()):
            return 403, "This address is not the one of this studio. Open the one that facegan printed when it started."
        own = f"http://{hosts[0]}".lower()
        if any(origin.lower() != own for origin in origins) or len(origins) > 1:
            return 403, "Another page asked this. Only the studio's own page may."
        if scope["method"] not in ("GET", "HEAD") and not origins:
            return 403, "This request does not say which page it comes from, so it is refused."
        if "/" + first == scope["path"]:  # without the last slash, the page would ask for its parts elsewhere
            return 404, "The address ends with a slash."
        return 0, rest


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


async def _say(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
