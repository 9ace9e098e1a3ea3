"""The page: markup, style, code and data put together into one file that loads nothing.

Users' text is data: it stands in the page as JSON whose `<` is escaped, and reaches the document
as text nodes only. The policy in the page's head allows the one script by its hash, and no other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from graphc.frontend.report.saved import encoded

STATIC = files("graphc.frontend.report") / "static"
SCRIPTS = (  # in the order that they need each other
    "dom", "model", "marks", "listing", "source", "stages", "kernels", "timeline", "memory",
    "roofline", "overview", "guards", "selection", "search", "main",
)  # fmt: skip


def page(record: Mapping[str, Any], code: Sequence[Mapping[str, Sequence[str]]]) -> str:
    """The whole file; `code` is what machines and their compilers read, packed, since it is long
    and seldom looked at."""
    script = "(() => {\n'use strict';\n" + "\n".join(map(_script, SCRIPTS)) + "\n})();\n"
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{hashed}'; style-src 'unsafe-inline'"
    parts = {
        "policy": policy,
        "title": _escaped(str(record["name"])),
        "style": (STATIC / "page.css").read_text(encoding="utf-8"),
        "record": as_json(record),
        "code": packed(as_json(code)),
        "script": script,
    }
    text = (STATIC / "page.html").read_text(encoding="utf-8")
    pieces = text.split("@@")  # what stands at odd places is a name: parts are never searched
    return "".join(parts[p] if k % 2 else p for k, p in enumerate(pieces))


def _script(name: str) -> str:
    return (STATIC / f"{name}.js").read_text(encoding="utf-8")


def as_json(data: Any) -> str:
    """JSON that may stand in a page: no text in it can end its element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, default=list)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def packed(text: str) -> str:
    """Deflated, as letters."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return base64.b64encode(deflate.compress(encoded(text)) + deflate.flush()).decode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def code_in(text: str) -> list[dict[str, list[str]]]:
    """The code that a page holds."""
    letters = text.partition('<script type="text/plain" id="packed">')[2].partition("</script>")[0]
    found: list[dict[str, list[str]]] = json.loads(zlib.decompress(base64.b64decode(letters), -15))
    return found


def record_of(text: str) -> dict[str, Any]:
    """The record that a page holds. Raises ValueError of what is no report."""
    _, mark, rest = text.partition('<script type="application/json" id="record">')
    if not mark:
        raise ValueError("no report")
    found: dict[str, Any] = json.loads(rest.partition("</script>")[0])
    return found
