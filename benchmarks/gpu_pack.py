"""What a machine with a GPU needs that has no network: `python benchmarks/gpu_pack.py DIR`.

Kernels of everything that `gpu_window.py` measures, compiled for sm_90a, as a kernel cache; and
wheels of graphc's dependencies for CPython 3.12 on Linux, from small to large while they fit. What
was left out stands in `DIR/pack.json`. Cached kernels are found by Triton's version among others:
run this with the version that is there (`--expect-triton` checks, before anything is compiled).

Run again into the same folder, it compiles only kernels whose text, options or compiler are others
than before, and removes those that nothing asks for any more; after a run that was ended, the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

MIB = 1 << 20
PYTHON = "3.12"
PLATFORMS = (28, 27, 17, 12, 5)  # of manylinux_2_N: pip takes each literally
WHEELS = (
    *("platformdirs", "tqdm", "safetensors", "ml_dtypes", "networkx", "cuda-pathfinder"),
    *("cuda-bindings", "pytest-timeout", "numpy", "llvmlite", "triton"),
)
ARCH = "sm_90a"
HERE = Path(__file__).parent


def size_of(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


# ---- kernels -----------------------------------------------------------------------------------


def pack_kernels(folder: Path, only: Sequence[str]) -> dict[str, Any]:
    """Compile all that is measured into a cache; what fails is noted, and the rest goes on."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    import gpu_kernels
    import gpu_smoke

    from graphc.codegen_gpu import abi
    from graphc.codegen_gpu.library import GpuLibrary
    from graphc.codegen_gpu.target import Target
    from graphc.errors import GraphcError
    from graphc.runtime.disk_cache import SUFFIX, DiskCache, hashed

    class Noting(DiskCache):
        """Knows what was asked for."""

        def get(self, key: str) -> bytes | None:
            asked.add(hashed(key).hex() + SUFFIX)
            return super().get(key)

    asked: set[str] = set()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    library = GpuLibrary(Target.named(ARCH), Noting(folder))
    failed: dict[str, str] = {}
    start = time.monotonic()
    calls = [("smoke", lambda arch: dict.fromkeys(gpu_smoke.all_sources()))]
    for name, note in [*calls, *gpu_kernels.all_calls(only)]:
        try:
            library.images([*note(ARCH)])
        except (GraphcError, AssertionError, LookupError) as e:
            failed[name] = f"{type(e).__name__}: {e}"[:1000]
        print(f"{time.monotonic() - start:6.0f} s  {name}", file=sys.stderr, flush=True)
    stale = [] if only or failed else [f for f in folder.iterdir() if f.name not in asked]
    for file in stale:
        file.unlink()
    return {
        "triton": abi.installed_version(),
        "arch": ARCH,
        "compiled": library.compiled,
        "found": library.hits,
        "removed": len(stale),
        "failed": failed,
        "bytes": size_of(folder),
    }


# ---- wheels ------------------------------------------------------------------------------------


def download(name: str, folder: Path) -> list[Path]:
    before = set(folder.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", PYTHON, "--implementation", "cp", "-d", str(folder)]
    for n in PLATFORMS:
        command += ["--platform", f"manylinux_2_{n}_x86_64"]
    command += ["--platform", "manylinux2014_x86_64", required(name)]
    subprocess.run(command, check=True, timeout=300)
    return sorted(set(folder.glob("*.whl")) - before)


def required(name: str) -> str:
    """The package with the version of this environment, so that what was tested is what goes."""
    try:
        return f"{name}=={metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return name


def pack_wheels(folder: Path, names: Sequence[str], room: int) -> dict[str, Any]:
    """The first ones that fit; a wheel that does not is removed again."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, left_out = {}, {}
    for name in names:
        try:
            wheels = download(name, folder)
        except (subprocess.SubprocessError, OSError) as e:
            left_out[name] = f"cannot be had: {e}"[:300]
            continue
        size = sum(w.stat().st_size for w in wheels)
        if size > room:
            left_out[name] = f"{size / MIB:.0f} MiB do not fit"
            for wheel in wheels:
                wheel.unlink()
            continue
        room -= size
        kept[name] = size
    return {"kept": kept, "left_out": left_out}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-mib", type=float, default=56.0, help="kernels and wheels together")
    parser.add_argument("--wheels", nargs="*", default=WHEELS, help="packages, most wanted first")
    parser.add_argument("--nets", nargs="+", default=[], help="kernels of these nets alone")
    parser.add_argument("--expect-triton", default="", help="fail under another version")
    args = parser.parse_args(argv)
    here = metadata.version("triton")
    if args.expect_triton and here != args.expect_triton:
        print(f"this is Triton {here}, not {args.expect_triton}", file=sys.stderr)
        return 1
    kernels = pack_kernels(args.folder / "kernels", args.nets)
    room = int(args.max_mib * MIB) - kernels["bytes"]
    wheels = pack_wheels(args.folder / "wheels", args.wheels, room)
    report = {"kernels": kernels, "wheels": wheels, "bytes": size_of(args.folder)}
    (args.folder / "pack.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return int(report["bytes"] > args.max_mib * MIB)


if __name__ == "__main__":
    os.environ.pop("GRAPHC_CUDA", None)  # shapes of the real thing
    sys.exit(main(sys.argv[1:]))
