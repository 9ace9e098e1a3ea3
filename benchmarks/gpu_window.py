"""Everything worth knowing of a GPU in one command: `python benchmarks/gpu_window.py OUT`.

Offline, and within `--limit-s`. Stages are processes with time limits, in the order of STAGES; each
leaves `OUT/<stage>.json` with its status and the rows it came to, and one that fails stops no
other. `OUT/window.json` has all of them so far, those of earlier runs too, for who can bring back
one file; a window that is itself ended early leaves what it had. `--resume` runs the stages that
have not come to their end in OUT, `--only` those that are named. With `--pack DIR` (made by
`gpu_pack.py`) its wheels are used where a package is missing, and its kernels need no compiling.
GRAPHC_CUDA=fake runs the whole of it without a GPU, on tiny shapes.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Report = dict[str, Any]

HERE = Path(__file__).parent
LIMITS_S = {  # what a stage may take; all of them fit the whole
    "environment": 10,
    "abi": 20,
    "tests": 60,
    "attention": 30,  # what no window has measured of this code comes first
    "tune": 40,
    "nets": 170,
    "ceilings": 35,
    "conv": 50,
}
DONE = ("ok", "partial")  # of a stage that need not be run again
WARMED = "tests"  # behind it stages measure, and nothing else may run
GRACE_S = 5.0  # to write the last rows
LOG_CHARACTERS = 6000
MODULES = {  # of what the packages in a pack are for
    "platformdirs": "platformdirs",
    "llvmlite": "llvmlite",
    "ml_dtypes": "ml_dtypes",
    "networkx": "networkx",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
    "numpy": "numpy",
    "pytest_timeout": "pytest_timeout",
    "cuda_bindings": "cuda.bindings",
    "cuda_pathfinder": "cuda.pathfinder",
    "triton": "triton",
}


def write(file: Path, report: Report) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(report, indent=1, default=str) + "\n")
    os.replace(temporary, file)


def read(file: Path) -> Report:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        if isinstance(found, dict):
            return found
    return {"rows": []}


# ---- inside a stage's process ------------------------------------------------------------------


def run_stage(name: str, out: Path, limit_s: float, tests: list[str]) -> int:
    """Run it, writing after each row; the parent adds what a process cannot say of its end."""
    sys.path.insert(0, str(HERE))
    import gpu_stages

    start = time.monotonic()
    report: Report = {"stage": name, "status": "running", "rows": []}

    def record(row: Report) -> None:
        report["rows"].append(row)
        report["seconds"] = time.monotonic() - start
        write(out / f"{name}.json", report)

    write(out / f"{name}.json", report)
    try:
        gpu_stages.STAGES[name](record, start + limit_s - GRACE_S, tests)
    except Exception as e:
        report |= {"status": "failed", "reason": f"{type(e).__name__}: {e}"[:4000]}
    else:
        report |= verdict(report["rows"])
    report["seconds"] = time.monotonic() - start
    write(out / f"{name}.json", report)
    return 0


def verdict(rows: list[Report]) -> Report:
    """ok, or what its rows say: skipped if all were, partial if some failed."""
    failed = [row for row in rows if "failed" in row or row.get("ok") is False]
    skipped = [str(row["skipped"]) for row in rows if "skipped" in row]
    if failed:
        return {"status": "partial", "reason": f"{len(failed)} of {len(rows)} rows failed"}
    if skipped and len(skipped) == len(rows):
        return {"status": "skipped", "reason": skipped[0]}
    return {"status": "ok", **({"skipped": skipped} if skipped else {})}


# ---- the window --------------------------------------------------------------------------------


def watch_stage(name: str, out: Path, limit_s: float, args: argparse.Namespace) -> Report:
    """Start a stage, end it with all it started when its time is up, and complete its report."""
    file = out / f"{name}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, __file__, str(out), "--stage", name, "--limit-s", str(limit_s)]
    command += ["--tests", *args.tests] if args.tests else []
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        ended, code = "killed", 0
        try:
            code, ended = process.wait(limit_s), "ended"
        except subprocess.TimeoutExpired:
            ended = "timeout"
        finally:  # where the window is ended, too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            log.seek(0)
            text = log.read().decode(errors="replace")[-LOG_CHARACTERS:]
            report = read(file)
            report |= {"stage": name, "wall_s": time.monotonic() - start, "log": text}
            report |= ending(ended, code, report.get("status"), limit_s)
            write(file, report)
    return report


def ending(ended: str, code: int, status: str | None, limit_s: float) -> Report:
    """What a report says of its stage's end, if the stage did not say it."""
    if ended == "timeout":
        return {"status": "timeout", "reason": f"not done within {limit_s:.0f} s"}
    if ended == "killed":
        return {"status": "killed", "reason": "the window was ended"}
    if code or status in (None, "running"):
        return {"status": "failed", "reason": f"the process ended with {code}"}
    return {}


