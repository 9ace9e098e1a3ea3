"""The disk cache never fails and never returns wrong bytes, whatever the disk holds."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import warnings
from pathlib import Path

import pytest

from graphc.runtime import disk_cache
from graphc.runtime.disk_cache import DiskCache

DATA = bytes(range(256)) * 8


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "kernels")


def entry(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "kernels").iterdir()
    return file


def test_round_trip_and_info(cache: DiskCache, tmp_path: Path) -> None:
    assert cache.get("a") is None
    cache.put("a", DATA)
    cache.put("a", DATA)
    assert cache.get("a") == DATA and cache.get("b") is None
    assert DiskCache(tmp_path / "kernels").get("a") == DATA
    info = cache.info()
    assert info.entries == 1 and info.size_bytes > len(DATA)
    assert (tmp_path / "kernels").stat().st_mode & 0o777 == 0o700
    assert entry(tmp_path).stat().st_mode & 0o777 == 0o600
    assert cache.clear() == 1 and cache.get("a") is None


def damages() -> list[tuple[str, object]]:
    """Every sixteenth cut, bit flips all over, zeroes, nothing, and an entry under another key."""
    entry = disk_cache.encode(disk_cache.hashed("a"), DATA)
    rng = random.Random(0)
    rows: list[tuple[str, object]] = [
        (f"cut {k}/16", entry[: len(entry) * k // 16]) for k in range(16)
    ]
    for _ in range(60):
        at, bit = rng.randrange(len(entry)), 1 << rng.randrange(8)
        rows.append((f"flip {at}", entry[:at] + bytes([entry[at] ^ bit]) + entry[at + 1 :]))
    rows.append(("zero page", entry[:512] + bytes(512) + entry[1024:]))
    rows.append(("longer", entry + b"x"))
    rows.append(("other key", disk_cache.encode(disk_cache.hashed("b"), DATA)))
    return rows


def test_damaged_entries_are_dropped_and_rewritten(cache: DiskCache, tmp_path: Path) -> None:
    cache.put("a", DATA)
    file = entry(tmp_path)
    for name, content in damages():
        file.write_bytes(content)  # type: ignore[arg-type]
        assert cache.get("a") is None, name
        assert not file.exists(), name
        cache.put("a", DATA)
        assert cache.get("a") == DATA, name


@pytest.mark.parametrize("kind", ["folder", "symlink", "unreadable"])
def test_entries_that_are_no_files(cache: DiskCache, tmp_path: Path, kind: str) -> None:
    cache.put("a", DATA)
    file = entry(tmp_path)
    if kind == "folder":
        file.unlink()
        (file / "inner").mkdir(parents=True)
    elif kind == "symlink":
        target = tmp_path / "elsewhere"
        file.rename(target)
        file.symlink_to(target)
    else:
        file.write_bytes(b"")
        file.chmod(0)
    assert cache.get("a") is None
    cache.put("a", DATA)
    assert cache.get("a") == DATA and not file.is_symlink()


def refused(tmp_path: Path, kind: str) -> Path:
    """A place where no cache may be."""
    path = tmp_path / "kernels"
    if kind == "symlink":
        (tmp_path / "real").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "real")
    elif kind == "writable by others":
        path.mkdir()
        path.chmod(0o777)
    elif kind == "a file":
        path.write_text("")
    elif kind == "below a file":
        path.write_text("")
        path = path / "kernels"
    else:
        path = Path("/proc/kernels")
    return path


PLACES = ["symlink", "writable by others", "a file", "below a file", "unwritable"]


@pytest.mark.parametrize("kind", PLACES)
def test_refused_places_warn_once_and_hold_nothing(tmp_path: Path, kind: str) -> None:
    cache = DiskCache(refused(tmp_path, kind))
    with pytest.warns(RuntimeWarning, match="in memory only") as seen:
        for _ in range(3):
            assert cache.get("a") is None
            cache.put("a", DATA)
    assert len(seen) == 1
    assert cache.info().entries == 0 and cache.clear() == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kernels"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)
    with pytest.warns(RuntimeWarning, match="another user"):
        DiskCache(path).put("a", DATA)


def test_disk_full(cache: DiskCache, tmp_path: Path) -> None:
    assert cache.get("a") is None
    child = os.fork()
    if child == 0:  # the limit cannot be raised again
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            cache.put("a", DATA)
            cache.put("b", DATA)
        left = list((tmp_path / "kernels").iterdir())
        os._exit(0 if len(seen) == 1 and not left else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_environment_chooses_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "deep" / "here"))
    cache = DiskCache()
    cache.put("a", DATA)
    assert cache.info().path == str(tmp_path / "deep" / "here") and cache.info().entries == 1
    monkeypatch.delenv("GRAPHC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert disk_cache.default_dir() == tmp_path / "graphc" / "kernels"


def _writer(path: Path, seed: int) -> None:
    cache, rng = DiskCache(path), random.Random(seed)
    for _ in range(150):
        k = rng.randrange(20)
        assert cache.get(str(k)) in (None, DATA * k)
        cache.put(str(k), DATA * k)


def test_concurrent_writers_some_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    rng = random.Random(1)
    for _ in range(3):
        writers = [context.Process(target=_writer, args=(tmp_path / "k", s)) for s in range(4)]
        for w in writers:
            w.start()
        for w in writers[:2]:
            w.join(rng.uniform(0.0, 0.03))
            w.kill()
        for w in writers:
            w.join()
        assert [w.exitcode for w in writers[2:]] == [0, 0]
    cache = DiskCache(tmp_path / "k")
    assert all(cache.get(str(k)) in (None, DATA * k) for k in range(20))
