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
    PaperSpec(
        key="close",
        title="I Can't Believe There's No Images! Learning Visual Tasks Using only Language Supervision",
        bibtex="""@inproceedings{gu2023close,
  title     = {I Can't Believe There's No Images! Learning Visual Tasks Using only Language Supervision},
  author    = {Gu, Sophia and Clark, Christopher and Kembhavi, Aniruddha},
  booktitle = {ICCV},
  year      = {2023},
  note      = {arXiv:2211.09778}
}""",
    ),
    PaperSpec(
        key="ifcap",
        title="IFCap: Image-like Retrieval and Frequency-based Entity Filtering for Zero-shot Captioning",
        bibtex="""@inproceedings{lee2024ifcap,
  title     = {IFCap: Image-like Retrieval and Frequency-based Entity Filtering for Zero-shot Captioning},
  author    = {Lee, Soeun and Kim, Si-Woo and Kim, Taewhan and Kim, Dong-Jin},
  booktitle = {EMNLP},
  year      = {2024},
  note      = {arXiv:2409.18046}
}""",
    ),
    PaperSpec(
        key="viecap",
        title="Transferable Decoding with Visual Entities for Zero-Shot Image Captioning",
        bibtex="""@inproceedings{fei2023viecap,
  title     = {Transferable Decoding with Visual Entities for Zero-Shot Image Captioning},
  author    = {Fei, Junjie and Wang, Teng and Zhang, Jinrui and He, Zhenyu and Wang, Chengjie and Zheng, Feng},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2023}
}""",
    ),
    PaperSpec(
        key="meacap",
        title="MeaCap: Memory-Augmented Zero-shot Image Captioning",
        bibtex="""@inproceedings{zeng2024meacap,
  title     = {MeaCap: Memory-Augmented Zero-shot Image Captioning},
  author    = {Zeng, Zequn and Xie, Yan and Zhang, Hao and Chen, Chiyu and Chen, Bo and Wang, Zhengjue},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2024}
}""",
    ),
    PaperSpec(
        key="magic",
        title="Language Models Can See: Plugging Visual Controls in Text Generation",
        bibtex="""@article{su2022magic,
  title   = {Language Models Can See: Plugging Visual Controls in Text Generation},
  author  = {Su, Yixuan and Lan, Tian and Liu, Yahui and Liu, Fangyu and Yogatama, Dani and Wang, Yan and
             Kong, Lingpeng and Collier, Nigel},
  journal = {arXiv preprint arXiv:2205.02655},
  year    = {2022}
}""",
    ),
    PaperSpec(
        key="zerocap",
        title="ZeroCap: Zero-Shot Image-to-Text Generation for Visual-Semantic Arithmetic",
        bibtex="""@inproceedings{tewel2022zerocap,
  title     = {ZeroCap: Zero-Shot Image-to-Text Generation for Visual-Semantic Arithmetic},
  author    = {Tewel, Yoad and Shalev, Yoav and Schwartz, Idan and Wolf, Lior},
  booktitle = {CVPR},
  pages     = {17918--17928},
  year      = {2022}
}""",
    ),
)
