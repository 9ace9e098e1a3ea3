"""Modules are compiled by processes of their own, which may die, be missing or be left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from graphc.codegen_cpu import workers
from graphc.codegen_cpu.jit import LLVM_LOCK, load_objects, processor_of
from graphc.codegen_cpu.server import compiled
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.workers import Server, Workers
from graphc.errors import BackendError

HOST = Target.host()
PROCESSOR = processor_of(HOST)


def text(k: int) -> str:
    return f"define i64 @f{k}(i64 %x) nounwind {{\n  %y = add i64 %x, {k}\n  ret i64 %y\n}}\n"


def test_processes_make_what_this_one_makes() -> None:
    with LLVM_LOCK, Workers(PROCESSOR, 2) as made:
        work = [made.add(text(k)) for k in range(9)]
        codes = [w.code() for w in work]
    assert codes == [compiled(text(k), PROCESSOR) for k in range(9)]
    loaded = load_objects(codes, HOST)
    assert len({loaded.address(f"f{k}") for k in range(9)}) == 9


def test_what_llvm_refuses_is_this_processs_error() -> None:
    with LLVM_LOCK, Workers(PROCESSOR, 1) as made:
        good, bad = made.add(text(1)), made.add("define nothing")
        assert good.code()
        with pytest.raises(BackendError, match="refuses"):
            bad.code()


def test_a_process_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "AHEAD", 8)
    workers.close()
    with LLVM_LOCK, Workers(PROCESSOR, 1) as made:
        made.add(text(0)).code()
        (server,) = made._servers
        os.kill(server._process.pid, signal.SIGSTOP)
        work = [made.add(text(k)) for k in range(1, 4)]
        os.kill(server._process.pid, signal.SIGKILL)
        assert [w.code() for w in work] == [compiled(text(k), PROCESSOR) for k in range(1, 4)]
        assert server not in made._servers


def test_a_module_that_ends_processes_is_an_error() -> None:
    workers.close()
    with LLVM_LOCK, Workers(PROCESSOR, 1) as made:
        made.add(text(0)).code()
        (first,) = made._servers
        os.kill(first._process.pid, signal.SIGSTOP)
        work = made.add(text(1))
        os.kill(first._process.pid, signal.SIGKILL)
        first._process.wait()
        made.move()  # finds it gone, and asks another
        (second,) = made._servers
        second.answers = 1  # it has worked before
        os.kill(second._process.pid, signal.SIGKILL)
        with pytest.raises(BackendError, match="twice"):
            work.code()


def test_without_processes_the_caller_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    workers.close()

    def none(self: Server) -> None:
        raise OSError

    monkeypatch.setattr(Server, "__init__", none)
    with LLVM_LOCK, Workers(PROCESSOR) as made:
        made.prepare(2)
        assert made.add(text(2)).code() == compiled(text(2), PROCESSOR)


@pytest.mark.parametrize("executable", ["", "/usr/bin/blender"])
def test_no_other_program_is_started(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.close()
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    with LLVM_LOCK, Workers(PROCESSOR) as made:
        assert made.add(text(4)).code() == compiled(text(4), PROCESSOR)


def test_processes_that_never_answer_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    workers.close()
    monkeypatch.setattr(workers, "SITE", "/nowhere")
    with LLVM_LOCK, Workers(PROCESSOR, 2) as made:
        assert made.add(text(3)).code() == compiled(text(3), PROCESSOR)


def test_an_interrupted_program_leaves_no_answers_to_the_next() -> None:
    with LLVM_LOCK:
        with pytest.raises(KeyboardInterrupt), Workers(PROCESSOR, 1) as made:
            for k in range(5):
                made.add(text(k))
            raise KeyboardInterrupt
        with Workers(PROCESSOR, 1) as made:
            assert made.add(text(7)).code() == compiled(text(7), PROCESSOR)


SCRIPT = """
import graphc, os, sys
import platform
from graphc.codegen_cpu import llvm, workers
step = graphc.compile(lambda x: (x * 3).exp())
x = graphc.ones(8)
step(x)
assert workers._idle, "no process"
if (sys.platform, platform.machine()) == ("linux", "x86_64"):  # images need no LLVM
    assert not llvm._initialize.cache_info().currsize
child = os.fork()
if child == 0:
    assert graphc.compile(lambda x: (x * 5).sin() + 2)(x).shape == (8,)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert graphc.compile(lambda x: (x * 7).cos())(x).shape == (8,)
print(*(s._process.pid for s in workers._idle))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_processes_of_its_own_and_all_end_with_their_owner(
    tmp_path: object,
) -> None:
    environment = os.environ | {"GRAPHC_CACHE_DIR": f"{tmp_path}/k"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert not done.stderr
    pids = [int(p) for p in done.stdout.split()]
    assert pids and not any(os.path.exists(f"/proc/{pid}/task") for pid in pids)
