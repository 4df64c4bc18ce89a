"""The studio's server: what the page asks, as addresses under a secret one. Latents and faces travel as plain bytes.

| address | what it gives |
|---|---|
| `GET /`, `/app.js`, ... | the page |
| `GET /info` | what the page must know of the generator, as JSON |
| `POST /latents` | float32 (N, latent_dim): latents of a seed |
| `POST /draw` | uint8 (N, S, S, 3): the faces of the latents (N, width) in the body |
| `POST /words` | the faces that words name |
| `POST /edit` | a latent changed along attributes, and its face |
| `POST /picture/KIND` | a picture or film, written by the functions behind the commands |
| `POST /photo`, `/project`; `GET /project` | a photo's aligned face; begin a projection; how far it is |
| `GET /training`, `/training/grid` | a run that goes on |
"""

from __future__ import annotations

import asyncio
import base64
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from facegan.core.errors import FaceganError, first_line, is_out_of_memory, needed
from facegan.core.pixels import Pixels
from facegan.core.strictjson import parse_json
from facegan.faces.latents import Latents, items_of
from facegan.runs.folder import RUNS
from facegan.studio.guard import Guard
from facegan.studio.page import CONTENT_TYPES, facts, page
from facegan.studio.session import CROPS, MAX_FACES, Projection, Studio, latent_names
from facegan.studio.training import newest_grid, training

with needed("facegan studio", "studio", "starlette uvicorn"):
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

T = TypeVar("T")
Work = Callable[[Request], Awaitable[Response]]
MAX_UPLOAD = 40_000_000
"""Largest photo, in bytes."""
_MAX_JSON, _MAX_LATENTS = 4_000_000, 4 * MAX_FACES * 16_384
_MAX_WAITING = 64
"""Most requests that wait to be worked on; more are told to come again."""


class _Busy(Exception):
    """Too many requests wait."""


class _TooLarge(Exception):
    """A request's body is larger than it may be."""


