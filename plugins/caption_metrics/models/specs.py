"""Specs of the metrics that judge with a model."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.models"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="image-text-cosine",
        target=f"{_HERE}.agreement:ImageTextCosine",
        config=f"{_HERE}.configs:ImageTextCosineConfig",
        summary="Cosine of a caption and the whole picture in a backbone that is no part of the pipeline (-1 to 1)",
        paper="clipscore",
        needs=("backbone",),
        tiny="{backbone: stand-in}",
    ),
    ComponentSpec(
        kind="metric",
        name="clipscore",
        target=f"{_HERE}.clip_scores:ClipScore",
        config=f"{_HERE}.configs:ClipScoreConfig",
        summary="Agreement of a caption with its picture in CLIP's eyes (0 to 2.5)",
        paper="clipscore",
        needs=("backbone",),
        tiny="{backbone: stand-in}",
    ),
    ComponentSpec(
        kind="metric",
        name="ref-clipscore",
        target=f"{_HERE}.clip_scores:RefClipScore",
        config=f"{_HERE}.configs:RefClipScoreConfig",
        summary="CLIPScore and the likeness to the nearest reference, their harmonic mean",
        paper="clipscore",
        needs=("backbone",),
        tiny="{backbone: stand-in}",
    ),
    ComponentSpec(
        kind="metric",
        name="pac-s",
        target=f"{_HERE}.clip_scores:PacScore",
        config=f"{_HERE}.configs:PacScoreConfig",
        summary="Agreement of a caption with its picture in a CLIP tuned to judge captions (0 to 2)",
        paper="pac-s",
        needs=("backbone",),
        tiny="{backbone: stand-in}",
    ),
    ComponentSpec(
        kind="metric",
        name="ref-pac-s",
        target=f"{_HERE}.clip_scores:RefPacScore",
        config=f"{_HERE}.configs:RefPacScoreConfig",
        summary="PAC-S and the likeness to the nearest reference, their harmonic mean",
        paper="pac-s",
        needs=("backbone",),
        tiny="{backbone: stand-in}",
    ),
    ComponentSpec(
        kind="metric",
        name="bert-score",
        target=f"{_HERE}.bert_score:BertScore",
        config=f"{_HERE}.configs:BertScoreConfig",
        summary="F1 of tokens matched by their states in a text encoder, against the best reference",
        paper="bert-score",
        weights="index",
        reader=f"{_HERE}.encoder_layouts:read_bert",
        checkpoints=(
            Checkpoint(
                role="model",
                files=("roberta-large*",),
                source="hub://FacebookAI/roberta-large",
                license="MIT",
                size="1.4 GB for 355 million weights in float32",
            ),
        ),
        tiny="{weights: none, layer: 2}",
    ),
    ComponentSpec(
        kind="metric",
        name="semantic-similarity",
        target=f"{_HERE}.semantic_similarity:SemanticSimilarity",
        config=f"{_HERE}.configs:SemanticSimilarityConfig",
        summary="Cosine of sentence vectors of a caption and its reference (-1 to 1)",
        paper="osprey",
        weights="index",
        reader=f"{_HERE}.encoder_layouts:read_sentence_encoder",
        checkpoints=(
            Checkpoint(
                role="model",
                # No hash can be pinned for a folder; that of its model.safetensors is
                # 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db.
                files=("all-MiniLM-L6-v2*",),
                source="hub://sentence-transformers/all-MiniLM-L6-v2",
                license="Apache-2.0",
                size="91 MB for 23 million weights in float32",
            ),
        ),
        tiny="{weights: none}",
    ),
]

PAPERS: list[PaperSpec] = [
    PaperSpec(
        key="clipscore",
        title="CLIPScore: A Reference-free Evaluation Metric for Image Captioning",
        bibtex="""@inproceedings{hessel2021clipscore,
  title     = {{CLIPScore}: A Reference-free Evaluation Metric for Image Captioning},
  author    = {Hessel, Jack and Holtzman, Ari and Forbes, Maxwell and Le Bras, Ronan and Choi, Yejin},
  booktitle = {Proceedings of the 2021 Conference on Empirical Methods in Natural Language Processing},
  year      = {2021}
}""",
    ),
    PaperSpec(
        key="pac-s",
        title="Positive-Augmented Contrastive Learning for Image and Video Captioning Evaluation",
        bibtex="""@inproceedings{sarto2023positive,
  title     = {Positive-Augmented Contrastive Learning for Image and Video Captioning Evaluation},
  author    = {Sarto, Sara and Barraco, Manuele and Cornia, Marcella and Baraldi, Lorenzo and Cucchiara, Rita},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2023}
}""",
    ),
    PaperSpec(
        key="bert-score",
        title="BERTScore: Evaluating Text Generation with BERT",
        bibtex="""@inproceedings{zhang2020bertscore,
  title     = {{BERTScore}: Evaluating Text Generation with {BERT}},
  author    = {Zhang, Tianyi and Kishore, Varsha and Wu, Felix and Weinberger, Kilian Q. and Artzi, Yoav},
  booktitle = {International Conference on Learning Representations},
  year      = {2020}
}""",
    ),
]
