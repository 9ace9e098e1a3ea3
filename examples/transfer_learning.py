"""Train on the digits 0-4, freeze the layers that see, and teach a new head the digits 5-9."""

import argparse

import graphc as torch
import graphc.nn.functional as F
from graphc import nn
from graphc.datasets import Digits
from graphc.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=5)
args = parser.parse_args()


def digits(train, low):
    """Five digits from `low` on, with labels 0-4."""
    data = Digits(train)
    chosen = (data.targets >= low) & (data.targets < low + 5)
    images = data.data[chosen].unsqueeze(1).float() / 255
    return TensorDataset(images, data.targets[chosen] - low)


def fit(model, optimizer, data, epochs):
    @torch.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    model.train()
    for _ in range(epochs):
        for x, y in DataLoader(data, batch_size=32, shuffle=True):
            loss = step(x, y)
    return loss.item()


def accuracy(model, data):
    model.eval()
    with torch.no_grad():
        x, y = data.tensors
        return (model(x).argmax(1) == y).float().mean().item()


torch.manual_seed(0)
body = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(2),
    nn.Flatten(),
)
model = nn.Sequential(body, nn.Linear(128, 5))
fit(model, torch.optim.Adam(model.parameters(), lr=3e-3), digits(True, 0), args.epochs)
print(f"digits 0-4: accuracy {accuracy(model, digits(False, 0)):.1%}")

for parameter in body.parameters():
    parameter.requires_grad = False
before = body[0].weight.clone()
model[1] = nn.Linear(128, 5)
head = [p for p in model.parameters() if p.requires_grad]
fit(model, torch.optim.Adam(head, lr=1e-2), digits(True, 5), args.epochs)
print(f"digits 5-9: accuracy {accuracy(model, digits(False, 5)):.1%}")
print(f"trained {sum(p.numel() for p in head)} of {sum(p.numel() for p in model.parameters())}")
print(f"frozen layers unchanged: {torch.equal(before, body[0].weight)}")
