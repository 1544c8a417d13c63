"""Vision-language models of transformers as decoders that look at pictures themselves.

ViZer (Byun et al., arXiv 2510.12931) trains such models; any region reaches them as a picture.
"""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import Checkpoint, ComponentSpec, PaperSpec, Port

_HERE = "regionkit.plugins.vlm"
_HUB = "hub://HuggingFaceTB/SmolVLM-Base"


def _beside_model(role: str, file: str, size: str) -> Checkpoint:
    return Checkpoint(role=role, files=(file,), source=_HUB, license="Apache-2.0", size=size, shared=True)


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """One decoder."""
    return [
        ComponentSpec(
            kind="decoder",
            name="vlm",
            target=f"{_HERE}.decoder:Vlm",
            config=f"{_HERE}.config:VlmConfig",
            summary="A vision-language model of transformers (SmolVLM, Idefics3) that reads pictures of regions",
            paper="smolvlm",
            reads=Port(form="views"),
            weights="index",
            reader=f"{_HERE}.release:read_vlm",
            checkpoints=(
                Checkpoint(
                    role="model",
                    files=("model.safetensors", "model.safetensors.index.json"),
                    source=_HUB,
                    license="Apache-2.0",
                    size="4.5 GB for 2.25 billion weights in half precision",
                ),
                _beside_model("config", "config.json", "below 10 kB"),
                _beside_model("tokenizer", "tokenizer.json", "a few MB"),
                _beside_model("preprocessor", "preprocessor_config.json", "below 10 kB"),
            ),
            tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 256, picture: 32, "
            "patch: 8, merge: 2, vision_hidden: 16, vision_layers: 1, vision_heads: 2, vision_intermediate: 32, "
            "lora: 2}",
        ),
    ]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """The models."""
    return [
        PaperSpec(
            key="smolvlm",
            title="SmolVLM: Redefining small and efficient multimodal models",
            bibtex="""@article{marafioti2025smolvlm,
  title   = {SmolVLM: Redefining small and efficient multimodal models},
  author  = {Marafioti, Andr{\\'e}s and Zohar, Orr and Farr{\\'e}, Miquel and Noyan, Merve and Bakouch, Elie and
             Cuenca, Pedro and Zakka, Cyril and Ben Allal, Loubna and Lozhkov, Anton and Tazi, Nouamane and
             Srivastav, Vaibhav and Lochner, Joshua and Larcher, Hugo and Morlon, Mathieu and Tunstall, Lewis and
             von Werra, Leandro and Wolf, Thomas},
  journal = {arXiv preprint arXiv:2504.05299},
  year    = {2025}
}""",
        ),
    ]