class _Lane:
    """Work in a thread of its own, one piece after another, so that none of it stops the server from answering."""

    def __init__(self, name: str) -> None:
        self._thread, self._lock, self._waiting = ThreadPoolExecutor(1, name), asyncio.Lock(), 0

    async def do(self, request: Request, work: Callable[[], T]) -> T:
        """Do the work, unless by its turn nobody waits for it any more. Raises: _Busy: too much waits already."""
        if self._waiting >= _MAX_WAITING:
            raise _Busy
        self._waiting += 1
        try:
            async with self._lock:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def build(studio: Studio, token: str, *, word: str, runs: Path = RUNS, started: Callable[[], None] = print) -> Guard:
    """The ASGI application.

    Args:
        token: the first part of every path.
        word: how commands name the generator.
        runs: the folder with the runs.
        started: called when the server is ready.
    """
    files = page()
    drawing, writing = _Lane("drawing"), _Lane("writing")

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        started()
        yield
        for lane in (drawing, writing):
            lane.close()
        await asyncio.to_thread(studio.close)

    async def static(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        found = files.get(name)
        if found is None:
            return _sentence(404, "The studio has no such page.")
        return Response(found, media_type=CONTENT_TYPES[Path(name).suffix])

    async def info(request: Request) -> Response:
        return JSONResponse(facts(studio, word))

    async def draw_latents(request: Request) -> Response:
        asked = await _json(request)
        seed, first, count = (_whole(asked, name) for name in ("seed", "first", "count"))
        return _numbers(studio.latents(seed, first, count))

    async def draw(request: Request) -> Response:
        width = _whole(request.query_params, "width")
        z = _latents(await _body(request, _MAX_LATENTS), width)
        model = request.query_params.get("model", "")
        faces = await drawing.do(request, lambda: studio.draw(model, z))
        return Response(faces.tobytes(), media_type="application/octet-stream")

    async def words(request: Request) -> Response:
        asked = await _json(request)
        text, model = str(asked.get("words", ""))[:200], str(asked.get("model", ""))
        found = await writing.do(request, lambda: studio.words(model, text))
        return JSONResponse({"faces": found.labels, "latents": [_base64(z) for z in found.latents.astype("<f4")]})

    async def edit(request: Request) -> Response:
        asked = await _json(request)
        changes, keep, model = asked.get("changes"), asked.get("keep"), str(asked.get("model", ""))
        if not (isinstance(changes, list) and isinstance(keep, list) and len(changes) + len(keep) <= 300):
            raise FaceganError("The request is not what the page sends.", "Reload the page.")
        z = _sent(asked.get("latent"))
        words, names = [str(change)[:100] for change in changes], [str(name)[:100] for name in keep]
        found, face = await drawing.do(request, lambda: studio.edit(model, z, words, names))
        return JSONResponse({"latent": _base64(found.astype("<f4")), "face": _base64(face)})

    async def picture(request: Request) -> Response:
        asked = await _json(request)
        how, known = _picture_asked(asked, request.path_params["kind"])
        model, kind = str(asked.get("model", "")), request.path_params["kind"]
        content = await writing.do(request, lambda: studio.picture(kind, how, known, model))
        return Response(content, media_type=CONTENT_TYPES[how["ending"]])

    async def photo(request: Request) -> Response:
        name, crop = request.query_params.get("name", "photo"), request.query_params.get("crop", "face")
        if crop not in CROPS:
            raise FaceganError("A photo is cut by its face, or square.")
        try:
            data = await _body(request, MAX_UPLOAD)
        except _TooLarge:
            raise FaceganError("This file is too large for a photo: 40 MB is the most.") from None
        key, named, face = await writing.do(request, lambda: studio.add_photo(name, data, crop))
        return JSONResponse({"photo": key, "name": named, "face": _base64(face)})

    async def project(request: Request) -> Response:
        asked = await _json(request)
        photos = asked.get("photos")
        if not isinstance(photos, list):
            raise FaceganError("No photo was named.")
        return JSONResponse({"projection": studio.project([str(key) for key in photos], asked.get("plain") is True)})

    async def stop(request: Request) -> Response:
        studio.projection(str((await _json(request)).get("projection")))[0].stop = True
        return JSONResponse({})

    async def progress(request: Request) -> Response:
        found, before = studio.projection(request.query_params.get("projection", ""))
        return JSONResponse(_progress(found, before, _whole(request.query_params, "looks")))

    async def run(request: Request) -> Response:
        name = request.query_params.get("run")
        return JSONResponse(await writing.do(request, lambda: training(name, runs)))

    async def grid(request: Request) -> Response:
        name = request.query_params.get("run")
        return Response(await writing.do(request, lambda: newest_grid(name, runs)), media_type="image/png")

    gets = {"/info": info, "/project": progress, "/training": run, "/training/grid": grid}
    posts = {
        "/latents": draw_latents,
        "/draw": draw,
        "/words": words,
        "/edit": edit,
        "/photo": photo,
        "/project": project,
    }
    posts |= {"/stop": stop, "/picture/{kind}": picture}

    def route(path: str, work: Work, method: str) -> Route:
        async def answered(request: Request) -> Response:
            try:
                return await work(request)
            except Exception as error:
                return _in_words(error, studio.note)

        return Route(path, answered, methods=[method])

    routes = [route(path, work, "GET") for path, work in gets.items()]
    routes += [route(path, work, "POST") for path, work in posts.items()]
    routes += [route(path, static, "GET") for path in ("/{name}", "/")]
    return Guard(Starlette(routes=routes, lifespan=life), token)


def _in_words(error: Exception, note: Callable[[str], None]) -> Response:
    """The answer to a request that failed; what was not foreseen is also said in the terminal."""
    if isinstance(error, FaceganError):
        return JSONResponse({"error": error.message, "hint": error.hint}, 400)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    if isinstance(error, _TooLarge):
        return _sentence(413, "This is more than the studio takes at once.")
    if isinstance(error, _Busy):
        return _sentence(503, "The studio is busy. Try again in a moment.")
    if is_out_of_memory(error):
        return _sentence(500, "There is not enough memory for this. End other programs, or ask for less.")
    if os.environ.get("FACEGAN_DEBUG") == "1":
        traceback.print_exception(error)
    words = f"{type(error).__name__}: {first_line(error)}"
    note(f"the studio could not answer: {words}")
    return _sentence(500, f"This is a bug in facegan: {words}.")


def _sentence(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence, "hint": ""}, status)


