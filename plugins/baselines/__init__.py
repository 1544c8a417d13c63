"""Baselines: what a captioner does without regional features or without a bridge.

This folder is also the pattern for a new plugin: specs here, options in ``configs.py``, a file for each idea.
"""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import STILL_REGIONS, ComponentSpec, PaperSpec, Port

_HERE = "regionkit.plugins.baselines"


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """A backbone of colours, region encoders that need no patches under the region, a bridge that does nothing."""
    return [
        ComponentSpec(
            kind="backbone",
            name="colours",
            target=f"{_HERE}.colours:Colours",
            config=f"{_HERE}.configs:ColoursConfig",
            summary="The mean colours of a grid, no weights: for decoders that look at pictures themselves",
            writes=Port("colours[4]"),
        ),
        ComponentSpec(
            kind="region_encoder",
            name="whole",
            target=f"{_HERE}.encoders:Whole",
            config=f"{_HERE}.configs:WholeConfig",
            summary="The vector of the whole picture, whatever the region",
            reads=Port("image"),
            writes=Port("image"),
            accepts=STILL_REGIONS,
        ),
        ComponentSpec(
            kind="region_encoder",
            name="crop",
            target=f"{_HERE}.encoders:Crop",
            config=f"{_HERE}.configs:CropConfig",
            summary="The vector of the picture cut out around the region, one forward pass a region",
            reads=Port("image"),
            writes=Port("image"),
            accepts=STILL_REGIONS,
        ),
        ComponentSpec(
            kind="region_encoder",
            name="drawn",
            target=f"{_HERE}.drawn:Drawn",
            config=f"{_HERE}.configs:DrawnConfig",
            summary="The vector of the whole picture with the region ringed, framed or left sharp, one pass a region",
            paper="red-circle",
            reads=Port("image"),
            writes=Port("image"),
            accepts=STILL_REGIONS,
        ),
        ComponentSpec(
            kind="region_encoder",
            name="picture",
            target=f"{_HERE}.picture:Picture",
            config=f"{_HERE}.configs:PictureConfig",
            summary="The region as a picture: crop, red circle, box, marks or blur, for decoders that read pictures",
            reads=Port("image"),
            writes=Port(form="views"),
            accepts=STILL_REGIONS,
        ),
        ComponentSpec(
            kind="bridge",
            name="none",
            target=f"{_HERE}.unbridged:Unbridged",
            config=f"{_HERE}.configs:UnbridgedConfig",
            summary="No bridge: image vectors straight to the decoder, under the name of text",
            reads=Port("image"),
            writes=Port("text"),
            relabels=True,
        ),
    ]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Where the visual prompts come from."""
    return [
        PaperSpec(
            key="red-circle",
            title="What does CLIP know about a red circle? Visual prompt engineering for VLMs",
            bibtex="""@inproceedings{shtedritski2023red,
  title     = {What does {CLIP} know about a red circle? Visual prompt engineering for {VLMs}},
  author    = {Shtedritski, Aleksandar and Rupprecht, Christian and Vedaldi, Andrea},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year      = {2023}
}""",
        ),
        PaperSpec(
            key="fine-grained-visual-prompting",
            title="Fine-Grained Visual Prompting",
            bibtex="""@inproceedings{yang2023finegrained,
  title     = {Fine-Grained Visual Prompting},
  author    = {Yang, Lingfeng and Wang, Yueze and Li, Xiang and Wang, Xinlong and Yang, Jian},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023}
}""",
        ),
    ]
