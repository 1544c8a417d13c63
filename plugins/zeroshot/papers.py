"""The papers whose ideas live in this plugin, as `toolkit cite` prints them."""

from __future__ import annotations

from regionkit.core.spec import PaperSpec

PAPERS = (
    PaperSpec(
        key="clipcap",
        title="ClipCap: CLIP Prefix for Image Captioning",
        bibtex="""@article{mokady2021clipcap,
  title   = {ClipCap: CLIP Prefix for Image Captioning},
  author  = {Mokady, Ron and Hertz, Amir and Bermano, Amit H.},
  journal = {arXiv preprint arXiv:2111.09734},
  year    = {2021}
}""",
    ),
)
