"""The fastest tiles of attention on the GPU that is here: `python benchmarks/gpu_tune.py OUT`.

`gpu_window.py` measures them as its stage "tune"; this writes the winners of `OUT/tune.json` to
where `graphc.codegen_gpu.tuned` reads them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gpu_work

from graphc.codegen_gpu.tuned import FOLDER, tuned

Tile = dict[str, Any]
FIELDS = ("rows", "columns", "warps", "stages", "described")
TILES = {  # rows, columns, warps, stages, by descriptors
    "forward": [
        (64, 128, 4, 2, True), (64, 128, 4, 3, True), (64, 64, 4, 3, True), (128, 128, 8, 2, True),
        (128, 128, 8, 3, True), (128, 64, 8, 3, True), (128, 64, 4, 3, False),
    ],
    "queries": [
        (64, 64, 4, 2, False), (64, 64, 4, 3, True), (64, 128, 4, 2, True), (128, 64, 8, 3, False),
        (128, 64, 8, 3, True), (128, 128, 8, 2, True),
    ],
    "keys": [
        (64, 64, 4, 3, True), (64, 64, 4, 2, True), (64, 32, 4, 3, True), (128, 64, 8, 3, True),
        (128, 64, 8, 2, True), (128, 128, 8, 2, True),
    ],
}  # fmt: skip


class Variant(NamedTuple):
    key: str  # in the file
    case: gpu_work.Attention
    tile: Tile

    @property
    def backward(self) -> bool:
        return not self.key.startswith("forward")

    @property
    def name(self) -> str:
        return f"{self.case.name}, {self.key}: {' '.join(map(str, self.tile.values()))}"


def variants() -> Iterator[Variant]:
    """Part by part, so that a gradient is measured behind the fastest forward."""
    cases = gpu_work.chosen(gpu_work.ATTENTIONS[:3], gpu_work.TINY_ATTENTIONS)
    for part, tiles in TILES.items():
        for case in cases:
            for tile in gpu_work.chosen(tiles, tiles[:2]):
                key = f"{part} {max(64, case.width)}"
                yield Variant(key, case, dict(zip(FIELDS, tile)))


def use(arch: str, variant: Variant) -> None:
    """What is emitted from here on has this tile."""
    tuned(arch).setdefault("attention", {})[variant.key] = variant.tile


def winners(rows: Sequence[dict[str, Any]]) -> dict[str, Tile]:
    """By key the tile whose times in all of its cases are the least in sum."""
    times: dict[str, dict[str, float]] = {}
    for row in rows:
        of_key, tile = times.setdefault(row["key"], {}), json.dumps(row["tile"])
        of_key[tile] = of_key.get(tile, 0.0) + row.get("median_ms", float("inf"))
    return {key: json.loads(min(found, key=found.__getitem__)) for key, found in times.items()}


def main(out: Path) -> None:
    rows = [r for r in json.loads((out / "tune.json").read_text())["rows"] if "tune" in r]
    file = FOLDER / f"{rows[0]['arch']}.json"
    lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in winners(rows).items()]
    file.write_text('{\n "attention": {\n' + ",\n".join(lines) + "\n }\n}\n")
    print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
