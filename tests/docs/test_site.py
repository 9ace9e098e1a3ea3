"""The site builds without a warning, needs no other host, and its reference leaves nothing out."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.report.browser import Browser, executable

ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r'<(?:script|img|link rel="(?:stylesheet|preconnect)")[^>]*(?:src|href)="([^"]+)"'
)
IN_STYLES = re.compile(r"@import|url\(\s*[\"']?https?:")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=110,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").exists(), page
    assert (site / "reference" / "graphc.nn.html").exists()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = LOADED.findall(page.read_text())
        assert loaded and not [x for x in loaded if "//" in x], page
    for sheet in site.rglob("*.css"):
        assert not IN_STYLES.search(sheet.read_text()), sheet


@pytest.mark.skipif(executable() is None, reason="there is no Chromium here")
def test_search_works_from_a_folder(site: Path) -> None:
    with Browser() as browser:
        browser.open(site / "index.html")
        browser.wait("!document.querySelector('.md-search').hidden")
        browser.value("document.querySelector('input.md-search__input').focus()")
        browser.settle()
        browser.type("recompiles")
        browser.wait("document.querySelectorAll('.md-search-result__item').length > 0")
        told = browser.value("document.querySelector('.md-search-result__list').textContent")
        assert "Understand recompiles" in told
        assert not browser.errors
        assert {url.partition(":")[0] for url in browser.requests} <= {
            "file",
            "about",
            "data",
            "blob",
        }


def test_the_reference_has_every_public_name(reference: ModuleType) -> None:
    pages = reference.pages()
    for name in reference.NAMESPACES:
        headings = re.findall(r"^## (.+)$", pages[f"reference/{name}.md"][1], re.MULTILINE)
        shown = {h.replace("\\", "") for h in headings}
        public = {x for x, _ in reference.public(importlib.import_module(name))}
        assert shown == public and public, name
    assert "### Tensor.permute" in pages["reference/Tensor.md"][1]
    assert "### CompiledFunction.report" in pages["reference/step.md"][1]


def test_prose_keeps_shapes_and_code(reference: ModuleType) -> None:
    assert reference.prose("x [B] -> [B,C], `a_b` * n") == r"x \[B\] -> \[B,C\], `a_b` \* n"
    indented = "Like\n\n    a[0] * b\n\nthis"
    assert reference.prose(indented) == indented
