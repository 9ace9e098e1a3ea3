"""One report made of several: their programs behind one another, their tables put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.frontend.report.page import code_in, page, record_of
from graphc.frontend.report.record import VERSION

Row = dict[str, Any]


def merged(pages: Sequence[str]) -> str:
    """A page of all programs of these. Raises ValueError of what is no report of this version."""
    records = [record_of(text) for text in pages]
    if any(r.get("version") != VERSION for r in records):
        raise ValueError("a report of another version")
    whole, *rest = records
    for r in rest:
        _add(whole, r)
    names = dict.fromkeys(u["name"] for u in whole["units"])
    whole["name"] = " + ".join(names)
    code = [table for text in pages for table in code_in(text)]
    return page(whole, code)


def _add(whole: Row, r: Row) -> None:
    """Append the tables of r, with its numbers moved past those that are there."""
    rows, wheres, stacks = len(whole["rows"]), len(whole["wheres"]), len(whole["stacks"])
    known = {f["path"]: k for k, f in enumerate(whole["files"])}
    files = [known.get(f["path"]) for f in r["files"]]
    for k, f in enumerate(r["files"]):
        if files[k] is None:
            files[k] = len(whole["files"])
            whole["files"].append(f)

    def file(k: int) -> Any:
        return files[k] if k >= 0 else k

    whole["rows"] += r["rows"]
    whole["row_where"] += [_moved(k, wheres) for k in r["row_where"]]
    whole["wheres"] += [[*w[:4], _moved(w[4], stacks)] for w in r["wheres"]]
    whole["stacks"] += [[[file(f), line, name] for f, line, name in s] for s in r["stacks"]]
    whole["units"] += [_unit(u, rows, wheres) for u in r["units"]]
    whole["guards"] += [[what, value, file(f), line] for what, value, f, line in r["guards"]]
    whole["recompiles"] += [{**c, "at": [file(c["at"][0]), c["at"][1]]} for c in r["recompiles"]]
    whole["sizes"] += [row for row in r["sizes"] if row not in whole["sizes"]]
    whole["peaks"] = whole["peaks"] or r["peaks"]
    _add_numbers(whole["numbers"], r["numbers"])


def _moved(k: int, by: int) -> int:
    return k + by if k >= 0 else k


def _unit(u: Row, rows: int, wheres: int) -> Row:
    """A program's record whose rows and places have other numbers."""
    stages = [{**s, "rows": [k + rows for k in s["rows"]]} for s in u["stages"]]
    kernels = [{**k, "rows": [n + rows for n in k["rows"]]} for k in u["kernels"]]
    launches = [
        {**x, "shares": [[_moved(w, wheres), part] for w, part in x["shares"]]}
        for x in u["launches"]
    ]
    values = [[name, _moved(w, wheres), by, args] for name, w, by, args in u["values"]]
    slots = [[*s[:8], _moved(s[8], wheres)] for s in u["slots"]]
    return {**u, "stages": stages, "kernels": kernels, "launches": launches, "values": values,
            "slots": slots}  # fmt: skip


def _add_numbers(whole: Row, r: Row) -> None:
    """The peak is that of the largest; what was counted adds up."""
    for name, n in r.items():
        if name == "peak_bytes":
            whole[name] = max(n, whole.get(name, 0))
        elif isinstance(n, int | float):
            whole[name] = whole.get(name, 0) + n
