"""Runs the studio: finds a port, opens the browser, and ends on Ctrl-C."""

from __future__ import annotations

import errno
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from facegan.core.errors import FaceganError, needed
from facegan.models.checkpoint import LoadedGenerator
from facegan.studio.server import build
from facegan.studio.session import Studio

PORT = 8642
"""The port that is tried first. A browser keeps what a page remembers by its port, so it is the same every time."""
_OTHERS = 20
"""How many ports after it are tried."""


def serve(
    loaded: LoadedGenerator,
    *,
    word: str,
    port: int | None = None,
    browser: bool = True,
    memory: Path | None = None,
    metadata: bool = True,
    say: Callable[[str], None] = print,
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve the studio on 127.0.0.1 until a signal ends it.

    Args:
        word: how commands name the generator.
        port: None takes PORT, or the next that is free.
        browser: open the page in the browser.
        memory: the folder where projections are remembered.
        metadata: write into pictures how they were made.
        say, note: told the address, and what else should appear in the terminal.

    Raises:
        FaceganError: the port is taken, or the extra is missing.
    """
    with needed("facegan studio", "studio", "starlette uvicorn"):
        import uvicorn

    listening = listen(port)
    number = listening.getsockname()[1]
    if port is None and number != PORT:
        note(f"port {PORT} is taken, perhaps by another studio; the faces that you kept there are not shown here")
    token = secrets.token_urlsafe(16)
    address = f"http://127.0.0.1:{number}/{token}/"

    def started() -> None:
        say(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    studio = Studio(loaded, memory, note, metadata=metadata)
    studio.draw("", studio.latents(0, 0, 20))  # the first faces take longer: draw them before somebody waits
    application = build(studio, token, word=word, started=started)
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=2,
        server_header=False, ws="none", h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def listen(port: int | None) -> socket.socket:
    """A socket that listens on this machine alone: on `port`, or on the first free one from PORT on.

    Raises:
        FaceganError: the port is taken, or the system refuses it.
    """
    for number in [port] if port is not None else [*range(PORT, PORT + _OTHERS), 0]:
        # With the protocol named, asyncio sends small answers at once; else each waits 40 ms for an acknowledgement.
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # on Windows two programs could else share a port
            found.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # that of a studio that has just ended
        try:
            found.bind(("127.0.0.1", number))
            found.listen(128)
        except OSError as error:
            found.close()
            if port is None and error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise FaceganError(
                f"Port {number} cannot be used: {error.strerror}.", "Leave out --port, or choose another from 1024 on."
            ) from None
        return found
    raise AssertionError
