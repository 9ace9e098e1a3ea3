"""`.item()`, `float()` and texts inside a compiled step: true values at each call, or an error."""

# ruff: noqa: UP031, UP032  # the forms are what is tested

from __future__ import annotations

import collections
import csv
import heapq
import io
import json
import logging
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import DataDependentBranch, GraphcError, ShapeMismatch, TracerLeak, Untraceable

LOG = logging.getLogger("graphc.test")
SIZES = (1, 2, 3, 3)
total = 0.0


class Meter:
    """As training scripts have it."""

    def __init__(self) -> None:
        self.val, self.sum, self.count, self.avg = 0.0, 0.0, 0, 0.0

    def update(self, val: Any, n: int = 1) -> None:
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count


class Trainer:
    """A step that does with its loss what scripts do."""

    def __init__(self) -> None:
        self.net = nn.Linear(2, 1)
        with graphc.no_grad():
            self.net.weight.fill_(0.5)
            self.net.bias.zero_()
        self.opt = optim.SGD(self.net.parameters(), lr=0.1)
        self.total, self.losses, self.sums, self.meter = 0.0, [], {"loss": 0.0}, Meter()
        self.last: Any = None

    def step(self, x: Any) -> Any:
        global total
        self.opt.zero_grad()
        loss = self.net(x).square().mean()
        loss.backward()
        self.opt.step()
        value = loss.item()
        total += value
        self.total += float(loss)
        self.sums["loss"] += value
        self.losses.append(value)
        self.last = (value, f"{value:.2f}")
        self.meter.update(value, x.size(0))
        return loss, value, {"text": f"loss {loss:.3f} {value!r}", "list": x.tolist()}

    def state(self) -> Any:
        meter = vars(self.meter)
        return [total, self.total, self.sums, list(self.losses), self.last, dict(meter)]


def run(step: Callable[[Any], Any], state: Callable[[], Any]) -> list[str]:
    global total
    total = 0.0
    seen = []
    for k in SIZES:
        loss, *rest = step(graphc.ones(k, 2) * k)
        seen.append(repr([loss.item(), *rest, state()]))
    return seen


def test_a_loss_is_kept_counted_and_returned_as_in_eager_code() -> None:
    eager, compiled = Trainer(), Trainer()
    step = graphc.compile(compiled.step)
    assert run(step, compiled.state) == run(eager.step, eager.state)
    assert step.stats.programs == 1 and type(compiled.losses[0]) is float


def numbers(x: Any) -> Any:
    a, n = x.sum().item(), x.long().sum().item()
    first, *_ = x[:2].tolist()
    return [
        math.sqrt(a), math.isnan(a), round(a, 1), round(a), abs(-a), max(a, 3.0), min(a, n),
        int(a), float(n), a**2, a // 2, n % 2, -a, 1 / a, a > 3, a == n, divmod(n, 2),
        first[0] + 1, x[:2].tolist(), sum([a, n]), str(a), f"{a:>9.2f}|".strip(), "%.2f" % a,
        "{:.1f} {k}".format(a, k=n), ", ".join([f"{a}", "b"]), "loss " + f"{a}",
        isinstance(a, float), type(n), a.is_integer(), (a > 3) + 1,
    ]  # fmt: skip


def test_python_computes_with_values_of_the_call() -> None:
    step = graphc.compile(numbers)
    for k in (2.0, 3.0, 2.5):
        x = graphc.tensor([[k, 1.0], [k + 0.5, 2.0], [1.0, 0.0]])
        assert repr(step(x)) == repr(numbers(x))


def test_a_value_goes_back_into_tensors_as_the_number_it_is() -> None:
    def f(x: Any, h: Any) -> Any:
        a, n = x.mean().item(), x.numel() * h.sum().item()
        return (
            x * a + 1 / a,
            h + n,
            h * a,
            graphc.tensor(a),
            graphc.tensor([1.0]) - float(h.sum()),
            x / n,
        )

    step = graphc.compile(f)
    for k in (1.0, 2.5):
        given = graphc.tensor([k, 3.0, 0.1]), graphc.tensor([1, int(k)])
        for got, wanted in zip(step(*given), f(*given), strict=True):
            assert got.dtype is wanted.dtype and graphc.allclose(got, wanted)


