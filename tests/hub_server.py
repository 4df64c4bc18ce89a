"""A small Hugging Face Hub on this machine: the routes that facegan needs, so that tests need no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Hub(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        commits: repository -> its commits, each a dictionary of file names and contents.
        private: repositories that were made private.
        requests: method and path of each request, in order.
        refuse: an HTTP status with which everything is answered, or 0.
        broken: the name of a file for which the answer is an error of the server, or "".
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []
        self.refuse = 0
        self.broken = ""
        self.stored: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, repository: str, files: dict[str, bytes]) -> str:
        """Add a commit; returns its name."""
        commits = self.commits.setdefault(repository, [])
        commits.append({**(commits[-1] if commits else {}), **files})
        return self.name_of(repository, len(commits) - 1)

    def name_of(self, repository: str, number: int) -> str:
        return hashlib.sha1(f"{repository} {number}".encode()).hexdigest()  # noqa: S324, as git names commits


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        self._file(body=True)

    def _file(self, *, body: bool) -> None:
        hub = self.server
        hub.requests.append(f"{self.command} {self.path}")
        if (named := self.path.removeprefix("/api/models/")) in hub.commits:
            return self._json({"id": named, "private": named in hub.private})
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if hub.refuse or match is None:
            return self._answer(hub.refuse or 404)
        repository, revision, name = match[1], unquote(match[2]), match[3]
        if name == hub.broken:
            return self._answer(500)
        commits = hub.commits.get(repository)
        if commits is None:
            return self._answer(401, {"X-Error-Code": "RepoNotFound"})
        names = [hub.name_of(repository, number) for number in range(len(commits))]
        if revision != "main" and revision not in names:
            return self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        number = len(commits) - 1 if revision == "main" else names.index(revision)
        if name not in commits[number]:
            return self._answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": names[number]})
        content = commits[number][name]
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self._answer(200, {"X-Repo-Commit": names[number], "ETag": tag}, content, body=body)

    def do_POST(self) -> None:
        hub = self.server
        hub.requests.append(f"POST {self.path}")
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if hub.refuse or self.headers.get("Authorization") != "Bearer hf_test":
            return self._answer(hub.refuse or 401)
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            asked = json.loads(raw)
            repository = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            known = repository in hub.commits
            if not known and (asked.get("private") or asked.get("visibility") == "private"):
                hub.private.add(repository)
            hub.commits.setdefault(repository, [{".gitattributes": b""}])
            return self._json({"url": f"{hub.url}/{repository}"}, 409 if known else 200)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path):
            files = [
                {"path": file["path"], "uploadMode": _mode(file["path"]), "shouldIgnore": False}
                for file in json.loads(raw)["files"]
            ]
            return self._json({"files": files})
        if re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", self.path):
            objects = [
                {**wanted, "actions": {"upload": {"href": f"{hub.url}/lfs/{wanted['oid']}"}}}
                for wanted in json.loads(raw)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            commit = hub.put(match[1], dict(_committed(raw, hub.stored)))
            return self._json({"commitUrl": f"{hub.url}/{match[1]}/commit/{commit}", "commitOid": commit})
        return self._answer(404)

    def do_PUT(self) -> None:
        self.server.requests.append(f"PUT {self.path}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == f"/lfs/{hashlib.sha256(content).hexdigest()}"
        self.server.stored[self.path.rpartition("/")[2]] = content
        self._answer(200)

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, content: bytes = b"", *, body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(content)


def _mode(name: str) -> str:
    """How the Hub wants a file: large binary ones go to another store."""
    return "lfs" if name.endswith((".safetensors", ".png")) else "regular"


def _committed(raw: bytes, stored: dict[str, bytes]) -> list[tuple[str, bytes]]:
    lines = [json.loads(line) for line in raw.splitlines()]
    files = [
        (line["value"]["path"], base64.b64decode(line["value"]["content"])) for line in lines if line["key"] == "file"
    ]
    large = [(line["value"]["path"], stored[line["value"]["oid"]]) for line in lines if line["key"] == "lfsFile"]
    return files + large
