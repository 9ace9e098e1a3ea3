"""Every block of code of the documentation runs as its reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [p for p in PAGES if any(blocks(p.read_text()))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def ran(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.docs.blocks", str(page)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_runs(page: Path, tmp_path: Path) -> None:
    done = ran(page, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def test_most_pages_have_code() -> None:
    assert len(WITH_CODE) >= 12


def test_no_block_is_missed() -> None:
    """A fence that is written otherwise, indented or with options, would not be run."""
    for page in PAGES:
        text = page.read_text()
        fences = len(re.findall(r"^[ \t]*(?:```|~~~)+[ \t]*\{?\.?py", text, re.MULTILINE))
        assert fences == len(re.findall(r"^```python$", text, re.MULTILINE)), page


def test_a_mistake_in_a_page_is_found(tmp_path: Path) -> None:
    text = "# a\n\n```python\nx = 1\n```\n\n```python\ny = z\n```\n"
    (page := tmp_path / "page.md").write_text(text)
    done = ran(page, tmp_path)
    assert done.returncode == 1 and 'page.md", line 8' in done.stderr
    page.write_text("<!-- raises: IndexError -->\n```python\nx = 1\n```\n")
    assert "no IndexError" in ran(page, tmp_path).stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    made = {ROOT / "docs" / "architecture.md"}  # of ARCHITECTURE.md, when the site is built
    for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        path = link.partition("#")[0]
        if path and "://" not in path:
            target = (page.parent / path).resolve()
            assert target.exists() or target in made, f"{page.name}: {link}"
