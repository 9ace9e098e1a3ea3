"""`benchmarks/gpu_window.py`, whole, on FakeDriver: every stage leaves a report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from small_kernels import AXPY
from test_both_drivers import ALL_TYPES

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu_kernels  # noqa: E402
import gpu_pack  # noqa: E402
import gpu_report  # noqa: E402
import gpu_smoke  # noqa: E402
import gpu_stages  # noqa: E402
import gpu_tune  # noqa: E402
import gpu_window  # noqa: E402

from graphc.codegen_gpu.attention_parts import Tile  # noqa: E402
from graphc.codegen_gpu.tuned import FOLDER, tuned  # noqa: E402

STAGES = [*gpu_window.LIMITS_S]
A_TEST = "import pytest\n\n\n@pytest.mark.gpu\ndef test_it():\n    assert {}\n"


def run(out: Path, mode: str, *options: str) -> dict[str, Any]:
    done = subprocess.run(**started(out, mode, *options), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return reports(out)


def started(out: Path, mode: str, *options: str) -> dict[str, Any]:
    """A window's command, for `subprocess`."""
    command = [sys.executable, str(BENCHMARKS / "gpu_window.py"), str(out), *options]
    return {"args": command, "env": {**os.environ, "GRAPHC_CUDA": mode}, "text": True}


def reports(out: Path) -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text()) for file in out.glob("*.json")}


@pytest.mark.timeout(600)
def test_the_whole_window(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(A_TEST.format(True))
    options = "--scale", "4", "--limit-s", "1600", "--tests", str(tmp_path / "test_it.py")
    found = run(tmp_path / "out", "fake", *options)
    assert [*found["window"]["stages"][0]] and set(found) == {*STAGES, "window"}
    assert {name: found[name]["status"] for name in STAGES} == dict.fromkeys(STAGES, "ok"), found
    assert found["window"]["reports"] == [found[name] for name in STAGES]  # one file has all
    assert all(row["ok"] for row in found["abi"]["rows"])
    assert found["tests"]["rows"][0]["counts"] == {"passed": 1}
    assert {row.get("ceiling") for row in found["ceilings"]["rows"]} >= {"launch", "graph", "copy"}
    net, again, _ = found["nets"]["rows"]
    assert net["variant"] == "graphc" and net["losses"][1] < net["losses"][0]
    assert again["variant"] == "graphc, started again" and again["first_s"] > 0
    assert {row.get("warps") for row in found["conv"]["rows"]} == {None, 4, 8}
    assert len(found["conv"]["rows"]) == 8 and len(found["attention"]["rows"]) == 3
    assert {row["key"] for row in found["tune"]["rows"]} == {
        "forward 64", "queries 64", "keys 64",
    }  # fmt: skip
    for name in ("ceilings", "nets", "conv", "attention"):
        assert "torch" in found[name]["skipped"][0]  # not installed, or without a device


def test_a_window_is_read_and_brought_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"net": "mlp", "variant": "graphc", "median_ms": 2.0},
        {"net": "mlp", "variant": "torch eager", "median_ms": 3.0},
        {"net": "mlp", "variant": "torch.compile default", "failed": "it broke"},
        {"conv": "stem", "direction": "forward", "variant": "graphc", "median_ms": 0.5},
    ]
    tests = {"counts": {"failed": 1}, "failures": ["FAILED tests/gpu/test_map.py::test_it"]}
    reports = [
        {"stage": "tests", "status": "failed", "reason": "tests failed", "rows": [tests]},
        {"stage": "nets", "status": "partial", "wall_s": 9.0, "rows": rows, "log": "long"},
        {"stage": "conv", "status": "skipped", "reason": "no time left", "rows": []},
    ]
    (tmp_path / "window.json").write_text(json.dumps({"reports": reports}))
    old = tmp_path / "h200" / "conv.json"
    old.parent.mkdir()
    old.write_text("{}")
    gpu_report.main([str(tmp_path / "window.json"), str(old.parent)])
    said = capsys.readouterr().out
    assert "tests: failed, 1 rows; tests failed\n  {'failed': 1}\n  FAILED tests/gpu/" in said
    assert "'variant': 'torch.compile default', 'failed': 'it broke'" in said
    assert "| mlp | 2 | 3 | 1.50 |" in said and "| stem, forward | 0.5 | - |" in said
    assert json.loads((old.parent / "nets.json").read_text())["rows"] == rows
    assert old.read_text() == "{}"


def test_all_stages_fit_the_window() -> None:
    assert (
        sum(gpu_window.LIMITS_S.values()) <= gpu_window.parse(["out"]).limit_s - gpu_window.GRACE_S
    )


def test_the_fastest_tiles_are_kept_as_the_template_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = [dict(zip(gpu_tune.FIELDS, x)) for x in gpu_tune.TILES["keys"][:3]]
    times = [(1.0, 9.0), (4.0, 4.0), (1.0, None)]  # of two cases; the last fails in one
    rows = [
        {"tune": case, "key": "keys 64", "tile": tile, "arch": "sm_00"}
        | ({} if ms[case] is None else {"median_ms": ms[case]})
        for tile, ms in zip(tiles, times)
        for case in (0, 1)
    ]
    (tmp_path / "tune.json").write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(gpu_tune, "FOLDER", tmp_path)
    gpu_tune.main(tmp_path)
    assert json.loads((tmp_path / "sm_00.json").read_text()) == {"attention": {"keys 64": tiles[1]}}
    for file in FOLDER.glob("*.json"):
        for key, row in tuned(file.stem)["attention"].items():
            part, depth = key.split()
            assert part in gpu_tune.TILES and depth.isdecimal() and Tile(**row).rows >= 16


