"""The process's compiled GPU kernels: looked up in memory, then on disk, then compiled by workers.

An entry is found by what its code depends on: the kernel's text and compile-time constants, the
types and alignment of its parameters, its options, the architecture, Triton's version and how
`abi.py` asks for code. Sources that differ in names of what is bound, or in their grid, share it.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from graphc.codegen_gpu import abi, image
from graphc.codegen_gpu.pool import Pool
from graphc.errors import BackendError
from graphc.ir.cuda_abi import Image, Source

PATIENCE_SECONDS = 2.0  # of compiling, before a progress line says how far it is
MOST_NOTE = 4000  # characters of a compiler's complaint, attached to the error
ASKING = (
    "abi.py",
    "compile.py",
    "facts.py",
    "hazards.py",
    "image.py",
)  # files that decide how a source is compiled


class Architecture(Protocol):
    """What compiled code depends on; a Target is one."""

    @property
    def arch(self) -> str: ...


class Cache(Protocol):
    """Where images outlive the process; `runtime.disk_cache.DiskCache` is one."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, data: bytes) -> None: ...


@lru_cache(maxsize=1)
def code_hash() -> str:
    state = hashlib.blake2b(digest_size=16)
    for name in ASKING:
        state.update((Path(__file__).parent / name).read_bytes() + b"\0")
    return state.hexdigest()


def key(source: Source, arch: str) -> str:
    """Text that is equal where the code is."""
    asked = {
        "arch": arch,
        "triton": abi.installed_version(),
        "asked_by": code_hash(),
        "name": source.name,
        "signature": abi.signature(source),
        "aligned": [i for (i,) in abi.attributes(source)],
        "constants": source.constants,
        "options": abi.options(source),
    }
    return json.dumps(asked) + "\n" + source.text


class GpuLibrary:
    """Finds the images of sources, or has them made."""

    def __init__(
        self, target: Architecture, cache: Cache | None = None, pool: Pool | None = None
    ) -> None:
        self.target = target
        self.compiled = 0  # kernels that Triton compiled
        self.hits = 0  # kernels found on disk
        self.seconds = 0.0  # spent in looking up and compiling
        self._cache = cache
        self._pool = pool or shared_pool()
        self._images: dict[str, Image] = {}
        self._lock = threading.Lock()

    def images(self, sources: Sequence[Source]) -> list[Image]:
        """Each source's image, in order. Raises BackendError with the kernel's name."""
        keys = [key(source, self.target.arch) for source in sources]
        wanted = dict(zip(keys, sources, strict=True))
        with self._lock:
            start = time.perf_counter()
            missing = {k: source for k, source in wanted.items() if k not in self._images}
            missing = {k: source for k, source in missing.items() if not self._load(k, source)}
            self._compile(missing)
            self.seconds += time.perf_counter() - start
            found = [self._images[k] for k in keys]
        return [image.of_source(known, source) for known, source in zip(found, sources)]

    def _load(self, key: str, source: Source) -> bool:
        """Take an image from the disk; a damaged one, or another's, is as good as none."""
        data = self._cache.get(key) if self._cache else None
        if data is None:
            return False
        try:
            found = image.decode(data)
        except ValueError:
            return False
        if found.source.text != source.text or found.arch != self.target.arch or not found.cubin:
            return False
        self._images[key] = found
        self.hits += 1
        return True

    def _compile(self, missing: Mapping[str, Source]) -> None:
        """Have all made and kept, then raise what is wrong with the first that failed."""
        if not missing:
            return
        abi.toolchain()
        abi.capability(self.target.arch)
        from tqdm import tqdm

        keys, sources = list(missing), list(missing.values())
        failed: list[BackendError] = []
        line = tqdm(
            total=len(keys),
            desc="graphc: compiling GPU kernels",
            leave=False,
            delay=PATIENCE_SECONDS,
            disable=None,  # where nobody looks
        )
        with line:
            for i, made in self._pool.compile(sources, self.target.arch, line.update):
                if isinstance(made, str):
                    failed.append(refusal(sources[i], self.target.arch, made))
                    continue
                self._images[keys[i]] = made
                self.compiled += 1
                if self._cache:
                    self._cache.put(keys[i], image.encode(made))
        if failed:
            raise min(failed, key=str)


def refusal(source: Source, arch: str, complaint: str) -> BackendError:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()] or ["no reason given"]
    error = BackendError(
        f"kernel {source.name} does not compile for {arch}: {lines[-1][:200]}",
        why=f"Triton {abi.installed_version()} or ptxas refuses generated code",
    )
    error.add_note(complaint[:MOST_NOTE])
    return error


@lru_cache(maxsize=1)
def shared_pool() -> Pool:
    """The process's workers."""
    pool = Pool()
    atexit.register(pool.close)
    return pool
