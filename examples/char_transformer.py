"""A small transformer that learns to continue a text, character by character."""

import argparse

import graphc as torch
import graphc.nn.functional as F
from graphc import nn

TEXT = (
    """
the step is pure: state goes in and new state comes out. a kernel is code and a program is data.
what is stored is loaded and what is cheap is computed again. the sum is split by shape alone, so
the bits do not depend on the number of threads. one meaning, one derivative, one way to go.
"""
    * 4
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=250)
parser.add_argument("--length", type=int, default=32, help="characters the model sees")
args = parser.parse_args()


class CharTransformer(nn.Module):
    def __init__(self, vocabulary, length, width=64, heads=4, layers=2):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            2 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        length = x.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).triu(1)  # no looking ahead
        h = self.token(x) + self.position(torch.arange(length))
        return self.head(self.norm(self.blocks(h, mask=mask)))


torch.manual_seed(0)
letters = sorted(set(TEXT))
code = {c: k for k, c in enumerate(letters)}
text = torch.tensor([code[c] for c in TEXT])
model = CharTransformer(len(letters), args.length)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)


@torch.compile
def train_step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


for step in range(1, args.steps + 1):
    starts = torch.randint(0, len(text) - args.length - 1, (16,)).tolist()
    x = torch.stack([text[s : s + args.length] for s in starts])
    y = torch.stack([text[s + 1 : s + args.length + 1] for s in starts])
    loss = train_step(x, y)
    if step == 1 or step % 50 == 0:
        print(f"step {step:4d}  loss {loss.item():.3f}")

model.eval()
out = text[: args.length].unsqueeze(0)
with torch.no_grad():
    for _ in range(60):
        logits = model(out[:, -args.length :])[:, -1]
        out = torch.cat([out, logits.argmax(-1, keepdim=True)], 1)
print("".join(letters[k] for k in out[0].tolist()).replace("\n", " "))