async def _body(request: Request, most: int) -> bytes:
    """The request's body. Raises: _TooLarge: it has more bytes, known before they are all read."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:20]) > most:
        raise _TooLarge
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _TooLarge
        parts.append(part)
    return b"".join(parts)


async def _json(request: Request) -> dict[str, Any]:
    text = await _body(request, _MAX_JSON)
    try:
        asked = parse_json(text.decode(), "the request")
    except UnicodeDecodeError:
        asked = None
    if not isinstance(asked, dict):
        raise FaceganError("The request is not what the page sends.", "Reload the page.")
    return asked


def _whole(asked: Any, name: str, low: int = 0, high: int = 2**63 - 1) -> int:
    value = asked.get(name, 0)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise FaceganError(f"{name} is not a whole number from {low} to {high}.")
    return value


def _latents(data: bytes, width: int) -> Latents:
    """The latents (N, width), little-endian float32. Raises: FaceganError: these are not whole latents."""
    if not width or not data or len(data) % (4 * width):
        raise FaceganError("The request does not hold whole latents.", "Reload the page.")
    return np.frombuffer(data, "<f4").astype(np.float32).reshape(-1, width)


def _sent(text: Any) -> Latents:
    """One latent (width,) of a JSON request."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise FaceganError("The request does not hold a latent.", "Reload the page.") from None
    return _latents(data, len(data) // 4)[0]


def _picture_asked(asked: dict[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, Latents]]:
    """What `Studio.picture` takes, checked."""
    wrong = FaceganError("The request is not what the page sends.", "Reload the page.")
    specs, known, signs = asked.get("specs"), asked.get("known", {}), asked.get("signs", [])
    endings = {"film": (".gif", ".webp", ".mp4")}.get(kind, (".png", ".jpg", ".webp"))
    fps, ending = asked.get("fps", 12), asked.get("ending", endings[0])
    if kind not in ("face", "strip", "film", "equation") or ending not in endings or not isinstance(known, dict):
        raise wrong
    if not isinstance(specs, list) or not 1 <= len(specs) <= 100 or not all(isinstance(spec, str) for spec in specs):
        raise wrong
    if kind == "equation" and not (isinstance(signs, list) and len(signs) == len(specs) and {*signs} <= {1, -1}):
        raise wrong
    if not isinstance(fps, (int, float)) or not 0.1 <= fps <= 100:
        raise FaceganError("Frames per second are a number from 0.1 to 100.")
    found = {}
    for name, text in known.items():
        if "/" in name or "\\" in name:
            raise wrong
        found[name] = _sent(text)
    numbers = {"scale": _whole(asked, "scale", 0, 16), "steps": _whole({"steps": 10, **asked}, "steps", 2, 1000)}
    if any(item.endswith(".npy") and item not in found for item in items_of(specs)):
        raise wrong  # the page names no file of this machine
    loop = asked.get("loop") is True
    return {**numbers, "specs": specs, "signs": signs, "fps": fps, "ending": ending, "loop": loop}, found


def _progress(found: Projection, before: int, looks: int) -> dict[str, Any]:
    """A projection as JSON; the faces so far only if there are newer ones than the page has."""
    answer: dict[str, Any] = {
        "state": found.state, "done": found.done, "total": found.total, "before": before, "looks": found.looks,
    }  # fmt: skip
    if found.look is not None and found.looks != looks:
        answer["look"] = [_base64(face) for face in found.look]
    if found.error:
        answer |= {"error": found.error.message, "hint": found.error.hint}
    if found.state == "done" and found.latents is not None and found.plain is not None and found.drawn is not None:
        answer |= {
            "model": found.model,
            "names": found.names,
            "files": latent_names(found.names),
            "words": found.words,
            "latents": [_base64(z) for z in found.latents.astype("<f4")],
            "plain": [_base64(face) for face in found.plain],
            "drawn": [_base64(face) for face in found.drawn],
        }
    return answer


def _numbers(z: Latents) -> Response:
    return Response(z.astype("<f4").tobytes(), media_type="application/octet-stream")


def _base64(numbers: Pixels | Latents) -> str:
    return base64.b64encode(numbers.tobytes()).decode()