def prepare(pack: Path, scratch: Path) -> None:
    """Wheels for what is missing, and the kernels as this window's cache."""
    site = scratch / "site"
    wheels = [
        wheel
        for wheel in sorted((pack / "wheels").glob("*.whl"))
        if not here(MODULES.get(wheel.name.split("-")[0].lower(), ""))
    ]
    if wheels:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        command += ["--no-compile", "--target", str(site), *map(str, wheels)]
        subprocess.run(command, check=False, timeout=120)
        extend_path(site)
    if (pack / "kernels").is_dir():
        shutil.copytree(pack / "kernels", scratch / "kernels", dirs_exist_ok=True)


def here(module: str) -> bool:
    with contextlib.suppress(ImportError, ValueError):
        return bool(module) and importlib.util.find_spec(module) is not None
    return False


def extend_path(folder: Path) -> None:
    parts = [str(folder), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(parts)


def window(args: argparse.Namespace) -> int:
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + args.limit_s
    extend_path(HERE.parent)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "kernels").mkdir(mode=0o700)
        if args.pack:
            prepare(args.pack, scratch)
        os.chmod(scratch / "kernels", 0o700)
        os.environ["GRAPHC_CACHE_DIR"] = str(scratch / "kernels")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(scratch / "inductor")
        names = args.only or [*LIMITS_S]
        if args.resume:
            names = [n for n in names if read(out / f"{n}.json").get("status") not in DONE]
        warming = warm() if {WARMED, "nets"} <= {*names} else []
        try:
            run_all(names, end, args, warming)
        finally:
            end_all(warming)
            write(args.summary or out / "window.json", summed_up(out, args.limit_s))
    return 0


def run_all(
    names: list[str], end: float, args: argparse.Namespace, warming: list[subprocess.Popen[bytes]]
) -> None:
    out: Path = args.out
    for name in names:
        left = end - time.monotonic() - GRACE_S
        limit = min(LIMITS_S[name] * args.scale, left)
        if limit < 2 * GRACE_S:
            if not read(out / f"{name}.json")["rows"]:  # what an earlier run came to stays
                why = {"status": "skipped", "reason": "no time left"}
                write(out / f"{name}.json", {"stage": name, **why, "rows": []})
            continue
        report = watch_stage(name, out, limit, args)
        write(args.summary or out / "window.json", summed_up(out, args.limit_s))
        show(report)
        if name == WARMED:
            end_all(warming)


def summed_up(out: Path, limit_s: float) -> Report:
    """How each stage ended, in this run or an earlier one, then all that it came to."""
    reports = [r for r in (read(out / f"{name}.json") for name in LIMITS_S) if "stage" in r]
    keep = ("stage", "status", "reason", "wall_s")
    brief = [{k: r[k] for k in keep if k in r} for r in reports]
    return {"stages": brief, "limit_s": limit_s, "reports": reports}


def warm() -> list[subprocess.Popen[bytes]]:
    """Have PyTorch compile the nets meanwhile: it would take longer than all that is measured."""
    command = [sys.executable, str(HERE / "gpu_peers.py"), "warm", "torch"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    modes = ("default", "reduce-overhead")  # what the third times kernels for, others would disturb
    return [
        subprocess.Popen([*command, "--modes", mode], start_new_session=True, **quiet)
        for mode in modes
    ]


def end_all(processes: list[subprocess.Popen[bytes]]) -> None:
    """Each with all that it started."""
    while processes:
        process = processes.pop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def show(report: Report) -> None:
    reason = f": {report['reason'].splitlines()[0][:150]}" if report.get("reason") else ""
    rows, seconds = len(report["rows"]), report["wall_s"]
    print(f"{report['stage']:12} {report['status']}, {rows} rows in {seconds:.1f} s{reason}")
    sys.stdout.flush()


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for one JSON file a stage")
    parser.add_argument("--limit-s", type=float, default=420.0, help="for all stages (default 420)")
    parser.add_argument("--only", nargs="+", choices=[*LIMITS_S], help="these stages")
    parser.add_argument("--resume", action="store_true", help="not those that are done in OUT")
    parser.add_argument("--scale", type=float, default=1.0, help="of each stage's own limit")
    parser.add_argument("--pack", type=Path, help="folder that gpu_pack.py made")
    parser.add_argument("--summary", type=Path, help="where window.json goes, instead of out")
    parser.add_argument("--tests", nargs="+", default=[], help="what pytest -m gpu looks through")
    parser.add_argument("--stage", choices=[*LIMITS_S], help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    args = parse(argv)
    if args.stage:
        return run_stage(args.stage, args.out, args.limit_s, args.tests)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return window(args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
