"""Make our own golden vectors of Patch-ioner's backbones: the papers' formulas in float64, with none of our classes.

Run it as ``python tests/golden/patchioner/make_own_vectors.py``; it writes the files named in README.md beside itself,
or into the folder that is given to it. Numbers are drawn from raw PCG64, whose stream numpy promises for ever.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

Array = NDArray[np.float64]
State = dict[str, Array]
#: A head of attention is 64 wide in all of these models, and norms have this epsilon.
HEAD, EPSILON = 64, 1e-5
TEXTS = ("a cat", "Two  dogs", "x", "a very long sentence that is cut")
#: Ids behind those of 256 bytes, the same at the end of a word, and one merge, "q q", that no text here uses.
START, END = 513, 514
#: All that is drawn is stored in this type, without loss: so the files stay small.
EIGHT_BITS = torch.float8_e4m3fn


class Draw:
    """Numbers that follow from a seed."""

    def __init__(self, seed: int) -> None:
        self.stream = np.random.PCG64(seed)

    def around(self, scale: float, *shape: int, centre: float = 0.0) -> Array:
        """Numbers within ``scale`` of ``centre``, as eight bits store them."""
        uniform = self.stream.random_raw(int(np.prod(shape))) / 2.0**64
        rough = torch.from_numpy((centre + scale * (2 * uniform - 1)).reshape(shape))
        return np.asarray(rough.to(EIGHT_BITS).double().numpy(), dtype=np.float64)

    def matrix(self, *shape: int) -> Array:
        """A weight that keeps the variance."""
        return self.around((3 / int(np.prod(shape[1:]))) ** 0.5, *shape)

    def norm(self, name: str, width: int) -> State:
        """Weight and bias of a norm."""
        return {
            f"{name}.weight": self.around(0.3, width, centre=1.0),
            f"{name}.bias": self.around(0.3, width),
        }

    def layer(self, name: str, outputs: int, inputs: int) -> State:
        """Weight and bias of a linear layer."""
        return {f"{name}.weight": self.matrix(outputs, inputs), f"{name}.bias": self.around(0.2, outputs)}


# ---------------------------------------------------------------- what all formulas are made of


def norm(x: Array, w: State, name: str) -> Array:
    """(x - mean) / sqrt(variance + epsilon), scaled and moved."""
    centred = x - x.mean(-1, keepdims=True)
    scaled: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Array, w: State, name: str) -> Array:
    """W x + b."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def attention(query: Array, key: Array, value: Array, causal: bool = False) -> Array:
    """softmax(q k / sqrt(64)) v in heads of 64, all (n, width)."""
    mixed = np.empty_like(query)
    for start in range(0, query.shape[1], HEAD):
        part = slice(start, start + HEAD)
        logits = query[:, part] @ key[:, part].T / np.sqrt(HEAD)
        if causal:
            logits = np.where(np.tri(len(query)) > 0, logits, -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        mixed[:, part] = weights / weights.sum(-1, keepdims=True) @ value[:, part]
    return mixed


def unit(x: Array) -> Array:
    """x over its length."""
    return np.asarray(x / np.sqrt((x**2).sum(-1, keepdims=True)))


# ---------------------------------------------------------------- CLIP, under OpenAI's names


def clip_block(x: Array, w: State, name: str, joint: str, causal: bool = False) -> Array:
    """x + attention(norm(x)), then x + mlp(norm(x)) with x * sigmoid(1.702 x)."""
    normed = norm(x, w, f"{name}.ln_1")
    query, key, value = np.split(normed @ w[f"{name}.attn.{joint}weight"].T + w[f"{name}.attn.{joint}bias"], 3, axis=1)
    x = x + linear(attention(query, key, value, causal), w, f"{name}.attn.out_proj")
    hidden = linear(norm(x, w, f"{name}.ln_2"), w, f"{name}.mlp.c_fc")
    return x + linear(hidden / (1 + np.exp(-1.702 * hidden)), w, f"{name}.mlp.c_proj")


def clip_block_weights(draw: Draw, name: str, width: int, joint: str) -> State:
    """Random weights of such a block; ``joint`` is how query, key and value are called."""
    own = draw.layer("joint", 3 * width, width)
    w = {f"{name}.attn.{joint}{end}": own[f"joint.{end}"] for end in ("weight", "bias")}
    w |= draw.layer(f"{name}.attn.out_proj", width, width)
    w |= draw.layer(f"{name}.mlp.c_fc", 4 * width, width) | draw.layer(f"{name}.mlp.c_proj", width, 4 * width)
    return w | draw.norm(f"{name}.ln_1", width) | draw.norm(f"{name}.ln_2", width)


def vision_weights(draw: Draw, width: int, patch: int, grid: int, dim: int, joint: str) -> State:
    """Random weights of a vision tower of one block, names without a prefix."""
    w = {"class_embedding": draw.around(0.5, width), "positional_embedding": draw.around(0.5, 1 + grid**2, width)}
    w |= {"conv1.weight": draw.matrix(width, 3, patch, patch), "proj": draw.matrix(dim, width).T}
    w |= draw.norm("ln_pre", width) | draw.norm("ln_post", width)
    return w | clip_block_weights(draw, "transformer.resblocks.0", width, joint)


def patches(pixels: Array, weight: Array) -> Array:
    """Every patch of (c, side, side) times the weights (width, c, patch, patch), row by row: (n, width)."""
    size = weight.shape[-1]
    rows = range(0, pixels.shape[1], size)
    cut = [pixels[:, top : top + size, left : left + size] for top in rows for left in rows]
    return np.stack([(weight * one).sum((1, 2, 3)) for one in cut])


def entering(w: State, pixels: Array, alpha: Array | None = None, times: int = 1) -> Array:
    """What enters the first block: patches and class token, positions, the first norm."""
    x = patches(pixels, w["conv1.weight"])
    if alpha is not None:
        x = x + patches(alpha, w["conv1_alpha.weight"])
    return norm(np.vstack([times * w["class_embedding"], x]) + w["positional_embedding"], w, "ln_pre")


def vision(w: State, tokens: Array, joint: str) -> Array:
    """The block, last norm and projection of all tokens that enter: (1 + n, dim)."""
    return norm(clip_block(tokens, w, "transformer.resblocks.0", joint), w, "ln_post") @ w["proj"]


# ---------------------------------------------------------------- the four files


def alphaclip(seed: int = 0) -> State:
    """AlphaCLIP: patches of the picture and of the mask are added; the mask is normalised (paper) or not."""
    draw, width, patch, grid, dim = Draw(seed), 64, 16, 2, 24
    w = vision_weights(draw, width, patch, grid, dim, "in_proj.")
    w["conv1_alpha.weight"] = draw.matrix(width, 1, patch, patch)
    pixels, masks = draw.around(2, 2, 3, grid * patch, grid * patch), draw.around(2, 2, 1, grid * patch, grid * patch)
    masks = np.clip(masks, 0, 1)  # half of it is outside, the rest soft and inside
    out = {f"w.{name}": tensor for name, tensor in w.items()} | {"pixels": pixels, "masks": masks}
    ways: dict[str, Callable[[Array], Array]] = {
        "paper": lambda mask: (mask - 0.5) / 0.26,
        "reference": lambda mask: mask,
    }
    for compat, normalised in ways.items():
        first = [entering(w, one, normalised(mask)) for one, mask in zip(pixels, masks, strict=True)]
        out[f"entering.{compat}"] = np.stack(first)
        out[f"tokens.{compat}"] = np.stack([vision(w, tokens, "in_proj.") for tokens in first])
        everywhere = [entering(w, one, normalised(np.ones_like(masks[0]))) for one in pixels]
        out[f"everywhere.{compat}"] = np.stack([vision(w, tokens, "in_proj.") for tokens in everywhere])
    return out


def denseclip(seed: int = 1) -> State:
    """DenseCLIP: the class embedding once or twice in what enters, and sentences as unit vectors."""
    draw, width, patch, grid, dim, context = Draw(seed), 64, 16, 2, 24, 8
    seeing = vision_weights(draw, width, patch, grid, dim, "in_proj_")
    text = {"token_embedding.weight": draw.matrix(END + 1, width), "text_projection": draw.matrix(dim, width).T}
    text["positional_embedding"] = draw.around(0.5, context, width)
    text |= draw.norm("ln_final", width) | clip_block_weights(draw, "transformer.resblocks.0", width, "in_proj_")
    pixels = draw.around(2, 2, 3, grid * patch, grid * patch)
    out = {f"w.backbone.{name}": tensor for name, tensor in seeing.items()} | {"pixels": pixels}
    out |= {f"w.text_encoder.{name}": tensor for name, tensor in text.items()}
    for form, times in (("once", 1), ("twice", 2)):
        first = [entering(seeing, one, times=times) for one in pixels]
        out[f"tokens.{form}"] = np.stack([vision(seeing, tokens, "in_proj_") for tokens in first])
    rows = []
    for sentence in TEXTS:
        ids = token_ids(sentence, context)
        x = text["token_embedding.weight"][ids] + text["positional_embedding"][: len(ids)]
        x = norm(clip_block(x, text, "transformer.resblocks.0", "in_proj_", causal=True), text, "ln_final")
        rows.append(x[-1] @ text["text_projection"])
    return out | {"sentences": unit(np.stack(rows))}


def token_ids(text: str, context: int) -> list[int]:
    """Ids of CLIP's tokenizer for letters that no merge joins: 256 more at the end of a word; cut, end kept."""
    words = text.lower().split()
    ids = [ord(letter) - 33 + 256 * (place == len(word) - 1) for word in words for place, letter in enumerate(word)]
    return [START, *ids[: context - 2], END]


def regionclip_attention_pool(seed: int = 2) -> State:
    """RegionCLIP: the mean of the places and each place ask in CLIP's attention pool; or its last projection alone."""
    draw, width, side, dim = Draw(seed), 128, 3, 24
    w = {"positional_embedding": draw.around(0.5, 1 + side**2, width)}
    for letter in "qkv":
        w |= draw.layer(f"{letter}_proj", width, width)
    w |= draw.layer("c_proj", dim, width)
    places = draw.around(2.0, 2, width, side, side)
    tokens, projected = [], []
    for one in places:
        rows = one.reshape(width, -1).T
        x = np.vstack([rows.mean(0), rows]) + w["positional_embedding"]
        query, key, value = (linear(x, w, f"{letter}_proj") for letter in "qkv")
        tokens.append(linear(attention(query, key, value), w, "c_proj"))
        projected.append(linear(rows, w, "c_proj"))
    out = {f"w.backbone.attnpool.{name}": tensor for name, tensor in w.items()} | {"places": places}
    return out | {"tokens": np.stack(tokens), "projected": unit(np.stack(projected))}


def dinotxt_head(seed: int = 3) -> State:
    """DINO.txt's vision head: blocks without bias at query, key and value, SwiGLU, LayerScale; a last norm."""
    draw, width, layers = Draw(seed), 64, 2
    hidden = -(-(8 * width // 3) // 64) * 64  # two thirds of four widths, rounded up to 64
    w: State = {}
    for block in (f"block_list.{layer}" for layer in range(layers)):
        w |= draw.norm(f"{block}.norm1", width) | draw.norm(f"{block}.norm2", width)
        w |= {f"{block}.attn.qkv.weight": draw.matrix(3 * width, width)}
        w |= draw.layer(f"{block}.attn.proj", width, width)
        w |= draw.layer(f"{block}.mlp.w1", hidden, width) | draw.layer(f"{block}.mlp.w2", hidden, width)
        w |= draw.layer(f"{block}.mlp.w3", width, hidden)
        w |= {f"{block}.{scale}.gamma": draw.around(0.5, width) for scale in ("ls1", "ls2")}
    w |= draw.norm("ln_final", width)
    tokens = draw.around(2.0, 2, 9, width)
    aligned = []
    for x in tokens:
        for block in (f"block_list.{layer}" for layer in range(layers)):
            query, key, value = np.split(norm(x, w, f"{block}.norm1") @ w[f"{block}.attn.qkv.weight"].T, 3, axis=1)
            mixed = linear(attention(query, key, value), w, f"{block}.attn.proj")
            x = x + w[f"{block}.ls1.gamma"] * mixed
            gate, line = (linear(norm(x, w, f"{block}.norm2"), w, f"{block}.mlp.{name}") for name in ("w1", "w2"))
            x = x + w[f"{block}.ls2.gamma"] * linear(gate / (1 + np.exp(-gate)) * line, w, f"{block}.mlp.w3")
        aligned.append(norm(x, w, "ln_final"))
    return {f"w.{name}": tensor for name, tensor in w.items()} | {"tokens": tokens, "aligned": np.stack(aligned)}


FILES: dict[str, Callable[[], State]] = {
    "alphaclip": alphaclip,
    "denseclip": denseclip,
    "dinotxt_head": dinotxt_head,
    "regionclip_attention_pool": regionclip_attention_pool,
}


def stored(array: Array) -> torch.Tensor:
    """What was drawn in eight bits, which are exact, and results in float32."""
    exact = torch.from_numpy(np.ascontiguousarray(array))
    small = exact.to(EIGHT_BITS)
    return small if torch.equal(small.double(), exact) else exact.float()


def main(folder: Path) -> None:
    """Write all files into a folder."""
    for name, make in FILES.items():
        tensors = {key: stored(array) for key, array in make().items()}
        save_file(tensors, folder / f"{name}.safetensors", metadata={"texts": json.dumps(TEXTS)})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
