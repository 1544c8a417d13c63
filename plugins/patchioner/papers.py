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
        key="siglip2",
        title="SigLIP 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding, Localization, and "
        "Dense Features",
        bibtex="""@article{tschannen2025siglip2,
  title   = {{SigLIP} 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding, Localization, and
             Dense Features},
  author  = {Tschannen, Michael and Gritsenko, Alexey and Wang, Xiao and Naeem, Muhammad Ferjad and
             Alabdulmohsin, Ibrahim and Parthasarathy, Nikhil and Evans, Talfan and Beyer, Lucas and Xia, Ye and
             Mustafa, Basil and H{\\'e}naff, Olivier and Harmsen, Jeremiah and Steiner, Andreas and Zhai, Xiaohua},
  journal = {arXiv preprint arXiv:2502.14786},
  year    = {2025}
}""",
    ),
    PaperSpec(
        key="dinotxt",
        title="DINOv2 Meets Text: A Unified Framework for Image- and Pixel-Level Vision-Language Alignment",
        bibtex="""@inproceedings{jose2025dinov2,
  title     = {DINOv2 Meets Text: A Unified Framework for Image- and Pixel-Level Vision-Language Alignment},
  author    = {Jose, Cijo and Moutakanni, Th{\\'e}o and Kang, Dahyun and Baldassarre, Federico and Darcet, Timoth{\\'e}e
               and Xu, Hu and Li, Daniel and Szafraniec, Marc and Ramamonjisoa, Micha{\\"e}l and Oquab, Maxime and
               Sim{\\'e}oni, Oriane and Vo, Huy V. and Labatut, Patrick and Bojanowski, Piotr},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2025}
}""",
    ),
    PaperSpec(
        key="regionclip",
        title="RegionCLIP: Region-based Language-Image Pretraining",
        bibtex="""@inproceedings{zhong2022regionclip,
  title     = {RegionCLIP: Region-based Language-Image Pretraining},
  author    = {Zhong, Yiwu and Yang, Jianwei and Zhang, Pengchuan and Li, Chunyuan and Codella, Noel and
               Li, Liunian Harold and Zhou, Luowei and Dai, Xiyang and Yuan, Lu and Li, Yin and Gao, Jianfeng},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2022}
}""",
    ),
    PaperSpec(
        key="invite",
        title="INViTE: INterpret and Control Vision-Language Models with Text Explanations",
        bibtex="""@inproceedings{chen2024invite,
  title     = {{INViTE}: {INterpret} and Control Vision-Language Models with Text Explanations},
  author    = {Chen, Haozhe and Yang, Junfeng and Vondrick, Carl and Mao, Chengzhi},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}""",
    ),
    PaperSpec(
        key="proxyclip",
        title="ProxyCLIP: Proxy Attention Improves CLIP for Open-Vocabulary Segmentation",
        bibtex="""@inproceedings{lan2024proxyclip,
  title     = {{ProxyCLIP}: Proxy Attention Improves {CLIP} for Open-Vocabulary Segmentation},
  author    = {Lan, Mengcheng and Chen, Chaofeng and Ke, Yiping and Wang, Xinjiang and Feng, Litong and Zhang, Wayne},
  booktitle = {European Conference on Computer Vision},
  year      = {2024}
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
    PaperSpec(
        key="diffusionbridge",
        title="Diffusion Bridge: Leveraging Diffusion Model to Reduce the Modality Gap Between Text and Vision for "
        "Zero-Shot Image Captioning",
        bibtex="""@inproceedings{lee2025diffusion,
  title     = {Diffusion Bridge: Leveraging Diffusion Model to Reduce the Modality Gap Between Text and Vision for
               Zero-Shot Image Captioning},
  author    = {Lee, Jeong Ryong and Shin, Yejee and Son, Geonhui and Hwang, Dosik},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages     = {4050--4059},
  year      = {2025}
}""",
    ),
    PaperSpec(
        key="denseclip",
        title="DenseCLIP: Language-Guided Dense Prediction with Context-Aware Prompting",
        bibtex="""@inproceedings{rao2022denseclip,
  title     = {DenseCLIP: Language-Guided Dense Prediction with Context-Aware Prompting},
  author    = {Rao, Yongming and Zhao, Wenliang and Chen, Guangyi and Tang, Yansong and Zhu, Zheng and Huang, Guan and
               Zhou, Jie and Lu, Jiwen},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages     = {18082--18091},
  year      = {2022}
}""",
    ),
    PaperSpec(
        key="alphaclip",
        title="Alpha-CLIP: A CLIP Model Focusing on Wherever You Want",
        bibtex="""@inproceedings{sun2024alphaclip,
  title     = {Alpha-CLIP: A CLIP Model Focusing on Wherever You Want},
  author    = {Sun, Zeyi and Fang, Ye and Wu, Tong and Zhang, Pan and Zang, Yuhang and Kong, Shu and Xiong, Yuanjun and
               Lin, Dahua and Wang, Jiaqi},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages     = {13019--13029},
  year      = {2024}
}""",
    ),
)