def test_a_value_is_written_into_tensors() -> None:
    def f(x: Any) -> Any:
        x = x.clone()
        x[0] = x.sum().item()
        x[1:].fill_(x.mean().item())
        return x.mul_(x[0].item())

    x = graphc.tensor([1.0, 2.0, 4.0])
    assert graphc.allclose(graphc.compile(f)(x), f(x))


def test_a_value_has_no_history() -> None:
    x = graphc.tensor([1.0, 2.0], requires_grad=True)
    step = graphc.compile(lambda x: (x * x.sum().item()).sum())
    step(x).backward()
    assert x.grad is not None and x.grad.tolist() == [3.0, 3.0]


# ---- texts ---------------------------------------------------------------------------------------


def printed(x: Any) -> None:
    loss = x.sum()
    text = f"loss {loss:.2f} of {x!r}"
    print(text, "%d and %.1f" % (1, loss), "{:.3f}".format(loss), [loss.item()], sep="; ")
    print(f"{loss.item():.4f}" if x.dim() == 2 else "no")
    sys.stdout.write(f"{loss.item()}\n")


def test_texts_are_made_at_each_call(capsys: pytest.CaptureFixture[str]) -> None:
    step = graphc.compile(printed)
    for f in (printed, step):
        for k in SIZES:
            f(graphc.ones(k, 2))
    rows = capsys.readouterr().out.splitlines()
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :] and step.stats.programs == 1
    assert rows[0] == "loss 2.00 of tensor([[1., 1.]]); 1 and 2.0; 2.000; [2.0]"


def logged(x: Any) -> None:
    loss = x.sum()
    LOG.info("loss %.4f of %d, %s", loss.item(), x.shape[0], loss)
    LOG.warning(f"loss {loss:.1f}")
    LOG.debug("not shown %s", loss)
    LOG.log(logging.ERROR, "plain")
    logging.LoggerAdapter(LOG, {"run": 1}).error("adapted %s", loss.item())


def test_logs_are_written_at_each_call_as_from_their_line(caplog: pytest.LogCaptureFixture) -> None:
    step = graphc.compile(logged)
    found = []
    with caplog.at_level(logging.INFO, logger="graphc.test"):
        for f in (logged, step):
            caplog.clear()
            for k in SIZES:
                f(graphc.ones(k, 2))
            found.append(
                [
                    (
                        r.levelno,
                        r.getMessage(),
                        r.filename,
                        r.lineno,
                        r.funcName,
                        getattr(r, "run", 0),
                    )
                    for r in caplog.records
                ]
            )
        assert found[0] == found[1] and len(found[0]) == 4 * len(SIZES)
        LOG.setLevel(logging.ERROR)  # not fixed by the trace
        caplog.clear()
        step(graphc.ones(2, 2))
        assert len(caplog.records) == 2


def test_a_librarys_call_whose_result_nobody_takes_is_made_at_each_call() -> None:
    file = io.StringIO()

    @graphc.compile
    def step(x: Any) -> Any:
        json.dump({"loss": x.sum().item()}, file)
        return x

    for k in SIZES:
        step(graphc.ones(k))
    assert file.getvalue() == "".join(json.dumps({"loss": float(k)}) for k in SIZES)


# ---- what is refused -----------------------------------------------------------------------------

BAD: dict[str, Callable[[Any], Any]] = {
    "if": lambda x: 1 if x.sum().item() > 1 else 0,
    "and": lambda x: x.sum().item() and 2,
    "bool": lambda x: not float(x.sum()),
    "index": lambda x: [1, 2][int(x.sum())],
    "range": lambda x: [k for k in range(int(x.sum()))],
    "key": lambda x: {1.0: 2}.get(x.sum().item()),
    "size": lambda x: graphc.zeros(int(x.sum())),
    "library": lambda x: json.dumps(x.sum().item()),
    "tensor": lambda x: x * math.gamma(x.sum().item()),
}


