"""Watch activations and gradients through hooks, and clip gradients by their norm."""

import argparse

import graphc as torch
import graphc.nn.functional as F
from graphc import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--max-norm", type=float, default=0.5)
args = parser.parse_args()

torch.manual_seed(0)
x = torch.randn(512, 10)
y = (x[:, 0] * x[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)

# A forward hook sees what a layer gave; a tensor's hook may change its gradient.
spread = {}


def watch(name):
    def hook(module, inputs, output):
        spread[name] = output.detach().std()

    return hook


handles = [layer.register_forward_hook(watch(k)) for k, layer in enumerate(model)]
with torch.no_grad():
    model(x)
for name, value in spread.items():
    print(f"layer {name} {type(model[name]).__name__:7s} output spread {value.item():.3f}")
for handle in handles:
    handle.remove()
model[4].weight.register_hook(lambda grad: grad * 0.5)  # the last layer learns at half the rate


@torch.compile
def train_step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), args.max_norm)
    optimizer.step()
    return loss, norm


for step in range(1, args.steps + 1):
    loss, norm = train_step(x, y)
    if step == 1 or step % 20 == 0:
        print(f"step {step:3d}  loss {loss.item():.4f}  norm before clipping {norm.item():.3f}")
