"""The papers whose ideas live in this plugin, as `toolkit cite` prints them."""

from __future__ import annotations

from regionkit.core.spec import PaperSpec

PAPERS = (
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
        key="talk2dino",
        title="Talking to DINO: Bridging Self-Supervised Vision Backbones with Language for Open-Vocabulary "
        "Segmentation",
        bibtex="""@inproceedings{barsellotti2025talking,
  title     = {Talking to DINO: Bridging Self-Supervised Vision Backbones with Language for Open-Vocabulary
               Segmentation},
  author    = {Barsellotti, Luca and Bianchi, Lorenzo and Messina, Nicola and Carrara, Fabio and Cornia, Marcella and
               Baraldi, Lorenzo and Falchi, Fabrizio and Cucchiara, Rita},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year      = {2025}
}""",
    ),
    PaperSpec(
        key="clip",
        title="Learning Transferable Visual Models From Natural Language Supervision",
        bibtex="""@inproceedings{radford2021learning,
  title     = {Learning Transferable Visual Models From Natural Language Supervision},
  author    = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and
               Agarwal, Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and
               Krueger, Gretchen and Sutskever, Ilya},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
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
)
