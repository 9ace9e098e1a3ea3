"""What a window came to, as text: `python benchmarks/gpu_report.py window.json [FOLDER]`.

How each stage ended and what failed, first; then a table for each kind of row, graphc beside what
PyTorch took in the same run. With FOLDER each stage's rows are also written there, as
`benchmarks/results/h200` has them; a stage that came to none leaves what is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
KINDS = {  # of rows: by what they are told apart, and the title of their table
    "net": (("net",), "steps"),
    "matmul": (("matmul", "dtype"), "matrix products"),
    "attention": (("attention", "way"), "attention"),
    "conv": (("conv", "direction"), "convolutions"),
}
OWN = "graphc"


def kind_of(row: Row) -> str:
    return next((k for k in KINDS if k in row and "variant" in row), "")


def stage_lines(report: Row) -> Iterator[str]:
    """Its end, and each of its rows that failed."""
    end = f"{report['stage']}: {report['status']}, {len(report['rows'])} rows"
    end += f" in {report['wall_s']:.0f} s" if "wall_s" in report else ""
    yield f"{end}; {report['reason'].splitlines()[0]}" if report.get("reason") else end
    for row in report["rows"]:
        if "counts" in row:
            yield f"  {row['counts']}"
            yield from (f"  {failure}" for failure in row.get("failures", ()))
        if "failed" in row or row.get("ok") is False:
            named = {k: v for k, v in row.items() if isinstance(v, str | int | bool)}
            yield f"  {named}"


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """Milliseconds by variant, and how many of graphc's the fastest of the others takes."""
    for kind, (keys, title) in KINDS.items():
        cases: dict[str, dict[str, Row]] = {}
        for row in rows:
            if kind_of(row) == kind and "median_ms" in row:
                case = ", ".join(str(row[k]) for k in keys if k in row)
                cases.setdefault(case, {})[row["variant"]] = row
        if not cases:
            continue
        variants = list(dict.fromkeys(v for of in cases.values() for v in of))
        head = [title, *(f"{v} ms" for v in variants), "best other / graphc"]
        body = [[case, *(cell(of, v) for v in variants), ahead(of)] for case, of in cases.items()]
        lines = [head, ["---"] * len(head), *body]
        yield "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(of: dict[str, Row], variant: str) -> str:
    return f"{of[variant]['median_ms']:.3g}" if variant in of else "-"


def ahead(of: dict[str, Row]) -> str:
    others = [row["median_ms"] for v, row in of.items() if not v.startswith(OWN)]
    return f"{min(others) / of[OWN]['median_ms']:.2f}" if others and OWN in of else "-"


def bring_back(reports: Sequence[Row], folder: Path) -> list[str]:
    """Write the stages that have rows; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = [r for r in reports if r["rows"]]
    for report in kept:
        text = json.dumps({k: v for k, v in report.items() if k != "log"}, indent=1)
        (folder / f"{report['stage']}.json").write_text(text + "\n")
    return [r["stage"] for r in kept]


def main(argv: Sequence[str]) -> int:
    reports: list[Row] = json.loads(Path(argv[0]).read_text())["reports"]
    for report in reports:
        print("\n".join(stage_lines(report)))
    print()
    print("\n\n".join(tables([row for report in reports for row in report["rows"]])))
    if len(argv) > 1:
        print(f"\n{argv[1]}: {', '.join(bring_back(reports, Path(argv[1])))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
