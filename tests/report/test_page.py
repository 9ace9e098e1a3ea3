"""The page in a browser, as a person uses it: each question is answered by two clicks at most."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import graphc
from tests.report.browser import Browser, executable

pytestmark = pytest.mark.skipif(executable() is None, reason="there is no Chromium here")

NET = """\
import graphc
from graphc import nn

NAME = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.norm = nn.BatchNorm1d(16)
        self.last = nn.Linear(16, 3)
        self.scale = 1.0

    def forward(self, x):
        h = self.norm(self.first(x)).relu()
        return self.last(h) * self.scale

net = Net()
optimizer = graphc.optim.SGD(net.parameters(), lr=0.1)

@graphc.compile
def train_step(x, y):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss
"""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("net_of_a_report", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "net.py").write_text(NET)
    net = load(folder / "net.py")
    batch = graphc.ones(4, 8), graphc.arange(4) % 3
    net.train_step(*batch)
    net.net.scale = 2.0
    net.train_step(*batch)
    path: Path = net.train_step.report(folder / "report.html", *batch)
    return path


@pytest.fixture(scope="module")
def opened(page: Path) -> Iterator[Browser]:
    with Browser() as browser:
        browser.open(page)
        yield browser


@pytest.fixture
def browser(opened: Browser) -> Iterator[Browser]:
    opened.value("location.hash = ''")
    opened.settle()
    yield opened
    assert not opened.errors
    assert {url.partition(":")[0] for url in opened.requests} <= {"file", "about"}


def marked(browser: Browser, place: str) -> int:
    return int(browser.value(f"document.querySelectorAll('{place} .m2').length"))


def test_what_became_of_my_line(browser: Browser) -> None:
    """One click: the line, what it costs, its kernels and values; a second one shows its IR."""
    browser.click("#code .row", "h = self.norm(self.first(x)).relu()")
    told = browser.value("document.getElementById('selection').textContent")
    assert "net.py:15" in told and "of the step" in told and "kernels" in told
    browser.click("#tab-stages")
    assert marked(browser, "#pane") > 5
    assert marked(browser, "#code") == 1


def test_why_is_it_not_fused(browser: Browser) -> None:
    browser.click("#tab-kernels")
    browser.click("#pane tbody tr", "__last")
    notes = browser.value("document.querySelector('.notes').textContent")
    assert "ends here because" in notes and "%" in notes
    assert marked(browser, "#code") >= 1, "the kernel's lines are marked"


def test_why_was_it_compiled_again(browser: Browser) -> None:
    browser.click("#tab-guards")
    told = browser.value("document.getElementById('pane').textContent")
    assert "recompiles: 1" in told and "scale" in told and "2.0" in told


def test_where_do_time_and_memory_go(browser: Browser) -> None:
    """No click: lines, kernels and memory, and each line's own in the margin."""
    told = browser.value("document.getElementById('pane').textContent")
    for title in ("slowest lines", "slowest kernels", "memory at its peak"):
        assert title in told
    margin = browser.value(
        "[...document.querySelectorAll('#code .row')]"
        ".filter(r => r.querySelector('.time').textContent)"
        ".map(r => r.querySelector('.text').textContent.trim())"
    )
    assert "h = self.norm(self.first(x)).relu()" in margin


@pytest.mark.parametrize(
    "tab", ["overview", "stages", "kernels", "timeline", "memory", "roofline", "guards"]
)
def test_every_pane_draws_and_marks(browser: Browser, tab: str) -> None:
    browser.value(f"location.hash = '#tab={tab}&sel=line%3Anet.py%3A15'")
    browser.settle()
    browser.wait("document.getElementById('pane').textContent.length > 40")
    if tab != "guards":
        browser.wait("document.querySelectorAll('#pane .m2').length > 0")


def test_a_buffer_leads_to_its_value(browser: Browser) -> None:
    browser.click("#tab-memory")
    browser.value(
        "document.querySelector('#pane svg .block')"
        ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    browser.settle()
    assert "launches" in browser.value("document.getElementById('selection').textContent")
    assert marked(browser, "#code") == 1


def test_code_is_unpacked_when_asked_for(browser: Browser) -> None:
    browser.value("location.hash = '#tab=kernels&level=llvm'")
    browser.wait("document.getElementById('pane').textContent.includes('define void')")
    browser.value("location.hash = '#tab=kernels&level=asm'")
    browser.wait("document.getElementById('pane').textContent.includes('.file')")


def test_differences_name_their_rule(browser: Browser) -> None:
    browser.value("location.hash = '#tab=stages&stage=simplify&how=diff'")
    browser.settle()
    assert browser.value("document.querySelectorAll('#pane .row.del').length") > 0
    assert "by simplify" in browser.value("document.getElementById('pane').textContent")


def test_search_and_keys(browser: Browser) -> None:
    browser.key("/")
    browser.type("norm")
    assert "module" in browser.value("document.getElementById('found').textContent")
    browser.key("Enter")
    assert "sel=" in browser.value("location.hash")
    browser.key("3")
    assert "tab=kernels" in browser.value("location.hash")
    before = browser.value("document.documentElement.dataset.theme")
    browser.key("t")
    assert browser.value("document.documentElement.dataset.theme") != before
    browser.key("t")
    browser.key("Escape")
    assert "sel=" not in browser.value("location.hash")


def test_the_address_is_the_state(browser: Browser, page: Path) -> None:
    browser.click("#code .row", "return self.last(h) * self.scale")
    browser.click("#tab-timeline")
    address = browser.value("location.hash")
    browser.open(page, address)
    assert marked(browser, "#code") == 1 and marked(browser, "#pane") >= 1


def test_text_of_users_stays_text(browser: Browser) -> None:
    assert "taken" not in browser.value("document.title")
    assert browser.value("document.querySelectorAll('img').length") == 0
    assert browser.value("document.querySelector('#code').textContent.includes('onerror=alert(1)')")
