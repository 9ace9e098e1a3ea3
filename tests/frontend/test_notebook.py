"""What a notebook shows is escaped HTML; a terminal shows how far a long compile is."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from typing import Any

import pytest

import graphc
from graphc import nn
from graphc.__main__ import main
from graphc.frontend import notebook
from graphc.frontend.step.inspect import progress
from graphc.frontend.step.inspect.progress import Progress

HOSTILE = "<script>alert('x')</script>\"&"


class Tags(HTMLParser):
    """Collects the tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_everything_that_can_be_looked_at_has_html() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    step = graphc.compile(lambda x: net(x).sum())
    assert "not compiled yet" in Tags(step._repr_html_()).text
    step(graphc.ones(2, 4))
    shown = {
        "step": (step, "programs1"), "explanation": (step.explain(), "kernels"),
        "memory": (step.memory(), "arena"), "kernel": (step.kernels[0], "for"),
        "tensor": (graphc.ones(2), "tensor([1., 1.])"), "module": (net, "15 parameters"),
    }  # fmt: skip
    for name, (thing, says) in shown.items():
        page = Tags(thing._repr_html_())
        assert page.tags <= {"b", "pre", "table", "tr", "th", "td"}, name
        assert says in page.text or name == "kernel", name
    assert "f32[2]" in Tags(graphc.ones(2)._repr_html_()).text


def test_no_text_of_the_users_becomes_a_tag() -> None:
    pages = [notebook.text(HOSTILE, HOSTILE), notebook.table(HOSTILE, [HOSTILE], [[HOSTILE]])]

    class Net(nn.Module):
        def extra_repr(self) -> str:
            return HOSTILE

    for page in [*pages, Net()._repr_html_()]:
        found = Tags(page)
        assert "script" not in found.tags and HOSTILE in found.text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_compile_shows_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    out = Terminal()
    line = Progress(out)
    with line.of("step"):
        line.tell(1, 9)
        assert out.getvalue() == ""
        now[0] = 2.0
        line.tell(3, 9)
        assert out.getvalue().endswith("compiling step: 3/9 kernels, 2 s")
    assert out.getvalue().endswith(progress.CLEAR)
    quiet = io.StringIO()
    line = Progress(quiet)
    with line.of("step"):
        now[0] = 5.0
        line.tell(1, 2)
    assert quiet.getvalue() == ""


def test_a_compile_tells_of_each_kernel(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc.codegen_cpu.library import KernelLibrary
    from graphc.codegen_cpu.target import Target

    told: list[tuple[int, int]] = []
    step = graphc.compile(lambda x: (x.exp().sum(), x.cumsum(0)))
    step(graphc.ones(5))
    library = KernelLibrary(Target.host())
    library.told = lambda done, count: told.append((done, count))
    launched = [k for u in step._units() for k in u.kernels() if k.kind != "routine"]
    library.functions(launched)
    assert told == [(k + 1, len(launched)) for k in range(len(launched))] and told


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        main(["--version"])
    assert e.value.code == 0 and capsys.readouterr().out == f"graphc {graphc.__version__}\n"
