"""See what became of each line of a step: the graph, the kernels, the memory plan, the assembly."""

import graphc
from graphc import nn, optim

fc = nn.Linear(64, 10, bias=False)
opt = optim.SGD(fc.parameters(), lr=0.1)


@graphc.compile
def train_step(x, y):
    opt.zero_grad()
    error = fc(x) - y
    loss = (error * error).sum()
    loss.backward()
    opt.step()
    return loss


train_step(graphc.randn(128, 64), graphc.randn(128, 10))

print("stages:", ", ".join(train_step.stages))
print(train_step.ir("simplify"))
print(train_step.ir("memory"))
for kernel in train_step.kernels:
    print(kernel.name, "is", len(kernel.asm.splitlines()), "lines of assembly")
print(train_step.memory())
