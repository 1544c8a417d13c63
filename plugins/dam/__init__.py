"""Describe Anything: a focal prompt, a localized vision backbone and a language model that reads its tokens.

Lian et al., Describe Anything: Detailed Localized Image and Video Captioning, arXiv 2504.16072.
"""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, PaperSpec
from regionkit.plugins.dam.lm_spec import LM_TOKENS
from regionkit.plugins.dam.specs import COMPONENTS


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """A vision tower, the focal prompt between its blocks, the projector and the language model."""
    return [*COMPONENTS, LM_TOKENS]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Papers whose ideas live in this plugin."""
    return [
        PaperSpec(
            key="dam",
            title="Describe Anything: Detailed Localized Image and Video Captioning",
            bibtex="""@article{lian2025describe,
  title   = {Describe Anything: Detailed Localized Image and Video Captioning},
  author  = {Lian, Long and Ding, Yifan and Ge, Yunhao and Liu, Sifei and Mao, Hanzi and Li, Boyi and Pavone, Marco and
             Liu, Ming-Yu and Darrell, Trevor and Yala, Adam and Cui, Yin},
  journal = {arXiv preprint arXiv:2504.16072},
  year    = {2025}
}""",
        ),
        PaperSpec(
            key="siglip",
            title="Sigmoid Loss for Language Image Pre-Training",
            bibtex="""@inproceedings{zhai2023sigmoid,
  title     = {Sigmoid Loss for Language Image Pre-Training},
  author    = {Zhai, Xiaohua and Mustafa, Basil and Kolesnikov, Alexander and Beyer, Lucas},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year      = {2023}
}""",
        ),
    ]
