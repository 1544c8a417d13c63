"""ViZer: captions get better without captions, by agreeing with what the vision encoder saw.

Byun et al., Unifying Vision-Language Latents for Zero-label Image Caption Enhancement, arXiv 2510.12931.
It is no part of a captioner's forward pass but an objective: a mapper, and two recipes.
"""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, PaperSpec, Port

_HERE = "regionkit.plugins.vizer"
_PARTS = ("backbone", "region_encoder", "bridge", "decoder", "dataset", "mapper:bridge")


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The mapper and the two stages."""
    return [
        ComponentSpec(
            kind="bridge",
            name="mapper",
            target=f"{_HERE}.mapper:Mapper",
            config=f"{_HERE}.configs:MapperConfig",
            summary="From a decoder's hidden states of a caption to visual features, for ViZer's recipes",
            paper="vizer",
            reads=Port("weights", many=True),
            writes=Port("image"),
            weights="index",
            tiny="{weights: none, width: 16}",
        ),
        ComponentSpec(
            kind="recipe",
            name="mapper-alignment",
            target=f"{_HERE}.alignment:MapperAlignment",
            config=f"{_HERE}.configs:AlignmentConfig",
            summary="ViZer's first stage: train a mapper from captions to visual features, all else frozen",
            paper="vizer",
            needs=_PARTS,
            trains=("mapper",),
            tiny="{steps: 2, batch_size: 4}",
        ),
        ComponentSpec(
            kind="recipe",
            name="zero-label",
            target=f"{_HERE}.zero_label:ZeroLabel",
            config=f"{_HERE}.configs:ZeroLabelConfig",
            summary="ViZer's second stage: train a decoder's adapter on pictures without captions",
            paper="vizer",
            needs=_PARTS,
            trains=("decoder",),
            tiny="{steps: 2, batch_size: 4, max_tokens: 6}",
        ),
    ]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """The paper."""
    return [
        PaperSpec(
            key="vizer",
            title="Unifying Vision-Language Latents for Zero-label Image Caption Enhancement",
            bibtex="""@article{byun2025unifying,
  title   = {Unifying Vision-Language Latents for Zero-label Image Caption Enhancement},
  author  = {Byun, Sanghyun and Guack, Jung and Odema, Mohanad and Lee, Baisub and Song, Jacob and Chung, Woo Seong},
  journal = {arXiv preprint arXiv:2510.12931},
  year    = {2025}
}""",
        ),
    ]
