"""RegionVLM: points as text steer a Q-Former, whose outputs a T5 turns into captions of what was pointed at.

Lee et al., Toward Interactive Regional Understanding in Vision-Large Language Models, NAACL 2024, arXiv 2403.18260.
"""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, PaperSpec
from regionkit.plugins.regionvlm.seq2seq_spec import SEQ2SEQ_TOKENS
from regionkit.plugins.regionvlm.specs import COMPONENTS


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """Region encoder, bridge and decoder."""
    return [*COMPONENTS, SEQ2SEQ_TOKENS]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Return the paper whose ideas live in this plugin."""
    return [
        PaperSpec(
            key="regionvlm",
            title="Toward Interactive Regional Understanding in Vision-Large Language Models",
            bibtex="""@inproceedings{lee2024regionvlm,
  title     = {Toward Interactive Regional Understanding in Vision-Large Language Models},
  author    = {Lee, Jungbeom and Chun, Sanghyuk and Yun, Sangdoon},
  booktitle = {Conference of the North American Chapter of the Association for Computational Linguistics},
  year      = {2024}
}""",
        ),
    ]
