"""A learning rate that warms up linearly and then falls, inside the compiled step, with a bar."""

import argparse

from tqdm import tqdm

import graphc as torch
import graphc.nn.functional as F
from graphc import nn
from graphc.datasets import Digits
from graphc.optim import get_scheduler
from graphc.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=6)
args = parser.parse_args()

torch.manual_seed(0)
digits = Digits(train=True)
data = TensorDataset(digits.data.float().flatten(1) / 255, digits.targets)
loader = DataLoader(data, batch_size=32, shuffle=True, drop_last=True)

model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.LayerNorm(128), nn.Linear(128, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
total = args.epochs * len(loader)
scheduler = get_scheduler(
    "linear", optimizer, num_warmup_steps=total // 10, num_training_steps=total
)


@torch.compile
def train_step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss


first = last = None
with tqdm(total=total, unit="step") as bar:
    for _ in range(args.epochs):
        for x, y in loader:
            loss = train_step(x, y).item()
            first = loss if first is None else first
            last = loss
            bar.set_postfix(loss=f"{loss:.3f}", lr=f"{scheduler.get_last_lr()[0]:.1e}")
            bar.update()
print(f"loss {first:.3f} -> {last:.3f}, rate at the end {scheduler.get_last_lr()[0]:.1e}")
print(f"programs compiled: {train_step.stats.programs}")
