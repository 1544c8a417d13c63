"""ProxyCLIP: what CLIP says of a place, gathered over all places that another vision model finds alike.

Lan et al., ProxyCLIP: Proxy Attention Improves CLIP for Open-Vocabulary Segmentation, ECCV 2024; two rows of
Patch-ioner's Table 1 (arXiv 2510.02898). The other model's patches f, of length 1, are compared, ``S = f f^T``; then
``A = softmax(gamma (S - beta mean(S)))`` over what is not below 0 stands in the place of the attention of CLIP's last
block, whose residual and MLP fall away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.plugins.patchioner.backbones.clip_vit import clip_vision
from regionkit.plugins.patchioner.backbones.invite import values_of
from regionkit.plugins.patchioner.backbones.preprocessing import CLIP_PIXELS, IMAGENET_PIXELS
from regionkit.plugins.patchioner.backbones.proxyclip_config import (
    CLIP_PATCH,
    PROXYCLIP_SIZES,
    VFMS,
    ProxyClipConfig,
)
from regionkit.plugins.patchioner.backbones.square import SquareBackbone
from regionkit.plugins.patchioner.backbones.vit import Resampling, at_grid, vision_transformer
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer


class ProxyClip(SquareBackbone[ProxyClipConfig]):
    """CLIP B/16 with the proxy attention of DINO or DINOv2; patches of length 1, no class token.

    The grid is that of the other model: 37 x 37 patches of 8 or 14 pixels. The proxied block hands on no class token,
    in the released code neither.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "proxyclip"
    architecture = ("vfm", "heads", *PROXYCLIP_SIZES)
    text_dim = "dim"
    pixels = IMAGENET_PIXELS

    def __init__(self, config: ProxyClipConfig, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.vfm = _vfm(config)

    @staticmethod
    def vision_tower(config: ProxyClipConfig) -> VisionTransformer:
        """Make CLIP's vision transformer; its head projects into the space."""
        return clip_vision(config.side, CLIP_PATCH, config)

    def placed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's own tensors, positions of both towers resampled to their grids."""
        own = super().placed(tensors)
        reference = self.config.compat == "reference"
        clip: Resampling = "offset" if reference else "antialias"
        # DINOv2 with registers resamples its positions as timm does; DINO with the offset that CLIP's got from it.
        vfm: Resampling = "offset" if reference and not self.registers else "antialias"
        towers = (
            ("vision.pos_embed", self.preprocessing.side // CLIP_PATCH, 1, clip),
            ("vfm.pos_embed", self.preprocessing.grid, 0 if self.registers else 1, vfm),
        )
        for name, grid, prefix, how in towers:
            if name in own:
                own[name] = at_grid(own[name], grid, prefix, how)
        return own

    @property
    def registers(self) -> int:
        """Register tokens of the other model."""
        return VFMS[self.config.vfm].registers

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, dim), each of length 1, of ImageNet's pixels (b, 3, side, side)."""
        grid = self.preprocessing.grid
        seen = self.vfm.forward_features(pixels)[:, self.vfm.num_prefix_tokens :]
        config = self.config
        weights = proxy_attention(seen, config.beta, config.gamma, whole_batch=config.whole_batch)
        values = interpolate(self.values(self.clip_pixels(pixels)), size=(grid, grid), mode="bilinear")
        patches = self.gathered(weights, values.flatten(2).transpose(1, 2))
        return Features(self.grid_of(normalize(patches, dim=-1)), frames)

    def clip_pixels(self, pixels: Tensor) -> Tensor:
        """Return pixels as CLIP was trained with them, out of ImageNet's, (b, 3, side, side)."""
        if not self.config.own_pixels:
            return pixels
        (mean, deviation), (clip_mean, clip_deviation) = (
            (pixels.new_tensor(values).view(3, 1, 1) for values in kind) for kind in (IMAGENET_PIXELS, CLIP_PIXELS)
        )
        return (pixels * deviation + mean - clip_mean) / clip_deviation

    def values(self, pixels: Tensor) -> Tensor:
        """Return the values of CLIP's last block, (b, width, g, g) without the class token, of its pixels."""
        vision = self.vision
        tokens: Tensor = vision.norm_pre(vision._pos_embed(vision.patch_embed(pixels)))
        for block in vision.blocks[:-1]:
            tokens = block(tokens)
        values = values_of(vision.blocks[-1], tokens)[:, 1:]
        side = self.preprocessing.side // CLIP_PATCH
        return values.transpose(1, 2).reshape(len(values), values.shape[2], side, side)

    def gathered(self, weights: Tensor, values: Tensor) -> Tensor:
        """Return what the end of CLIP makes of values (b, n, width) under attention (b, n, n): (b, n, dim).

        The attention is the same for every head, so that these need not be told apart.
        """
        mixed = self.vision.blocks[-1].attn.proj(weights.to(values.dtype) @ values)
        projected: Tensor = self.vision.head(self.vision.norm(mixed))
        return projected

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, dim), not normalised; what is beyond the context is cut, the end token kept."""
        return self.clip_texts(texts)


def proxy_attention(features: Tensor, beta: float, gamma: float, *, whole_batch: bool = False) -> Tensor:
    """Return how places are gathered, (b, n, n) in float32, rows summing to 1 (ProxyCLIP).

    Where everything is nearly alike, as in a picture of one colour, nothing may exceed ``beta`` times the mean. The
    released code divides by 0 there; here such a place gathers from all, as the softmax weighs them.

    Args:
        features: (b, n, d) patches of the other model.
        beta: How many times the mean similarity a similarity has to reach.
        gamma: Sharpness.
        whole_batch: Take one mean over all b pictures; each then depends on the others.
    """
    unit = normalize(features.float(), dim=-1)
    similar = unit @ unit.transpose(1, 2)
    mean = similar.mean() if whole_batch else similar.mean(dim=(1, 2), keepdim=True)
    logits = (similar - beta * mean) * gamma
    below = logits < 0
    below &= ~below.all(dim=-1, keepdim=True)
    weights: Tensor = logits.masked_fill(below, float("-inf")).softmax(dim=-1)
    return weights


def _vfm(config: ProxyClipConfig) -> VisionTransformer:
    """Make the other model, untrained; 64 to a head, as DINO and DINOv2 have it."""
    known = VFMS[config.vfm]
    return vision_transformer(
        img_size=config.side,
        patch_size=known.patch,
        embed_dim=config.size("vfm_width"),
        depth=config.size("vfm_layers"),
        num_classes=0,
        **({"init_values": 1e-5} if known.scale else {}),
        **({"reg_tokens": known.registers, "no_embed_class": True} if known.registers else {}),
    )
