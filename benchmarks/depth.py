"""Does the first compile of a deep net grow linearly? `python benchmarks/depth.py`

Each row compiles a training step in a process of its own with an empty cache: a ResNet of n blocks
and of 2n, and 100 and 200 equal layers. Times are CPU seconds of the first call, less what a second
call takes. Few blocks say little: what they share, each kernel once, is most of their time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

ROWS = (
    *(("resnet", blocks) for blocks in (8, 25, 50, 100, 200)),
    *(("layers", count) for count in (100, 200)),
)


def measure(kind: str, count: int) -> float:
    import nets

    import graphc
    from graphc import nn, optim

    graphc.manual_seed(0)
    if kind == "resnet":
        blocks = [nets.basic_block(graphc, 16, 16, 1) for _ in range(count)]
        model = nn.Sequential(*nets.conv_bn(graphc, 3, 16, 3), nn.ReLU(), *blocks)
        x = graphc.randn(2, 3, 16, 16)
    else:
        parts = [m for _ in range(count) for m in (nn.Linear(64, 64), nn.ReLU())]
        model, x = nn.Sequential(*parts), graphc.randn(8, 64)
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    seconds = []
    for _ in range(2):
        start = time.process_time()
        step(x)
        seconds.append(time.process_time() - start)
    return seconds[0] - seconds[1]


def main() -> None:
    if len(sys.argv) == 3:
        print(measure(sys.argv[1], int(sys.argv[2])))
        return
    print(f"{'net':<8} {'blocks':>6} {'cold compile, CPU s':>20} {'ratio to half':>14}")
    found: dict[tuple[str, int], float] = {}
    for kind, count in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, kind, str(count)]
            environment = {**os.environ, "GRAPHC_CACHE_DIR": folder}
            done = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
        found[kind, count] = seconds = float(done.stdout)
        half = found.get((kind, count // 2))
        ratio = f"{seconds / half:14.2f}" if half else f"{'-':>14}"
        print(f"{kind:<8} {count:6d} {seconds:20.2f} {ratio}", flush=True)


if __name__ == "__main__":
    main()
