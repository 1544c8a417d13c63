"""Patch-ioner: zero-shot captioning of any set of patches.

Bianchi et al., One Patch to Caption Them All: A Unified Zero-Shot Captioning Framework, arXiv 2510.02898.
"""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import STILL_REGIONS, ComponentSpec, PaperSpec, Port

_HERE = "regionkit.plugins.patchioner"


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """Pooling over patches, the two bridges and the decoder that the mini-world needs."""
    return [
        ComponentSpec(
            kind="region_encoder",
            name="patch-pool",
            target=f"{_HERE}.patch_pool:PatchPool",
            config=f"{_HERE}.configs:PatchPoolConfig",
            summary="Weighted mean of the patches under a region",
            paper="patchioner",
            reads=Port("image"),
            writes=Port("image"),
            accepts=STILL_REGIONS,
        ),
        ComponentSpec(
            kind="bridge",
            name="memory",
            target=f"{_HERE}.memory:Memory",
            config=f"{_HERE}.configs:MemoryConfig",
            summary="Projection onto a bank of text embeddings, softmax-weighted",
            paper="decap",
            reads=Port("image"),
            writes=Port("text"),
            needs=("corpus",),
            weights="index",
        ),
        ComponentSpec(
            kind="bridge",
            name="noise",
            target=f"{_HERE}.noise:Noise",
            config=f"{_HERE}.configs:NoiseConfig",
            summary="Gaussian noise on the text embeddings of training, nothing at inference",
            paper="capdec",
            reads=Port("image"),
            writes=Port("text"),
        ),
        ComponentSpec(
            kind="decoder",
            name="decap",
            target=f"{_HERE}.decap:Decap",
            config=f"{_HERE}.decap_config:DecapConfig",
            summary="GPT-2 type decoder with one prefix token, trained on text only",
            paper="decap",
            reads=Port("weights"),
            weights="index",
        ),
        ComponentSpec(
            kind="recipe",
            name="text-only",
            target=f"{_HERE}.text_only:TextOnly",
            config=f"{_HERE}.decap_config:TextOnlyConfig",
            summary="Train a decoder to write a sentence back from its own embedding",
            paper="decap",
            needs=("backbone", "bridge", "decoder", "corpus"),
            trains="decoder",
        ),
    ]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Papers whose ideas live in this plugin."""
    return [
        PaperSpec(
            key="patchioner",
            title="One Patch to Caption Them All: A Unified Zero-Shot Captioning Framework",
            bibtex="""@article{bianchi2025patchioner,
  title   = {One Patch to Caption Them All: A Unified Zero-Shot Captioning Framework},
  author  = {Bianchi, Lorenzo and Pacini, Giacomo and Carrara, Fabio and Messina, Nicola and
             Amato, Giuseppe and Falchi, Fabrizio},
  journal = {arXiv preprint arXiv:2510.02898},
  year    = {2025}
}""",
        ),
        PaperSpec(
            key="decap",
            title="DeCap: Decoding CLIP Latents for Zero-Shot Captioning via Text-Only Training",
            bibtex="""@inproceedings{li2023decap,
  title     = {DeCap: Decoding CLIP Latents for Zero-Shot Captioning via Text-Only Training},
  author    = {Li, Wei and Zhu, Linchao and Wen, Longyin and Yang, Yi},
  booktitle = {International Conference on Learning Representations},
  year      = {2023}
}""",
        ),
        PaperSpec(
            key="capdec",
            title="Text-Only Training for Image Captioning using Noise-Injected CLIP",
            bibtex="""@inproceedings{nukrai2022capdec,
  title     = {Text-Only Training for Image Captioning using Noise-Injected CLIP},
  author    = {Nukrai, David and Mokady, Ron and Globerson, Amir},
  booktitle = {Findings of the Association for Computational Linguistics: EMNLP},
  year      = {2022}
}""",
        ),
    ]
