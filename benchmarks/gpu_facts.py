"""What the code of whole training steps is made of, without a GPU:
`python benchmarks/gpu_facts.py OUT.json [--nets ...] [--arches ...] [--types ...]`.

Every kernel of each net is compiled for each architecture and looked at: registers that went to
memory, shared memory beyond what there is, parameters other than the runtime packs, and which
instructions compute its products. Compiled kernels are cached, so that a run which was stopped
goes on where it was. The exit status says whether all is as it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gpu_kernels
import gpu_work
import nets

import graphc
from graphc.codegen_gpu import abi, facts
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.target import Target
from graphc.errors import BackendError
from graphc.ir.cuda_abi import Image, Source
from graphc.ir.kernel import Kernel
from graphc.runtime.disk_cache import DiskCache

NETS = ("resnet18_cifar", "resnet18_224", "mobilenetv2_224", "tinybert")
ARCHES = ("sm_80", "sm_90a")
TYPES = ("f32", "tf32", "bf16")  # products of float32, exact or not; under autocast
BATCH = 2  # the kernels' texts are those of any batch, up to their blocks

Row = dict[str, Any]


def step_sources(name: str, kind: str, arch: str) -> dict[Source, Kernel]:
    """The kernels of a training step."""
    work = gpu_work.Work(gpu_work.sized(name, BATCH))
    step, x, y, *_ = gpu_work.training(graphc, work, "cpu")

    def narrow(x: Any, y: Any) -> Any:
        with graphc.autocast("cpu", graphc.bfloat16):
            return step(x, y)

    before = graphc.backends.cuda.matmul.allow_tf32, graphc.backends.cudnn.allow_tf32
    try:
        graphc.backends.cuda.matmul.allow_tf32 = graphc.backends.cudnn.allow_tf32 = kind == "tf32"
        return gpu_kernels.sources(narrow if kind == "bf16" else step, (x, y), arch)
    finally:
        graphc.backends.cuda.matmul.allow_tf32, graphc.backends.cudnn.allow_tf32 = before


def complaints(image: Image, kernel: Kernel, arch: str) -> list[str]:
    """What is not as it should be."""
    found = []
    if facts.spills(image):
        found.append("spills")
    if image.shared_bytes > Target.named(arch).shared_bytes:
        found.append(f"{image.shared_bytes} bytes of shared memory")
    if facts.entry_parameters(image) != abi.parameter_types(image.source):
        found.append("other parameters than are packed")
    if wants_tensor_cores(image.source) != bool(facts.tensor_core_instruction(image)):
        found.append("products by other units than expected")
    return found


def wants_tensor_cores(source: Source) -> bool:
    """Whether some product is of halves or TF32; exact ones of float32 are by FFMA."""
    dots = [line for line in source.text.splitlines() if "tl.dot(" in line]
    if any('"tf32"' in line for line in dots):
        return True
    halves = any(p.dtype in ("bf16", "f16") for p in source.params)
    return bool(dots) and halves and not any("tl.float64" in line for line in dots)


def facts_of(name: str, note: Callable[[], dict[Source, Kernel]], library: GpuLibrary) -> Row:
    """A row of the table."""
    found, arch = note(), library.target.arch
    row: Row = {"net": name, "arch": arch, "kernels": len(found), "bad": {}}
    seen: Counter[str] = Counter()
    with suppress(BackendError):  # all at once, so that every worker has something to do
        library.images([*found])
    for source, kernel in found.items():
        try:
            (image,) = library.images([source])
        except BackendError as e:
            row["bad"][f"{kernel.name} {source.name}"] = [str(e)[:300]]
            continue
        if bad := complaints(image, kernel, arch):
            row["bad"][f"{kernel.name} {source.name}"] = bad
        seen[facts.tensor_core_instruction(image) or "none"] += "tl.dot(" in source.text
    row |= {"instructions": {k: n for k, n in seen.items() if n}}
    row["spills"] = sum("spills" in bad for bad in row["bad"].values())
    return row


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--nets", nargs="+", default=NETS, choices=sorted(nets.NETS))
    parser.add_argument("--arches", nargs="+", default=ARCHES, choices=ARCHES)
    parser.add_argument("--types", nargs="+", default=TYPES, choices=TYPES)
    args = parser.parse_args(argv)
    rows: list[Row] = []
    for arch in args.arches:
        library = GpuLibrary(Target.named(arch), DiskCache())
        for net in args.nets:
            for kind in args.types:
                note = lambda n=net, k=kind, a=arch: step_sources(n, k, a)  # noqa: E731
                rows.append(facts_of(f"{net} {kind}", note, library))
                print(json.dumps(rows[-1]), flush=True)
                args.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["bad"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
