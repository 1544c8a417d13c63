"""Reading the network of Diffusion Bridge as its training script saves it, and the two means beside it.

The file ``model-300.pt`` holds ``model``, the weights, and ``ema``, what the library of the moving average keeps: the
averaged weights as ``ema_model.*``, and those of training once more as ``online_model.*``. The released inference
loads ``model``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.files import is_file
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.patchioner.backbones.layouts import shape_of
from regionkit.plugins.patchioner.diffusion import Diffusion
from regionkit.plugins.patchioner.diffusion_config import ARCHITECTURE, DiffusionConfig
from regionkit.plugins.patchioner.diffusion_schedule import Schedule
from regionkit.plugins.patchioner.diffusion_unet import HEAD

_AGAIN = "fetch it again, or name another file"
_BLOCK = r"(?:block[12]\.(?:proj\.(?:weight|bias)|norm\.g)|mlp\.1\.(?:weight|bias)|res_conv\.(?:weight|bias))"
_ATTENTION = r"fn\.(?:norm\.g|fn\.to_qkv\.weight|fn\.to_out\.(?:0\.)?(?:weight|bias)|fn\.to_out\.1\.g)"
#: Official names are ours, but for the prefix.
UNET: dict[str, str] = {
    r"model\.((?:init_conv|final_conv|time_mlp\.[13])\.(?:weight|bias))": r"unet.\1",
    rf"model\.((?:(?:downs|ups)\.\d+\.[01]|mid_block[12]|final_res_block)\.{_BLOCK})": r"unet.\1",
    rf"model\.((?:(?:downs|ups)\.\d+\.2|mid_attn)\.{_ATTENTION})": r"unet.\1",
    r"model\.((?:downs|ups)\.\d+\.3\.(?:1\.)?(?:weight|bias))": r"unet.\1",
}
#: Tables that follow from the schedule; two of them say which one it is, and what the network was trained to predict.
_TABLES = (
    r"betas|alphas_cumprod(?:_prev)?|(?:sqrt|sqrt_one_minus|log_one_minus|sqrt_recip|sqrt_recipm1)_alphas_cumprod|"
    r"posterior_(?:variance|log_variance_clipped|mean_coef[12])|loss_weight"
)
#: What the library of the moving average keeps beside it: counters, and the weights that are averaged.
_ASIDE = (r"initted|step", r"online_model\..+")
_ROLES = {"mean_text": "the mean of its text embeddings", "mean_image": "the mean of its image embeddings"}


def read_diffusion(files: Mapping[str, Path], config: DiffusionConfig) -> WeightArtifact:
    """Turn an official checkpoint and its means into the tensors of ``diffusion``.

    The files do not say in which spaces they were made, only how wide those are.

    Args:
        files: ``model``, ``mean_text``, and ``mean_image`` where there is one.
        config: Options: ``average`` says which weights are taken, ``scale`` counts, as no file says it.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or the network was
            trained with another schedule or to predict something else.
    """
    for role, what in (("model", "its checkpoint"), ("mean_text", _ROLES["mean_text"])):
        if role not in files:
            raise WeightsError(f"bridge 'diffusion' needs {what}", f"the file with the role '{role}'")
    source = str(files["model"])
    stored = _average(files["model"]) if config.average else read_checkpoint(files["model"])
    timesteps = _check_schedule(stored, source)
    tensors = as_floats(rename(stored, UNET, source, (_TABLES,)), source)
    sizes = {**_sizes(tensors, source), "timesteps": timesteps, "scale": config.scale}
    for role in _ROLES:
        if role in files:
            tensors[role] = _mean(files[role])
    dim = len(tensors["mean_text"])
    space = f"{UNNAMED}[{dim}]"
    whole = DiffusionConfig(**{name: sizes[name] for name in ARCHITECTURE})  # type: ignore[arg-type]
    with torch.device("meta"):
        skeleton = Diffusion(whole, space, with_image_mean="mean_image" in files)
    check_fit(skeleton, tensors, source)
    # Of the space that it writes, only the width is known: that of the space that it reads.
    header = WeightHeader("bridge", "diffusion", space, config=sizes, license="MIT")
    return WeightArtifact(tensors, header)


def _average(path: Path) -> dict[str, Tensor]:
    """Return the averaged weights under the names that those of training have."""
    tensors = rename(read_checkpoint(path, "ema"), {r"ema_model\.(.+)": r"\1"}, path, _ASIDE)
    if not tensors:
        raise WeightsError(f"{path} holds no averaged weights", "take those of training: bridge.average: false")
    return tensors


def _check_schedule(tensors: Mapping[str, Tensor], source: str) -> int:
    """Return the number of steps of the diffusion, whose tables must be those of this bridge."""
    (timesteps,) = shape_of(tensors, "betas", source, 1)
    schedule = Schedule(timesteps)
    left = tensors.get("alphas_cumprod")
    if left is None or left.shape != (timesteps,) or not torch.allclose(left.double(), schedule.alphas, atol=1e-5):
        raise WeightsError(f"{source}: this network was not trained with the cosine schedule", _AGAIN)
    ratio = tensors.get("loss_weight")
    wanted = schedule.signal_to_noise(torch.arange(timesteps))
    if ratio is None or ratio.shape != wanted.shape or not torch.allclose(ratio.float(), wanted, rtol=1e-2, atol=1e-5):
        raise WeightsError(
            f"{source}: this network was trained to predict something else than the embedding itself",
            "bridge 'diffusion' reads those of the objective pred_x0",
        )
    return timesteps


def _sizes(tensors: Mapping[str, Tensor], source: str) -> dict[str, object]:
    init_dim = shape_of(tensors, "unet.init_conv.weight", source, 3)[0]
    levels = [name for name in tensors if name.startswith("unet.downs.") and name.endswith(".3.weight")]
    widths = [shape_of(tensors, f"unet.downs.{level}.3.weight", source, 3)[0] for level in range(len(levels))]
    if not widths or any(width % init_dim for width in widths):
        raise WeightsError(f"{source}: the levels of this network have widths {widths}, it starts with {init_dim}")
    return {
        "dim": shape_of(tensors, "unet.time_mlp.1.weight", source)[1],
        "init_dim": init_dim,
        "mults": [width // init_dim for width in widths],
        "heads": shape_of(tensors, "unet.mid_attn.fn.fn.to_qkv.weight", source, 3)[0] // (3 * HEAD),
    }


def _mean(path: Path) -> Tensor:
    """Return a mean (d,): a safetensors file of one tensor, or a list in JSON, made of the released pickle."""
    if path.suffix == ".json":
        return _of_json(path)
    tensors = read_checkpoint(path)
    if len(tensors) != 1:
        raise WeightsError(f"{path}: a mean is one tensor, this file holds {len(tensors)}", _AGAIN)
    return _flat(next(iter(as_floats(tensors, path).values())), path)


def _of_json(path: Path) -> Tensor:
    try:
        if not is_file(path):  # a pipe would be waited for without end
            raise ValueError("it is no file")
        values = torch.tensor(json.loads(path.read_text(encoding="utf-8")), dtype=torch.float32)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: this mean cannot be read: {error}", _AGAIN) from None
    if not bool(torch.isfinite(values).all()):
        raise WeightsError(f"{path}: this mean is NaN or infinite", _AGAIN)
    return _flat(values, path)


def _flat(mean: Tensor, path: Path) -> Tensor:
    if mean.ndim not in (1, 2) or mean.numel() != mean.shape[-1] or not mean.numel():
        raise WeightsError(f"{path}: a mean is one vector, this one is {tuple(mean.shape)}", _AGAIN)
    return mean.reshape(-1)
