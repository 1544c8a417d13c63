"""Diffusion bridge: an image vector as a noisy text embedding, denoised by a model of texts alone.

Lee et al., Diffusion Bridge: Leveraging Diffusion Model to Reduce the Modality Gap Between Text and Vision for
Zero-Shot Image Captioning, CVPR 2025; the "+ Diffusion" rows of Patch-ioner, arXiv 2510.02898.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, GapBridge, WeightArtifact, iter_batches
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Space
from regionkit.core.stored import drawn_from, with_stored
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.patchioner.diffusion_config import ARCHITECTURE, DiffusionConfig
from regionkit.plugins.patchioner.diffusion_schedule import Schedule
from regionkit.plugins.patchioner.diffusion_unet import Unet1d

_IMAGE = "mean_image"


class Diffusion(nn.Module, GapBridge):
    """Centre a region's unit vector, denoise it towards the texts, and hand on a unit vector.

    What comes out lies in the text space with its mean taken off. A decoder of plain embeddings cannot read it: the
    decoder behind this bridge is trained on texts that :meth:`corrupt` noised and denoised, and is chosen by that.

    Args:
        config: Options.
        space: The text space whose embeddings it models, ``name[dim]``.
        reads: The image space, ``name[dim]``.
        with_image_mean: Whether there is a mean image vector.

    Attributes:
        mean_text: (d,) mean of unit text embeddings.
        mean_image: (d,) mean of unit image vectors, or None.

    Raises:
        FeatureError: The width of the space does not divide by 2 once for every level but the last.
    """

    mean_text: Tensor
    mean_image: Tensor | None

    def __init__(self, config: DiffusionConfig, space: str, reads: str = "", *, with_image_mean: bool = False) -> None:
        super().__init__()
        self.config = config
        self.space = space
        self.reads = reads
        dim = Space.parse(space).dim
        halvings = 2 ** (len(config.mults) - 1)
        if dim % halvings:
            raise FeatureError(
                f"bridge 'diffusion' halves its vectors {len(config.mults) - 1} times, and those of {space} do not "
                f"divide by {halvings}",
                "give it fewer levels: bridge.mults",
            )
        self.schedule = Schedule(config.timesteps)
        self.unet = Unet1d(config.dim, config.init_dim, config.mults, config.heads)
        self.register_buffer("mean_text", torch.zeros(dim))
        self.register_buffer(_IMAGE, torch.zeros(dim) if with_image_mean else None)

    @classmethod
    def build(cls, config: DiffusionConfig, context: BuildContext) -> Self:
        """Build with the weights of the context; untrained, from ``context.seed``, where ``weights: none`` asks for it.

        Raises:
            WeightsError: The weights are damaged or of another shape; or there are none, and nobody asked for that.
            FeatureError: As the constructor.
        """
        file = context.weights
        if file is None:
            if config.weights == "auto":  # recipes choose no weights for a bridge that only corrupts
                raise WeightsError(
                    "bridge 'diffusion' changes the texts of training with its own weights, and was given none",
                    "name them: bridge.weights: NAME; toolkit weights list shows which there are",
                )
            with drawn_from(context.seed):
                return cls(config, context.writes, context.reads)
        config = with_stored(
            config, _with_tuple(file.header.config), ARCHITECTURE, kind="bridge", source=str(file.path)
        )
        tensors = file.tensors()
        with drawn_from(context.seed):
            bridge = cls(config, context.writes, context.reads, with_image_mean=_IMAGE in tensors)
        load_into(bridge, tensors, file.path)
        return bridge.eval()

    def artifact(self) -> WeightArtifact:
        """Return the network and the means; the header says the spaces and the sizes."""
        config = {name: getattr(self.config, name) for name in ARCHITECTURE}
        header = WeightHeader(
            "bridge", "diffusion", self.reads, writes=self.space, config={**config, "mults": list(self.config.mults)}
        )
        return WeightArtifact(self.state_dict(), header)

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Take the mean of n unit text embeddings (n, d) as ``mean_text``; the network is trained by a recipe.

        Raises:
            FeatureError: An embedding is NaN, infinite or zero, has another width, or there is none.
        """
        self.mean_text.copy_(self._mean(embeddings, "text embeddings"))

    def fit_images(self, vectors: Tensor) -> None:
        """Take the mean of n unit image vectors (n, d) as ``mean_image``.

        Raises:
            FeatureError: As :meth:`fit`.
        """
        self.register_buffer(_IMAGE, self._mean(vectors, "image vectors").to(self.mean_text))

    @property
    def corruption(self) -> str:
        """What a decoder behind this bridge was trained with."""
        return self.config.corruption

    @torch.no_grad()
    def corrupt(self, embeddings: Tensor, generator: torch.Generator) -> Tensor:
        """Noise text embeddings (n, d) up to ``augment_step`` and denoise them again, to unit vectors (n, d).

        Raises:
            FeatureError: An embedding is NaN, infinite or zero, or has another width.
        """
        clean = self.centred(embeddings, self.mean_text, "embedding")
        # Drawn where the generator lives, so that a seed means the same noise on every device.
        noise = torch.randn(clean.shape, generator=generator, device=generator.device).to(clean)
        last = self.config.augment_step - (self.config.compat == "paper")
        noisy = self.schedule.noised(clean.unsqueeze(1), last, noise.unsqueeze(1))
        return self._unit_denoised(noisy, self.config.augment_step).to(embeddings)

    @torch.no_grad()
    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Denoise tokens (r, t, d) from ``inference_step`` on; padding becomes zero.

        Raises:
            FeatureError: A token is NaN, infinite or zero, or has another width.
            WeightsError: The mean image vector is asked for, and the weights hold none.
        """
        kept = tokens.mask.to(tokens.tokens.device)
        values = self.centred(tokens.tokens[kept], self._mean_of_images(), "vector", tokens.mask)
        bridged = torch.zeros_like(tokens.tokens, dtype=torch.float32)
        if len(values):
            bridged[kept] = self._unit_denoised(values.unsqueeze(1), self.config.inference_step).to(bridged)
        return replace(tokens, tokens=bridged.to(tokens.tokens.dtype), space=self.space or tokens.space)

    def centred(self, values: Tensor, mean: Tensor, what: str, mask: Tensor | None = None) -> Tensor:
        """Return vectors (n, d) as the network reads them: scale * unit(unit(v) - mean), in float32, on its device.

        Args:
            values: The vectors.
            mean: (d,) what is taken off.
            what: What messages call one of them.
            mask: (r, t) where the vectors stand among the tokens of r regions, for messages.

        Raises:
            FeatureError: One is NaN, infinite or zero, or they have another width.
        """
        if values.shape[-1] != len(self.mean_text):
            raise FeatureError(
                f"bridge 'diffusion' got vectors of width {values.shape[-1]}, it was made for {self.space}",
                "train one for this backbone: toolkit train with the recipe text-diffusion",
            )
        values = values.to(self.mean_text.device, torch.float32)
        norms = values.norm(dim=-1, keepdim=True)
        fine = (torch.isfinite(norms) & (norms > 0)).flatten()
        if not bool(fine.all()):
            first = int((~fine).nonzero()[0])
            where = f"{what} {first}" if mask is None else f"a {what} for region {int(mask.nonzero()[first, 0])}"
            raise FeatureError(
                f"bridge 'diffusion' got {where} that is NaN, infinite or zero",
                "check the features it reads; half precision can overflow: try float32",
            )
        return self.config.scale * normalize(values / norms - mean.float(), dim=-1)

    def _unit_denoised(self, noisy: Tensor, start: int) -> Tensor:
        """Return the unit vectors (n, d) that noisy ones (n, 1, d) lead to, ``config.batch`` at a time, in float32."""
        config = self.config
        kind = self.mean_text.dtype

        def predict(vectors: Tensor, step: Tensor) -> Tensor:
            found: Tensor = self.unet(vectors.to(kind), step)
            return found.float()

        parts = [
            self.schedule.denoised(noisy[part], start, config.steps, config.scale, predict)
            for part in iter_batches(len(noisy), config.batch)
        ]
        return normalize(torch.cat([*parts, noisy[:0]]).squeeze(1), dim=-1)

    def _mean_of_images(self) -> Tensor:
        if self.config.image_mean == "text" or (self.config.image_mean == "auto" and self.mean_image is None):
            return self.mean_text
        if self.mean_image is None:
            raise WeightsError(
                "bridge 'diffusion' was asked to take off the mean image vector, and its weights hold none",
                "take off that of texts: bridge.image_mean: text; or train it with the recipe text-diffusion-pictures",
            )
        return self.mean_image

    def _mean(self, values: Tensor, what: str) -> Tensor:
        if not len(values):
            raise FeatureError(f"bridge 'diffusion' cannot take the mean of no {what}")
        self.centred(values, self.mean_text, "vector")  # refuses what has no direction
        return normalize(values.double(), dim=-1).mean(0).to(self.mean_text)


def _with_tuple(stored: object) -> dict[str, object]:
    """Return the options of a header with ``mults`` as the config has it: JSON knows lists alone."""
    options = dict(stored)  # type: ignore[call-overload]
    return {**options, "mults": tuple(options["mults"])} if "mults" in options else options
