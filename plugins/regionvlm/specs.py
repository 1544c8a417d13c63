"""The region encoder and the bridge of this plugin as the registry knows them; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import STILL_REGIONS, Checkpoint, ComponentSpec, Port

_HERE = "regionkit.plugins.regionvlm"
_MODEL = Checkpoint(
    role="model",
    files=(
        "regionvlm*",
        "blip2_pretrained_flant5*",
        "instructblip*",
        "instruct-blip*",
        "blip2-flan-t5*",
    ),
    source="the release of RegionVLM; or Salesforce/instructblip-flan-t5-xl on the Hugging Face hub",
    license="see its repository",
    size="about 16 GB for InstructBLIP's 4.0 billion weights in float32",
)
POINT_QFORMER = ComponentSpec(
    kind="region_encoder",
    name="point-qformer",
    target=f"{_HERE}.qformer:PointQFormer",
    config=f"{_HERE}.configs:PointQFormerConfig",
    summary="Points as text steer the queries of a Q-Former over the whole picture",
    paper="regionvlm",
    ports=f"{_HERE}.configs:qformer_ports",
    accepts=STILL_REGIONS,
    weights="index",
    reader=f"{_HERE}.layouts:read_point_qformer",
    checkpoints=(
        _MODEL,
        Checkpoint(
            role="tokenizer",
            # Not plain tokenizer.json: in a folder of the hub that is the language model's.
            files=("qformer_tokenizer", "vocab.txt", "bert-base-uncased/tokenizer.json"),
            source="hub://google-bert/bert-base-uncased/vocab.txt",
            license="Apache-2.0",
            size="0.2 MB",
            shared=True,
        ),
        Checkpoint(
            role="bert",
            files=("bert-base-uncased*",),
            source="hub://google-bert/bert-base-uncased",
            license="Apache-2.0",
            size="440 MB for 110 million weights in float32",
            optional=True,
            shared=True,
        ),
    ),
    tiny="{weights: none, points: 4, queries: 4, hidden: 32, layers: 2, heads: 2, intermediate: 48, positions: 64}",
)
LANGUAGE_PROJECTION = ComponentSpec(
    kind="bridge",
    name="language-projection",
    target=f"{_HERE}.projection:LanguageProjection",
    config=f"{_HERE}.configs:LanguageProjectionConfig",
    summary="One linear layer from region tokens to what a decoder reads",
    paper="regionvlm",
    reads=Port("any", many=True),
    writes=Port("next"),
    weights="index",
    reader=f"{_HERE}.layouts:read_language_projection",
    checkpoints=(_MODEL,),
    tiny="{weights: none}",
)

COMPONENTS = (POINT_QFORMER, LANGUAGE_PROJECTION)