def test_a_failing_stage_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(A_TEST.format(False))
    (tmp_path / "test_other.py").write_text("import what_is_not_there\n" + A_TEST.format(True))
    options = "--only", "abi", "tests", "--tests", str(tmp_path)
    found = run(tmp_path / "out", "off", *options)
    assert found["abi"]["status"] == "failed" and "GRAPHC_CUDA=off" in found["abi"]["reason"]
    assert (found["tests"]["status"], found["tests"]["rows"][0]["counts"]) == (
        "failed",
        {"failed": 1, "error": 1},
    )


def test_all_tests_of_a_gpu_are_where_a_window_looks() -> None:
    """It looks through no others, whose packages a machine with a GPU may not have."""
    tests = BENCHMARKS.parent / "tests"
    marked = [
        file
        for file in tests.rglob("test_*.py")
        if "pytest.mark.gpu" in file.read_text() or "fake_gpu:" in file.read_text()
    ]
    assert len(marked) > 10
    assert all(BENCHMARKS.parent / gpu_stages.MARKED in file.parents for file in marked)


def test_a_stage_ends_with_its_time(tmp_path: Path) -> None:
    start = time.monotonic()
    report = gpu_window.watch_stage("abi", tmp_path, 0.1, gpu_window.parse([str(tmp_path)]))
    assert report["status"] == "timeout" and time.monotonic() - start < 30
    assert json.loads((tmp_path / "abi.json").read_text()) == report


def test_a_window_that_is_ended_leaves_what_it_had_and_is_resumed(tmp_path: Path) -> None:
    test, out, stages = tmp_path / "test_it.py", tmp_path / "out", ("environment", "tests")
    test.write_text(A_TEST.format("__import__('time').sleep(60) is None"))
    options = "--scale", "10", "--tests", str(test), "--only", *stages
    out.mkdir()
    before = {"stage": "environment", "status": "ok", "rows": [{"python": "3"}]}
    (out / "environment.json").write_text(json.dumps(before))
    options, quiet = ("--resume", *options), subprocess.DEVNULL
    window = subprocess.Popen(**started(out, "fake", *options), stdout=quiet, stderr=quiet)
    until = time.monotonic() + 100
    while "tests" not in reports(out) and time.monotonic() < until:
        time.sleep(0.1)
    window.terminate()
    assert window.wait(30) == 128 + 15
    found = reports(out)
    assert [found[name]["status"] for name in stages] == ["ok", "killed"]
    assert found["window"]["reports"] == [found[name] for name in stages]
    test.write_text(A_TEST.format(True))
    again = run(out, "fake", *options)
    assert again["environment"] == before and again["tests"]["status"] == "ok"
    assert again["window"]["reports"] == [again[name] for name in stages]


def test_a_pack_that_is_made_again_compiles_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by content, so after a run that was ended it goes on; what nobody asks for goes."""
    calls = {x.name: lambda arch, x=x: {x: None} for x in (AXPY, ALL_TYPES)}
    monkeypatch.setattr(gpu_smoke, "all_sources", list)
    monkeypatch.setattr(gpu_kernels, "all_calls", lambda only: calls.items())
    first = gpu_pack.pack_kernels(tmp_path, ())
    again = gpu_pack.pack_kernels(tmp_path, ())
    del calls["all_types"]
    less = gpu_pack.pack_kernels(tmp_path, ())
    found = [(x["compiled"], x["found"], x["removed"]) for x in (first, again, less)]
    assert found == [(2, 0, 0), (0, 2, 0), (0, 1, 1)] and not first["failed"]
    assert len([*tmp_path.iterdir()]) == 1 and less["bytes"] < first["bytes"]


def test_no_time_left_is_said(tmp_path: Path) -> None:
    found = run(tmp_path, "fake", "--limit-s", "1", "--only", "nets")
    assert found["window"]["reports"][0]["reason"] == "no time left"
    assert found["nets"] == {
        "stage": "nets",
        "status": "skipped",
        "reason": "no time left",
        "rows": [],
    }


def test_tests_of_the_repository_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose options make pytest say less."""
    monkeypatch.setenv("GRAPHC_CUDA", "fake")
    monkeypatch.setattr(gpu_stages, "FAKE", True)  # in one process
    test = f"{gpu_stages.MARKED}/test_both_drivers.py::test_an_empty_grid_is_refused"
    rows: list[dict[str, Any]] = []
    gpu_stages.suite(rows.append, time.monotonic() + 100, [test])
    assert rows[0] == {"counts": {"passed": 1}, "failures": []}


def test_a_peer_that_hangs_keeps_its_rows() -> None:
    code = "import time; print('{\"row\": 1}', flush=True); time.sleep(60)"
    lines = gpu_stages.lines([sys.executable, "-c", code], time.monotonic() + 3)
    assert next(lines) == '{"row": 1}\n'
    with pytest.raises(subprocess.TimeoutExpired):
        next(lines)


@pytest.mark.parametrize(
    "rows, status",
    [
        ([{"ok": True}], "ok"),
        ([{"ok": True}, {"ok": False}], "partial"),
        ([{"failed": "x"}, {}], "partial"),
        ([{"skipped": "no torch"}], "skipped"),
        ([{"skipped": "no torch"}, {}], "ok"),
    ],
)
def test_a_report_says_what_its_rows_say(rows: list[dict[str, Any]], status: str) -> None:
    assert gpu_window.verdict(rows)["status"] == status
