"""How the tiny backbones are made: contrast between pictures and captions of the mini-world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from regionkit.core.contracts import BuildContext, Recipe, TrainSettings, WeightArtifact
from regionkit.core.errors import RegionkitError
from regionkit.core.weights import WeightHeader
from regionkit.plugins.mini.backbones import MiniBackbone
from regionkit.plugins.mini.captions import corpus, split_caption
from regionkit.plugins.mini.config import MiniContrastConfig
from regionkit.plugins.mini.layout import SIDE, Draws
from regionkit.plugins.mini.networks import Seen, to_pixels
from regionkit.plugins.mini.objectives import contrast, parts_of_phrases, phrases_to_pictures, pick, unit
from regionkit.plugins.mini.views import show

#: Cosines are never multiplied by more than this.
_LARGEST_SCALE = 100.0
#: Texts without pictures come from a corpus of this seed, which no shipped bank or decoder uses.
_TEXT_SEED = 77


@dataclass(frozen=True)
class MiniBatch:
    """Pictures with a caption each, and texts that belong to none of them.

    Two sentences that say the same in other words or another order have the same meaning number.

    Attributes:
        pixels: (b, 96, 96, 3) bytes.
        ids: (s, l) word ids of the different sentences: captions, their phrases (ground included), other texts.
        meaning: (s,) meaning number of each sentence.
        caption: (b,) row of each picture's caption in ``ids``.
        phrase: (p,) row of each phrase in ``ids``.
        owner: (p,) picture of each phrase.
        lots: (p,) numbers in [0, 1).
        areas: (p, 12, 12) parts of each patch that the objects of a phrase cover, in [0, 1].
    """

    pixels: Tensor
    ids: Tensor
    meaning: Tensor
    caption: Tensor
    phrase: Tensor
    owner: Tensor
    lots: Tensor
    areas: Tensor


class MiniContrast(Recipe):
    """Train a mini backbone on pictures that come with one caption each.

    No region is given, only words; the objective ``regions`` alone is told which patches the objects of a phrase cover.
    """

    def __init__(self, config: MiniContrastConfig, backbone: MiniBackbone, seed: int) -> None:
        """Train ``backbone`` with pictures of ``seed``.

        Raises:
            RegionkitError: The backbone is asked for at another resolution.
        """
        if backbone.side != SIDE:
            raise RegionkitError(
                f"backbone.resolution: {backbone.side} is no size to train at, mini-contrast paints {SIDE} pixels",
                "leave it out here, and set it where the trained backbone is used",
            )
        self.config = config
        self.backbone = backbone
        self.seed = seed
        self.texts = tuple(corpus(_TEXT_SEED + seed, config.texts))
        backbone.network.stem.to(memory_format=torch.channels_last)
        backbone.train()
        self.settings = TrainSettings(config.steps, config.learning_rate, config.weight_decay, warmup=100)

    @classmethod
    def build(cls, config: MiniContrastConfig, context: BuildContext) -> Self:
        """Take the backbone to train from ``context.parts``."""
        return cls(config, context.parts["backbone"], context.seed)

    @property
    def module(self) -> nn.Module:
        """Return the network."""
        return self.backbone.network

    def batch(self, step: int) -> MiniBatch:
        """Paint the pictures of a step; no picture is ever shown twice."""
        size = self.config.batch_size
        draws = Draws(17, self.seed, step)
        places = range(step * size, (step + 1) * size)
        shown = [show(self.seed, at, self.config.rescaled) for at in places]
        captions = [one.caption for one in shown]
        pairs = [(at, phrase) for at, caption in enumerate(captions) for phrase in split_caption(caption)]
        others = [draws.pick(self.texts) for _ in range(self.config.other_texts)]
        sentences = list(dict.fromkeys([*captions, *(text for _, text in pairs), *others]))
        rows = {text: row for row, text in enumerate(sentences)}
        meanings = {key: number for number, key in enumerate(dict.fromkeys(map(_meaning, sentences)))}
        return MiniBatch(
            pixels=torch.from_numpy(np.stack([one.pixels for one in shown])),
            ids=torch.tensor(self.backbone.network.text.ids(sentences)),
            meaning=torch.tensor([meanings[_meaning(text)] for text in sentences]),
            caption=torch.tensor([rows[text] for text in captions]),
            phrase=torch.tensor([rows[text] for _, text in pairs]),
            owner=torch.tensor([at for at, _ in pairs]),
            lots=torch.tensor([draws.below(1 << 20) / (1 << 20) for _ in pairs]),
            areas=torch.from_numpy(np.concatenate([one.areas() for one in shown])),
        )

    def loss(self, batch: MiniBatch) -> tuple[Tensor, Mapping[str, float]]:
        """Add up the objectives of this backbone, all weighted alike."""
        network = self.backbone.network
        batch = _to(batch, network.logit_scale.device)
        seen = network(to_pixels(batch.pixels))
        texts = unit(network.text(batch.ids))
        scale = network.logit_scale.exp().clamp(max=_LARGEST_SCALE)
        right = batch.meaning[batch.caption][:, None] == batch.meaning
        losses: dict[str, Tensor] = {}
        for objective in network.config.objectives:
            if objective == "phrases":
                losses |= _phrase_losses(batch, seen, texts, scale)
            elif objective == "regions":
                losses[objective] = _region_loss(batch, seen, texts, scale)
            else:
                picture = seen.cls if objective == "cls" and seen.cls is not None else seen.patches.mean(dim=(1, 2))
                losses[objective] = contrast(scale * unit(picture) @ texts.T, right)
        return torch.stack(list(losses.values())).sum(), {name: loss.item() for name, loss in losses.items()}

    def export(self) -> Sequence[WeightArtifact]:
        """Return the network with both towers."""
        name = self.backbone.name
        header = WeightHeader(
            kind="backbone",
            name=name,
            space=self.backbone.space,
            writes=self.backbone.text_space,
            corpus="mini-world/train",
            recipe=f"toolkit train examples/recipes/{name}.yaml",
        )
        return [WeightArtifact(self.backbone.network.state_dict(), header)]


def _phrase_losses(batch: MiniBatch, seen: Seen, texts: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """Return the two losses between phrases and patches.

    ``phrases``: a phrase picks its pictures. ``parts``: what pooling makes of its patches picks it among all texts.
    """
    phrases, meaning = texts[batch.phrase], batch.meaning[batch.phrase]
    holds = torch.zeros(len(phrases), len(batch.pixels), device=texts.device)
    holds.scatter_(1, batch.owner[:, None], 1.0)
    holds = (meaning[:, None] == meaning).float() @ holds > 0
    across = phrases_to_pictures(unit(seen.patches).flatten(1, 2), phrases, holds, scale)
    parts = unit(parts_of_phrases(seen.patches[batch.owner], phrases, batch.lots))
    right = meaning[:, None] == batch.meaning
    picked = torch.stack([pick(scale * part @ texts.T, right) for part in parts]).mean()
    return {"phrases": across, "parts": picked}


def _region_loss(batch: MiniBatch, seen: Seen, texts: Tensor, scale: Tensor) -> Tensor:
    """Return the loss of the mean of the patches that the objects of a phrase cover, which picks it among all texts."""
    regions = unit(torch.einsum("phw,phwd->pd", batch.areas, seen.patches[batch.owner]))
    return pick(scale * regions @ texts.T, batch.meaning[batch.phrase][:, None] == batch.meaning)


def _meaning(sentence: str) -> tuple[str, ...]:
    """Return what a sentence says whatever its wording: its phrases, sorted."""
    return tuple(sorted(split_caption(sentence)))


def _to(batch: MiniBatch, device: torch.device) -> MiniBatch:
    """Move a batch to a device."""
    return MiniBatch(**{name: value.to(device) for name, value in vars(batch).items()})
