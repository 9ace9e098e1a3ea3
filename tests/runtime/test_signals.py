"""Signals, forks and exits while programs run; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROLOGUE = """
import os, signal, sys, threading, time
import numpy as np
from tests.runtime import native as n
from graphc.runtime.cpu.threads import set_num_threads, get_num_threads
set_num_threads({threads})
# A shell gives its background jobs an ignored SIGINT, and Python keeps to that.
signal.signal(signal.SIGINT, signal.default_int_handler)
def ready(launches=3):
    step, w = n.executable(n.chain(64, launches, steps=1)), np.zeros(64, np.float32)
    step.bind_state([n.address(w)])
    return step, w
x = np.zeros(64, np.float32)
"""


def run(body: str, threads: int = 2, seconds: float = 60) -> str:
    """Output of the script; it must end by itself with status 0."""
    code = PROLOGUE.format(threads=threads) + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        capture_output=True, text=True, timeout=seconds, env={"PYTHONPATH": str(ROOT), "HOME": "/"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


INTERRUPTED = """
slots = [n.slot("w", "f32[64]", "state", 0)]
spins = [n.spin(10_000) for _ in range(40)]
rows = {rows}
step = n.executable(n.program(slots, rows, commit={commit}))
w = np.zeros(64, np.float32)
step.bind_state([n.address(w)])
late = []
for k in range(4):
    sent = []
    def send():
        time.sleep(0.12 + 0.013 * k)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    w[:] = 0
    thread = threading.Thread(target=send)
    thread.start()
    try:
        step.run([])
        print("not interrupted")
    except KeyboardInterrupt:
        late.append(time.perf_counter() - sent[0])
    thread.join()
    assert (w == {expected}).all(), w
print(max(late) * 1e3)
# The next step is as if nothing had been.
w[:] = 0
step.run([])
assert (w == 1).all()
"""


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_sigint_before_the_commit_abandons_the_step(threads: int) -> None:
    body = INTERRUPTED.format(rows='[*spins, n.add("w", "w", 64, 1.0)]', commit=40, expected=0)
    assert float(run(body, threads)) < 200


def test_sigint_after_the_commit_finishes_the_step() -> None:
    rows = '[*spins[:2], n.add("w", "w", 64, 1.0), *spins[:30]]'
    body = INTERRUPTED.format(rows=rows, commit=2, expected=1)
    assert float(run(body)) < 500


def test_other_handlers_run_during_a_step() -> None:
    body = """
    step = n.executable(n.program([], [n.spin(10_000) for _ in range(30)]))
    hits = []
    signal.signal(signal.SIGALRM, lambda *_: hits.append(time.perf_counter()))
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    step.run([])
    assert len(hits) >= 2, hits
    signal.setitimer(signal.ITIMER_REAL, 0)
    def nested(*_):
        step.run([])
    signal.signal(signal.SIGALRM, nested)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        step.run([])
    except RuntimeError as e:
        print(type(e).__name__)
    step.run([])
    """
    assert run(body).strip() == "InvalidState"


def test_fork_after_the_pool_ran() -> None:
    body = """
    step, w = ready()
    for _ in range(30):
        n.run_chain(step, x)
        child = os.fork()
        if child == 0:
            start = time.perf_counter()
            good = (n.run_chain(step, x) == 3).all() and get_num_threads() == 1
            set_num_threads(2)
            good = good and (n.run_chain(step, x) == 3).all()
            os._exit(0 if good and time.perf_counter() - start < 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert (w == 30).all() and (n.run_chain(step, x) == 3).all()
    """
    run(body)


def test_fork_while_another_thread_steps() -> None:
    body = """
    step, w = ready()
    stop = []
    def hammer():
        while not stop:
            n.run_chain(step, x)
    thread = threading.Thread(target=hammer)
    thread.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0 if (n.run_chain(step, x) == 3).all() else 1)
        assert os.waitpid(child, 0)[1] == 0
    stop.append(1)
    thread.join()
    """
    run(body)


EXITS = {
    "idle": "step, w = ready(); n.run_chain(step, x)",
    "asleep": "step, w = ready(); n.run_chain(step, x); time.sleep(0.1)",
    "in a daemon's step": """
step, w = ready()
def hammer():
    while True:
        n.run_chain(step, x)
threading.Thread(target=hammer, daemon=True).start()
time.sleep(0.05)
""",
    "by sys.exit": "step, w = ready(); n.run_chain(step, x); sys.exit(0)",
}


@pytest.mark.parametrize("how", EXITS)
def test_exit(how: str) -> None:
    for _ in range(3):
        run(EXITS[how], seconds=20)
