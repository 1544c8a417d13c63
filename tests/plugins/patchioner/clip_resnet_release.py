"""A CLIP with a ResNet at a small size in the layouts of OpenAI and open_clip, not made with the reader's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from official_layouts import clip_model, openai_state, write_merges
from resnet_layouts import resnet_state
from safetensors.torch import save_file
from torch import Tensor, nn

Layout = Literal["openai", "torchscript", "open_clip"]
#: Numbers that OpenAI's archives have beside the weights, and open_clip has not.
_COUNTS = ("input_resolution", "context_length", "vocab_size")


def clip_resnet_state(seed: int = 8) -> dict[str, Tensor]:
    """Both towers under OpenAI's names, with the count of steps that each batch norm keeps."""
    out = resnet_state("visual", torch.Generator().manual_seed(seed))
    norms = [name.removesuffix(".running_var") for name in out if name.endswith(".running_var")]
    out |= {f"{norm}.num_batches_tracked": torch.tensor(400_000) for norm in norms}
    return out | {name: t for name, t in openai_state(clip_model()).items() if not name.startswith("visual.")}


def write_clip_resnet(folder: Path, layout: Layout = "openai") -> dict[str, Path]:
    """Write the checkpoint and CLIP's merges; paths by role. That of open_clip is a repository that timm shares."""
    folder.mkdir(parents=True, exist_ok=True)
    files, state = {"merges": write_merges(folder)}, clip_resnet_state()
    if layout == "open_clip":
        files["model"] = folder / "resnet50x4_clip.openai"
        files["model"].mkdir()
        kept = {name: tensor.contiguous() for name, tensor in state.items() if name not in _COUNTS}
        save_file(kept, files["model"] / "open_clip_model.safetensors")
        save_file({"stem.conv1.conv.weight": torch.ones(4, 3, 3, 3)}, files["model"] / "model.safetensors")
        return files
    files["model"] = folder / "RN50x4.pt"
    if layout == "torchscript":
        torch.jit.trace(_nested(state).eval(), torch.zeros(1)).save(files["model"])
    else:
        torch.save(state, files["model"])
    return files


class _Part(nn.Module):
    """A module that does nothing, to hang tensors on."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0


def _nested(state: dict[str, Tensor]) -> nn.Module:
    """A module whose state is this one, as the program in OpenAI's archives has it."""
    top = _Part()
    for name, tensor in state.items():
        *parents, last = name.split(".")
        place: nn.Module = top
        for parent in parents:
            if parent not in place._modules:
                place.add_module(parent, _Part())
            place = place._modules[parent]  # type: ignore[assignment]
        place.register_buffer(last, tensor)
    return top