@pytest.mark.parametrize("name", BAD)
def test_what_python_has_to_decide_now_is_refused(name: str) -> None:
    with pytest.raises((DataDependentBranch, TypeError)) as e:
        graphc.compile(BAD[name])(graphc.ones(2))
    if name != "library":
        assert isinstance(e.value, DataDependentBranch) and "test_host_values.py" in str(e.value)


def test_the_error_names_the_value_its_type_and_its_line() -> None:
    def step(x: Any) -> Any:
        loss = x.mean()
        return 1 if loss > 1 else 2

    with pytest.raises(DataDependentBranch) as e:
        graphc.compile(step)(graphc.ones(3))
    line = step.__code__.co_firstlineno + 1
    assert f"`loss`: f32[] from test_host_values.py:{line} (div)" in str(e.value)
    assert f"bool[] from test_host_values.py:{line + 1} (lt)" in str(e.value)


def test_item_of_many_elements_is_an_error_as_in_eager_code() -> None:
    with pytest.raises(ShapeMismatch, match="2 elements"):
        graphc.compile(lambda x: x[:2].item())(graphc.ones(3))


def test_a_value_that_leaks_is_refused() -> None:
    heap: list[Any] = []
    kept: list[Any] = []

    def step(x: Any) -> Any:
        heapq.heappush(heap, x.sum().item())
        kept[:] = heap
        return x

    with pytest.raises(Untraceable, match="`heap`"):
        graphc.compile(step)(graphc.ones(2))
    with pytest.raises(TracerLeak):
        heap[0] + 1


class Counting:
    def __init__(self) -> None:
        self.seen = 0

    def step(self, x: Any) -> Any:
        self.seen += x.shape[0]
        return x + 1 if self.seen > 3 else x - 1


def test_a_step_may_decide_by_what_it_counts() -> None:
    eager, compiled = Counting(), Counting()
    step = graphc.compile(compiled.step)
    for k in (2, 1, 1, 2):
        x = graphc.ones(k)
        assert step(x).tolist() == eager.step(x).tolist() and compiled.seen == eager.seen


def test_a_step_that_fails_keeps_no_value() -> None:
    kept: list[Any] = []

    @graphc.compile
    def step(x: Any, i: Any) -> Any:
        kept.append(x.sum().item())
        kept.append(1 / x[0].item())
        return x[i]

    step(graphc.ones(3), graphc.tensor([1]))
    with pytest.raises(IndexError):
        step(graphc.ones(3), graphc.tensor([7]))
    with pytest.raises(ZeroDivisionError):
        step(graphc.zeros(3), graphc.tensor([1]))
    assert kept == [3.0, 1.0, 0.0]


# ---- calls that wait -----------------------------------------------------------------------------


def test_files_get_each_text_and_the_steps_own_are_not_deferred(tmp_path: Any) -> None:
    with open(tmp_path / "log.txt", "w") as file:
        table = csv.DictWriter(file, ["loss", "size"])

        @graphc.compile
        def step(x: Any) -> Any:
            loss = x.sum().item()
            table.writerow({"loss": loss, "size": x.dim()})
            file.write(f"{loss:.1f}\n")
            return x

        for k in SIZES:
            step(graphc.ones(k))
    wanted = "".join(f"{float(k)},1\n{k:.1f}\n" for k in SIZES)
    assert (tmp_path / "log.txt").read_text().replace("\r", "").replace("\n\n", "\n") == wanted

    def own(x: Any) -> Any:
        file = io.StringIO()
        file.write(f"{x.sum():.1f}")
        return file.getvalue()

    with pytest.raises(TypeError):
        graphc.compile(own)(graphc.ones(2))


