"""Specs of the metrics over words that captions share with references."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.overlap"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="bleu",
        target=f"{_HERE}.metrics:Bleu",
        config=f"{_HERE}.configs:BleuConfig",
        summary="BLEU-1 to BLEU-4: share of n-grams that a reference holds, with a brevity penalty (0 to 1)",
        paper="bleu",
    ),
    ComponentSpec(
        kind="metric",
        name="rouge-l",
        target=f"{_HERE}.metrics:RougeL",
        config=f"{_HERE}.configs:RougeLConfig",
        summary="F measure of the longest common subsequence with the references (0 to 1)",
        paper="rouge",
    ),
    ComponentSpec(
        kind="metric",
        name="cider-d",
        target=f"{_HERE}.metrics:CiderD",
        config=f"{_HERE}.configs:CiderDConfig",
        summary="Consensus of n-grams with the references, weighted by how rare they are (0 to 10)",
        paper="cider",
    ),
]

PAPERS: list[PaperSpec] = [
    PaperSpec(
        key="bleu",
        title="BLEU: a Method for Automatic Evaluation of Machine Translation",
        bibtex="""@inproceedings{papineni2002bleu,
  title     = {{BLEU}: a Method for Automatic Evaluation of Machine Translation},
  author    = {Papineni, Kishore and Roukos, Salim and Ward, Todd and Zhu, Wei-Jing},
  booktitle = {Proceedings of the 40th Annual Meeting of the Association for Computational Linguistics},
  pages     = {311--318},
  year      = {2002}
}""",
    ),
    PaperSpec(
        key="rouge",
        title="ROUGE: A Package for Automatic Evaluation of Summaries",
        bibtex="""@inproceedings{lin2004rouge,
  title     = {{ROUGE}: A Package for Automatic Evaluation of Summaries},
  author    = {Lin, Chin-Yew},
  booktitle = {Text Summarization Branches Out},
  pages     = {74--81},
  year      = {2004}
}""",
    ),
    PaperSpec(
        key="cider",
        title="CIDEr: Consensus-based Image Description Evaluation",
        bibtex="""@inproceedings{vedantam2015cider,
  title     = {CIDEr: Consensus-based Image Description Evaluation},
  author    = {Vedantam, Ramakrishna and Zitnick, C. Lawrence and Parikh, Devi},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2015}
}""",
    ),
]
