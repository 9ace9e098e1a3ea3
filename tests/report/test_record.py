"""What a report holds, as data: every row, place, launch and buffer once, and found again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.frontend.report.files import shortest
from graphc.frontend.report.merged import merged
from graphc.frontend.report.page import SCRIPTS, STATIC, as_json, code_in, page, record_of
from graphc.frontend.step.compiled import CompiledFunction
from graphc.ir.shares import shares_of

HOSTILE = "</script><script>document.title = 'taken'</script>"
Record = Mapping[str, Any]


def make_step() -> CompiledFunction:
    graphc.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @graphc.compile
    def train_step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


BATCH = graphc.ones(4, 6), graphc.arange(4) % 3


@pytest.fixture(scope="module")
def step() -> CompiledFunction:
    step = make_step()
    step(*BATCH)
    return step


@pytest.fixture(scope="module")
def path(step: CompiledFunction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return step.report(tmp_path_factory.mktemp("report") / "report.html", *BATCH)


@pytest.fixture(scope="module")
def found(path: Path) -> Record:
    return record_of(path.read_text())


def text_of(record: Record, rows: list[int]) -> list[str]:
    """Rows as they stood in a stage, their provenance behind them."""
    lines = []
    for k in rows:
        where = record["row_where"][k]
        lines.append((record["rows"][k], where))
    return [text if w < 0 else f"{text} #{w}" for text, w in lines]


def test_every_stage_can_be_read_back(step: CompiledFunction, found: Record) -> None:
    (unit,) = found["units"]
    assert [s["name"] for s in unit["stages"]] == list(step.stages[:-2])
    for stage in unit["stages"]:
        rows = [found["rows"][k] for k in stage["rows"]]
        told = step.ir(stage["name"]).rstrip("\n").split("\n")
        assert len(rows) == len(told)
        assert all(there.startswith(row.rstrip()) for row, there in zip(rows, told))


def test_no_row_is_kept_twice(found: Record) -> None:
    pairs = list(zip(found["rows"], found["row_where"], strict=True))
    assert len(pairs) == len(set(pairs))


def test_places_lead_to_the_source(found: Record) -> None:
    names = [f["path"] for f in found["files"]]
    assert "test_record.py" in names
    for phase, file, line, _, stack in found["wheres"]:
        assert phase in ("", "bw", "opt")
        if file:
            inner = found["stacks"][stack][0]
            assert inner[1] == line and names[inner[0]].endswith(file)
            assert found["files"][inner[0]]["lines"][line - 1].strip()


def test_shares_of_each_launch_add_up(step: CompiledFunction, found: Record) -> None:
    (unit,) = found["units"]
    for launch in unit["launches"]:
        assert sum(part for _, part in launch["shares"]) == pytest.approx(1, abs=1e-3)
        assert launch["s"] >= 0 and launch["read"] + launch["written"] > 0
    for launch in step._units()[0].program.launches:
        assert sum(shares_of(launch).values()) == pytest.approx(1)


def test_launches_slots_and_kernels_name_each_other(found: Record) -> None:
    (unit,) = found["units"]
    slots, values = {s[0] for s in unit["slots"]}, {v[0] for v in unit["values"]}
    for launch in unit["launches"]:
        assert {*launch["reads"], *launch["writes"]} <= slots
        assert set(launch["values"]) <= values
        assert launch["kernel"] < len(unit["kernels"])
    assert all(set(v[3]) <= values for v in unit["values"])
    assert all(k["note"] for k in unit["kernels"])


def test_values_keep_their_names_through_the_stages(found: Record) -> None:
    """What takes the place of %7 is %7.1: most values of the last graph were traced."""
    (unit,) = found["units"]
    graphs = [s for s in unit["stages"] if s["level"] == "graph"]
    first, last = (
        {r.split(":")[0].strip() for k in g["rows"] if " = " in (r := found["rows"][k])}
        for g in (graphs[1], graphs[-1])
    )
    kept = [name for name in last if name.split(".")[0] in first]
    assert len(kept) > 0.8 * len(last)


def test_code_is_packed_beside_it(step: CompiledFunction, path: Path) -> None:
    (code,) = code_in(path.read_text())
    assert code["llvm"] == [k.llvm for k in step.kernels]
    assert all(code["asm"])


def test_a_report_without_a_batch_tells_no_times(tmp_path: Path) -> None:
    step = make_step()
    step(*BATCH)
    record = record_of(step.report(tmp_path / "r.html").read_text())
    assert {x["s"] for x in record["units"][0]["launches"]} == {None}


def test_recompiles_and_guards(tmp_path: Path) -> None:
    step = make_step()
    step(*BATCH)
    step(BATCH[0].clone().requires_grad_(), BATCH[1])
    record = record_of(step.report(tmp_path / "r.html").read_text())
    assert [r["what"] for r in record["recompiles"]] == ["argument `x`"]
    assert any("train mode" in what for what, *_ in record["guards"])
    assert record["sizes"] == list(step._sizes())


def test_the_page_needs_nothing_and_runs_one_script(path: Path) -> None:
    text = path.read_text()
    assert "default-src 'none'; script-src 'sha256-" in text
    markup = page({"name": "empty"}, []).replace("http://www.w3.org/2000/svg", "")
    for word in ("http://", "https://", "src=", "@import", "eval(", "innerHTML", "Function("):
        assert word not in markup, word
    assert markup.count("<script>") == 1


def test_what_the_page_is_made_of_is_installed() -> None:
    root = Path(graphc.__file__).parent
    project = tomllib.loads((root.parent / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["graphc"]
    installed = {path.name for pattern in patterns for path in root.glob(pattern)}
    assert {"page.html", "page.css", *(f"{name}.js" for name in SCRIPTS)} <= installed


def test_text_of_users_is_data() -> None:
    assert "<" not in as_json([HOSTILE]) and json.loads(as_json([HOSTILE])) == [HOSTILE]
    for name in SCRIPTS:
        script = (STATIC / f"{name}.js").read_text()
        assert "innerHTML" not in script and "insertAdjacentHTML" not in script
        assert "eval(" not in script and "document.write" not in script


def test_pages_can_be_put_together(path: Path, tmp_path: Path) -> None:
    model = graphc.compile(nn.Linear(4, 2))
    model(graphc.ones(3, 4))
    other = model.report(tmp_path / "other.html", graphc.ones(3, 4)).read_text()
    both = record_of(merged([path.read_text(), other]))
    one, two = record_of(path.read_text()), record_of(other)
    assert [u["name"] for u in both["units"]] == [u["name"] for u in one["units"] + two["units"]]
    stage, was = both["units"][-1]["stages"][0], two["units"][-1]["stages"][0]
    again = [both["rows"][k] for k in stage["rows"]]
    assert again == [two["rows"][k] for k in was["rows"]]
    for launch, before in zip(both["units"][-1]["launches"], two["units"][-1]["launches"]):
        for (k, part), (b, same) in zip(launch["shares"], before["shares"], strict=True):
            assert part == same and both["wheres"][k][:4] == two["wheres"][b][:4]


def test_no_home_folder_stands_in_a_report() -> None:
    names = shortest(["/home/me/a/net.py", "/home/me/b/net.py", "/home/me/train.py"])
    assert list(names.values()) == ["a/net.py", "b/net.py", "train.py"]
