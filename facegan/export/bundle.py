"""ES modules as one plain script: a page that is opened from a file may load no modules, and no other files."""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./([\w-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)


def bundle(modules: Mapping[str, str], start: str) -> str:
    """The module `start` and all that it imports, as one script.

    Each module becomes a function that is called once, in the order of the imports, so that names of different modules
    do not meet. It knows those forms of `import` and `export` that the page uses: names in braces from a file beside
    it, and exported functions, classes and constants.

    Args:
        modules: name of a file -> its text.
    """
    parts: list[str] = []
    done: set[str] = set()

    def add(name: str) -> None:
        done.add(name)
        text = modules[name]
        for match in _IMPORT.finditer(text):
            if match[2] not in done:
                add(match[2])
        exported = [match[2] for match in _EXPORT.finditer(text)]
        text = _IMPORT.sub(lambda match: f"const {{ {match[1]} }} = {_variable(match[2])};", text)
        text = _EXPORT.sub(r"\1", text)
        assert not re.search(r"^(import|export)\b", text, re.MULTILINE), f"{name} imports or exports in another form"
        parts.append(f"const {_variable(name)} = (() => {{\n{text}return {{ {', '.join(exported)} }};\n}})();\n")

    add(start)
    return '(() => {\n"use strict";\n' + "".join(parts) + "})();\n"


def _variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))
