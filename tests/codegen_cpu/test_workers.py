"""Modules are compiled by processes of their own, which may die, be missing or be left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from graphc.codegen_cpu import workers
from graphc.codegen_cpu.jit import LLVM_LOCK, load_objects, processor_of
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.llvm import Processor
from graphc.codegen_cpu.server import compiled
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.workers import AHEAD, MOST_AHEAD, Server, Workers
from graphc.errors import BackendError
from graphc.ir.child import OK, arguments, frame

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


def test_a_process_that_ended_while_passes_took_long_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was ready, and nobody asked it for a while."""
    resting = iter([["-c", "import os; os.write(1, bytes(8))"]])
    monkeypatch.setattr(workers, "arguments", lambda *given: next(resting, arguments(*given)))
    workers.close()
    with LLVM_LOCK, Workers(PROCESSOR, 1) as made:
        made.prepare(1)
        (server,) = made._servers
        server._process.wait()
        work = made.add(text(0))
        assert work.code() == compiled(text(0), PROCESSOR) and work.attempts == 1
        assert made._servers and server not in made._servers


def stopped(made: Workers, count: int) -> list[Server]:
    """So many processes that are there and do nothing."""
    made.prepare(count)
    while not all(s.ready for s in made._servers):
        made.move()
    for server in made._servers:
        os.kill(server._process.pid, signal.SIGSTOP)
    return made._servers


def test_the_more_modules_wait_the_more_are_under_way() -> None:
    """A process has work while the caller is away."""
    with LLVM_LOCK, Workers(PROCESSOR, 1) as made:
        (server,), given, work = stopped(made, 1), [], []
        for k in range(1, 60):
            work.append(made.add(text(k)))
            given.append(len(server.under_way))
        assert given[:AHEAD] == [*range(1, AHEAD + 1)] and given == sorted(given)
        assert given[-1] == MOST_AHEAD
        os.kill(server._process.pid, signal.SIGCONT)
        assert all(w.code() for w in work)


def test_the_last_modules_go_to_who_is_free() -> None:
    """Not to who has others to do first, once the caller waits."""
    with LLVM_LOCK, Workers(PROCESSOR, 2) as made:
        idle, busy = stopped(made, 2)
        work = [made.add(text(k)) for k in range(3 * AHEAD)]
        assert len(idle.under_way) == len(busy.under_way) == AHEAD
        os.kill(busy._process.pid, signal.SIGCONT)
        made.move(wait=True)
        assert len(busy.under_way) < AHEAD == len(idle.under_way)
        os.kill(idle._process.pid, signal.SIGCONT)
        assert all(w.code() for w in work)


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
        second.ready = True
        os.kill(second._process.pid, signal.SIGKILL)
        with pytest.raises(BackendError, match="twice"):
            work.code()


ABORTS = """
declare <8 x float> @llvm.x86.avx.rcp.ps.256(<8 x float>)
define void @f(ptr %p) nounwind {
  %x = load <8 x float>, ptr %p
  %y = call <8 x float> @llvm.x86.avx.rcp.ps.256(<8 x float> %x)
  store <8 x float> %y, ptr %p
  ret void
}
"""


def test_a_first_module_that_ends_llvm_does_not_end_this_process() -> None:
    workers.close()
    plain = Processor("x86_64-unknown-linux-gnu", "x86-64", "-avx")
    with LLVM_LOCK:
        with pytest.raises(BackendError, match="twice"), Workers(plain, 1) as made:
            made.add(ABORTS).code()
        with Workers(PROCESSOR, 1) as made:
            assert made.add(text(5)).code() == compiled(text(5), PROCESSOR)
            assert made._servers  # others can still be started


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


def test_processes_that_never_get_ready_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    workers.close()
    monkeypatch.setattr(workers, "SITE", "/nowhere")
    monkeypatch.setattr(workers._idle, "possible", True)
    with LLVM_LOCK, Workers(PROCESSOR, 2) as made:
        assert made.add(text(3)).code() == compiled(text(3), PROCESSOR)
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)  # nobody tries once more
    with LLVM_LOCK, Workers(PROCESSOR, 2) as made:
        assert made.add(text(4)).code() == compiled(text(4), PROCESSOR)


def test_an_interrupted_program_leaves_no_answers_to_the_next() -> None:
    with LLVM_LOCK:
        with pytest.raises(KeyboardInterrupt), Workers(PROCESSOR, 1) as made:
            for k in range(5):
                made.add(text(k))
            raise KeyboardInterrupt
        with Workers(PROCESSOR, 1) as made:
            assert made.add(text(7)).code() == compiled(text(7), PROCESSOR)


def test_an_interrupt_while_an_answer_is_taken_leaves_it_to_nobody() -> None:
    with LLVM_LOCK:
        with pytest.raises(KeyboardInterrupt), Workers(PROCESSOR, 1) as made:
            made.add(text(1)).code()
            (server,) = made._servers
            server._in += frame(OK + b"of another program")  # as far as it came
            raise KeyboardInterrupt
        with Workers(PROCESSOR, 1) as made:
            assert made.add(text(2)).code() == compiled(text(2), PROCESSOR)


def test_a_batch_that_is_interrupted_while_processes_start_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(self: Workers, modules: int) -> None:
        raise KeyboardInterrupt

    library = KernelLibrary(HOST)
    monkeypatch.setattr(Workers, "prepare", interrupt)
    with pytest.raises(KeyboardInterrupt), library.ahead(False, 3):
        pytest.fail("not reached")
    assert library.native(text(6), ["f6"])[0]


DAEMON = """
import os
for end in range(3):
    os.close(end)
from graphc.codegen_cpu import workers
from graphc.codegen_cpu.jit import LLVM_LOCK, processor_of
from graphc.codegen_cpu.target import Target
text = "define i64 @f() nounwind { ret i64 3 }"
processor = processor_of(Target.host())
with LLVM_LOCK, workers.Workers(processor, 2) as made:
    code = [made.add(text) for _ in range(4)]
    assert all(c.code() == workers.compiled(text, processor) for c in code)
    assert all(end > 2 for s in made._servers for end in s.ends) and made._servers
    streams = [os.readlink(f"/proc/{s._process.pid}/fd/2") for s in made._servers]
    assert streams == [os.devnull] * len(streams), streams
before = len(os.listdir("/proc/self/fd"))
for _ in range(20):
    workers.close()
    with LLVM_LOCK, workers.Workers(processor, 1) as made:
        made.add(text).code()
assert len(os.listdir("/proc/self/fd")) <= before
os._exit(7)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_a_daemon_without_standard_streams_compiles_and_keeps_no_pipe_open() -> None:
    assert subprocess.run([sys.executable, "-c", DAEMON], timeout=60).returncode == 7


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_a_process_that_may_start_none_compiles() -> None:
    limited = """
import resource
from graphc.codegen_cpu import workers
from graphc.codegen_cpu.jit import LLVM_LOCK, processor_of
from graphc.codegen_cpu.target import Target
import os
limit = len(os.listdir("/proc/self/fd")) + 1
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
text, processor = "define i64 @f() nounwind { ret i64 3 }", processor_of(Target.host())
with LLVM_LOCK, workers.Workers(processor, 2) as made:
    assert made.add(text).code() == workers.compiled(text, processor)
    assert not made._servers
"""
    subprocess.run([sys.executable, "-c", limited], timeout=60, check=True)


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
