"""The Python blocks of a page, and a way to run them as the one script that they are.

`<!-- raises: NAME -->` above a block says which error it ends with. A comment that begins with
`<!--python` holds code that readers do not see, such as what another page has defined.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(
    r"(?:^<!-- raises: (?P<raises>\w+) -->\n)?^```python\n(?P<code>.*?)^```$"
    r"|^<!--python\n(?P<hidden>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """Code, the line of the page that it begins at, and the error that it must raise."""

    line: int
    code: str
    raises: str = ""


def blocks(text: str) -> Iterator[Block]:
    for m in BLOCK.finditer(text):
        at = m.start("code") if m["code"] is not None else m.start("hidden")
        yield Block(text.count("\n", 0, at), m["code"] or m["hidden"] or "", m["raises"] or "")


def run(page: Path) -> None:
    """Each block in turn, with the lines of the page, so that errors and reports name these."""
    space = {"__name__": "__main__", "__file__": str(page)}
    for block in blocks(page.read_text()):
        code = compile("\n" * block.line + block.code, str(page), "exec")
        if not block.raises:
            exec(code, space)
            continue
        try:
            exec(code, space)
        except Exception as e:
            if block.raises not in [kind.__name__ for kind in type(e).__mro__]:
                raise
        else:
            raise AssertionError(f"{page.name}:{block.line}: no {block.raises}")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
