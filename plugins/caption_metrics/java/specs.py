"""Specs of the metrics of official Java programs."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.java"

COMPONENTS: list[ComponentSpec] = [
    ComponentSpec(
        kind="metric",
        name="meteor",
        target=f"{_HERE}.meteor:Meteor",
        config=f"{_HERE}.configs:MeteorConfig",
        summary="METEOR 1.5 by the official program: words, stems, synonyms, paraphrases (0 to 1; needs Java)",
        paper="meteor",
        extra="meteor",
        programs=("java",),
        license="Apache-2.0 (runs an LGPL program)",
    ),
    ComponentSpec(
        kind="metric",
        name="spice",
        target=f"{_HERE}.spice:Spice",
        config=f"{_HERE}.configs:SpiceConfig",
        summary="SPICE by the official program: F-score of scene graphs (0 to 1; needs Java and CoreNLP)",
        paper="spice",
        extra="meteor",
        programs=("java",),
        license="Apache-2.0 (runs AGPL and GPL programs)",
    ),
]

PAPERS: list[PaperSpec] = [
    PaperSpec(
        key="meteor",
        title="Meteor Universal: Language Specific Translation Evaluation for Any Target Language",
        bibtex="""@inproceedings{denkowski2014meteor,
  title     = {Meteor Universal: Language Specific Translation Evaluation for Any Target Language},
  author    = {Denkowski, Michael and Lavie, Alon},
  booktitle = {Proceedings of the Ninth Workshop on Statistical Machine Translation},
  year      = {2014}
}""",
    ),
    PaperSpec(
        key="spice",
        title="SPICE: Semantic Propositional Image Caption Evaluation",
        bibtex="""@inproceedings{anderson2016spice,
  title     = {{SPICE}: Semantic Propositional Image Caption Evaluation},
  author    = {Anderson, Peter and Fernando, Basura and Johnson, Mark and Gould, Stephen},
  booktitle = {Proceedings of the European Conference on Computer Vision},
  year      = {2016}
}""",
    ),
]
