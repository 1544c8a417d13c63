"""Vision-language models as decoders that look at pictures themselves; any region reaches them as a picture.

ViZer (Byun et al., arXiv 2510.12931) trains such models, Patch-ioner (Bianchi et al., arXiv 2510.02898) compares itself
with some.
"""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import Checkpoint, ComponentSpec, PaperSpec, Port

_HERE = "regionkit.plugins.vlm"
#: Families: where their weights are, under which licence, and how large they are.
_RELEASES = {
    "smolvlm": (
        "HuggingFaceTB/SmolVLM-Base", "Apache-2.0", "4.5 GB for 2.25 billion weights in half precision"
    ),
    "idefics3": (
        "HuggingFaceM4/Idefics3-8B-Llama3", "Apache-2.0", "16.9 GB for 8.5 billion weights in half precision"
    ),
    "qwen2_5_vl": (
        "Qwen/Qwen2.5-VL-3B-Instruct",
        "Qwen Research License: non-commercial",
        "7.5 GB for 3.75 billion weights in half precision",
    ),
    "qwen3_vl": (
        "Qwen/Qwen3-VL-4B-Instruct", "Apache-2.0", "8.9 GB for 4.44 billion weights in half precision"
    ),
    "llavaonevision1_5": (
        "lmms-lab/LLaVA-OneVision-1.5-4B-Instruct",
        "Apache-2.0",
        "9.5 GB for 4.74 billion weights in half precision",
    ),
}  # fmt: skip

#: Families that come from other papers than SmolVLM's.
_PAPERS = {
    "idefics3": "idefics3",
    "qwen2_5_vl": "qwen2.5-vl",
    "qwen3_vl": "qwen3-vl",
    "llavaonevision1_5": "llava-onevision-1.5",
}


def _named(place: str, file: str) -> tuple[str, ...]:
    """Return how a file is found: in a folder of the model's name before any other, since all have these names."""
    return (f"{place.rpartition('/')[2]}*/{file}", file)


def _folder(model: str) -> tuple[Checkpoint, ...]:
    """Describe the folder of a family's release."""
    place, license_, size = _RELEASES[model]
    beside = {
        "config": ("config.json", "below 10 kB"),
        "tokenizer": ("tokenizer.json", "a few MB"),
        "preprocessor": ("preprocessor_config.json", "below 10 kB"),
    }
    return (
        Checkpoint(
            role="model",
            files=(*_named(place, "model.safetensors"), "model.safetensors.index.json"),
            source=f"hub://{place}",
            license=license_,
            when=f"model={model}",
            size=size,
        ),
        *(
            Checkpoint(
                role=role,
                files=_named(place, file),
                source=f"hub://{place}/{file}",
                license=license_,
                when=f"model={model}",
                size=told,
                shared=True,
            )
            for role, (file, told) in beside.items()
        ),
    )


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """One decoder."""
    return [
        ComponentSpec(
            kind="decoder",
            name="vlm",
            target=f"{_HERE}.decoder:Vlm",
            config=f"{_HERE}.config:VlmConfig",
            summary="A vision-language model (SmolVLM, Idefics3, Qwen2.5-VL, Qwen3-VL, LLaVA-OneVision-1.5)",
            paper="smolvlm",
            papers=tuple((f"model={model}", key) for model, key in _PAPERS.items()),
            reads=Port(form="views"),
            weights="index",
            reader=f"{_HERE}.release:read_vlm",
            checkpoints=tuple(file for model in _RELEASES for file in _folder(model)),
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
        PaperSpec(
            key="idefics3",
            title="Building and better understanding vision-language models: insights and future directions",
            bibtex="""@article{laurencon2024building,
  title   = {Building and better understanding vision-language models: insights and future directions},
  author  = {Lauren{\\c{c}}on, Hugo and Marafioti, Andr{\\'e}s and Sanh, Victor and Tronchon, L{\\'e}o},
  journal = {arXiv preprint arXiv:2408.12637},
  year    = {2024}
}""",
        ),
        PaperSpec(
            key="qwen2.5-vl",
            title="Qwen2.5-VL Technical Report",
            bibtex="""@article{bai2025qwen25vl,
  title   = {Qwen2.5-VL Technical Report},
  author  = {Bai, Shuai and Chen, Keqin and Liu, Xuejing and Wang, Jialin and Ge, Wenbin and Song, Sibo and Dang, Kai
             and Wang, Peng and Wang, Shijie and Tang, Jun and others},
  journal = {arXiv preprint arXiv:2502.13923},
  year    = {2025}
}""",
        ),
        PaperSpec(
            key="qwen3-vl",
            title="Qwen3-VL",
            bibtex="""@misc{qwen2025qwen3vl,
  title  = {Qwen3-VL},
  author = {{Qwen team}},
  note   = {https://github.com/QwenLM/Qwen3-VL},
  year   = {2025}
}""",
        ),
        PaperSpec(
            key="llava-onevision-1.5",
            title="LLaVA-OneVision-1.5: Fully Open Framework for Democratized Multimodal Training",
            bibtex="""@article{an2025llavaonevision15,
  title   = {LLaVA-OneVision-1.5: Fully Open Framework for Democratized Multimodal Training},
  author  = {An, Xiang and Xie, Yin and Yang, Kaicheng and Zhang, Wenkang and Zhao, Xiuwei and Cheng, Zheng and
             Wang, Yirui and Xu, Songcen and Chen, Changrui and Wu, Chunsheng and others},
  journal = {arXiv preprint arXiv:2509.23661},
  year    = {2025}
}""",
        ),
    ]
