"""What mkdocs does besides the pages in docs/: README, CONTRIBUTING and CHANGELOG become pages, and links fit the site.

On the site there is no source code, so a link to a file outside docs/ becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""File at the top of the repository -> its page on the site."""
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from the top of the repository."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page with its links as the site has them."""
    here = "" if page.file.src_uri in PAGES.values() else "docs"
    return with_links(markdown, here)


def with_links(markdown: str, here: str) -> str:
    """Links of a page in the folder `here` of the repository ("" or "docs"), as links between pages of the site."""

    def link(match: re.Match[str]) -> str:
        picture, text, target, anchor = match.groups("")
        if not target or "://" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(here, target))
        if path in PAGES:
            path = PAGES[path]
        elif path.startswith("docs/"):
            path = path.removeprefix("docs/")
        else:
            return text
        return f"{picture}[{text}]({path}{anchor})"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)