def test_an_object_that_waits_is_not_looked_at() -> None:
    table = collections.Counter()

    def step(x: Any) -> Any:
        table.update({"loss": x.sum().item()})
        return x * table["loss"]

    with pytest.raises(GraphcError):
        graphc.compile(step)(graphc.ones(2))
    file = io.StringIO()

    def looking(x: Any) -> Any:
        json.dump(x.sum().item(), file)
        return x, file.getvalue()

    with pytest.raises(Untraceable, match="`file` after it was given"):
        graphc.compile(looking)(graphc.ones(2))


def test_old_items_beside_new_values_are_those_of_the_call() -> None:
    kept: list[float] = []

    def step(x: Any) -> Any:
        kept.append(x.sum().item())
        return sum(kept) / len(kept), max(kept), np.log(kept[-1]), x

    compiled, seen = graphc.compile(step), []
    for f in (step, compiled):
        kept.clear()
        seen.append([repr(f(graphc.ones(k))[:3]) for k in (2, 2, 3, 3)])
    assert seen[0] == seen[1]


def test_a_float_argument_that_changes_stays_a_float() -> None:
    kept: list[Any] = []

    def step(x: Any, t: float) -> Any:
        kept.append(t)
        return x * t, t, {"t": [t]}, graphc.tensor(t)

    compiled, found = graphc.compile(step), []
    for f in (step, compiled):
        kept.clear()
        found.append([repr(f(graphc.ones(2), 0.5 + k)) for k in range(5)] + kept)
    assert found[0] == found[1] and compiled.stats.programs <= 3


# ---- texts of objects ----------------------------------------------------------------------------


class Told(Meter):
    def __str__(self) -> str:
        return f"{self.val:.2f} ({self.avg:.2f})"


class Percent(Meter):
    def __repr__(self) -> str:
        return "<%.2f>" % self.avg


class Both:
    def __init__(self) -> None:
        self.parts = Told(), Percent()

    def __str__(self) -> str:
        return " ".join(["both", str(self.parts[0]), f"{self.parts[1]}"])


@pytest.mark.parametrize("make", [Told, Percent, Both])
def test_an_object_that_shows_values_of_the_call(make: Any, capsys: Any) -> None:
    """Printed, in texts that are printed and kept; failed with a TypeError of Python's."""
    seen: list[Any] = []
    for wrap in (graphc.compile, lambda f: f):
        of, log = make(), []
        meters = getattr(of, "parts", (of,))

        def step(x: Any, of: Any = of, log: Any = log, meters: Any = meters) -> Any:
            for m in meters:
                m.update(x.sum().item())
            print(of)
            print("is", f"[{of}]", repr(meters[0])[:1])
            log.append(f"{of}!")
            log.append(str(of))
            return x.sum()

        call = wrap(step)
        for k in range(3):
            call(graphc.ones(2) * k)
        seen.append((log, capsys.readouterr().out))
        assert wrap is not graphc.compile or (call.stats.programs == 1 and not call._recompiles)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "text", [lambda m: "%s" % m, lambda m: "{}".format(m), lambda m: f"{m!s:>9}"]
)
def test_a_text_of_an_object_that_could_be_made_once_only(text: Any) -> None:
    m = Told()

    @graphc.compile
    def step(x: Any) -> Any:
        m.update(x.sum().item())
        text(m)
        return x

    with pytest.raises(Untraceable, match="the text of an object"):
        step(graphc.ones(2))


def test_a_flag_that_a_number_of_the_step_decides() -> None:
    """`requires_grad_` and grad mode take what a counter says as a flag; the first kept what stood
    for it, which the next call was refused for."""
    w = nn.Parameter(graphc.ones(2))
    at = Meter()

    @graphc.compile
    def step(x: Any) -> Any:
        w.requires_grad_(at.count % 3 != 0)
        at.count += 1
        with graphc.set_grad_enabled(at.count % 2 == 0):
            return (w * x).sum()

    found = []
    for _ in range(6):
        found.append((step(graphc.ones(2)).requires_grad, w.requires_grad))
    flags = [k % 3 != 0 for k in range(6)]
    assert found == [(flag and k % 2 == 1, flag) for k, flag in enumerate(flags)]
