"""Small random checkpoints in the layouts of the official releases, written by hand and not with the readers' rules.

One model in transformers' names is the source; OpenAI's and timm's layouts are made of it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, GPT2Config, GPT2LMHeadModel

from regionkit.core.contracts import BuildContext, WeightArtifact
from regionkit.core.weights import WeightFile

MERGES = "#version: 0.2\nt h\nth e</w>\nd o\ndo g</w>\na t</w>\nc at</w>\n"
#: 512 bytes, six merges, start and end.
VOCABULARY = 520
WIDTH, LAYERS, DIM, SIDE, TEXT_WIDTH, TEXT_LAYERS, CONTEXT = 128, 2, 32, 4, 64, 3, 16


def write_merges(folder: Path) -> Path:
    path = folder / "merges.txt"
    path.write_text(MERGES, encoding="utf-8")
    return path


def clip_model(patch: int = 16, seed: int = 0, dim: int = DIM) -> CLIPModel:
    """transformers' CLIP at a small size; every parameter is random, norms and biases too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(
            CLIPConfig(
                vision_config={
                    "hidden_size": WIDTH,
                    "intermediate_size": 4 * WIDTH,
                    "num_hidden_layers": LAYERS,
                    "num_attention_heads": WIDTH // 64,
                    "image_size": SIDE * patch,
                    "patch_size": patch,
                },
                text_config={
                    "vocab_size": VOCABULARY,
                    "hidden_size": TEXT_WIDTH,
                    "intermediate_size": 4 * TEXT_WIDTH,
                    "num_hidden_layers": TEXT_LAYERS,
                    "num_attention_heads": TEXT_WIDTH // 64,
                    "max_position_embeddings": CONTEXT,
                    "bos_token_id": VOCABULARY - 2,
                    "eos_token_id": VOCABULARY - 1,
                },
                projection_dim=dim,
            )
        )
        for name, parameter in model.named_parameters():
            _shake(name, parameter)
    return model.eval()


def _shake(name: str, parameter: Tensor) -> None:
    centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    with torch.no_grad():
        parameter.copy_(centre + 0.1 * torch.randn_like(parameter))


def openai_state(model: CLIPModel) -> dict[str, Tensor]:
    """The same weights under OpenAI's names."""
    state = model.state_dict()
    out = {
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T.contiguous(),
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T.contiguous(),
        "logit_scale": state["logit_scale"],
        "input_resolution": torch.tensor(SIDE * 16),
        "context_length": torch.tensor(CONTEXT),
        "vocab_size": torch.tensor(VOCABULARY),
    }
    for end in ("weight", "bias"):
        out[f"visual.ln_pre.{end}"] = state[f"vision_model.pre_layrnorm.{end}"]
        out[f"visual.ln_post.{end}"] = state[f"vision_model.post_layernorm.{end}"]
        out[f"ln_final.{end}"] = state[f"text_model.final_layer_norm.{end}"]
        for theirs, ours, layers in (("visual.", "vision_model", LAYERS), ("", "text_model", TEXT_LAYERS)):
            for layer in range(layers):
                old, new = f"{ours}.encoder.layers.{layer}", f"{theirs}transformer.resblocks.{layer}"
                out[f"{new}.ln_1.{end}"] = state[f"{old}.layer_norm1.{end}"]
                out[f"{new}.ln_2.{end}"] = state[f"{old}.layer_norm2.{end}"]
                joint = [state[f"{old}.self_attn.{letter}_proj.{end}"] for letter in "qkv"]
                out[f"{new}.attn.in_proj_{end}"] = torch.cat(joint)
                out[f"{new}.attn.out_proj.{end}"] = state[f"{old}.self_attn.out_proj.{end}"]
                out[f"{new}.mlp.c_fc.{end}"] = state[f"{old}.mlp.fc1.{end}"]
                out[f"{new}.mlp.c_proj.{end}"] = state[f"{old}.mlp.fc2.{end}"]
    return out


def timm_state(model: CLIPModel) -> dict[str, Tensor]:
    """The vision tower under timm's names."""
    openai = openai_state(model)
    out = {
        "cls_token": openai["visual.class_embedding"].reshape(1, 1, -1),
        "pos_embed": openai["visual.positional_embedding"][None],
        "patch_embed.proj.weight": openai["visual.conv1.weight"],
        "head.weight": openai["visual.proj"].T.contiguous(),
        "head.bias": torch.zeros(len(openai["visual.proj"].T)),
    }
    parts = {
        "ln_1": "norm1",
        "ln_2": "norm2",
        "attn.out_proj": "attn.proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    for end in ("weight", "bias"):
        out[f"norm_pre.{end}"] = openai[f"visual.ln_pre.{end}"]
        out[f"norm.{end}"] = openai[f"visual.ln_post.{end}"]
        for layer in range(LAYERS):
            old = f"visual.transformer.resblocks.{layer}"
            out[f"blocks.{layer}.attn.qkv.{end}"] = openai[f"{old}.attn.in_proj_{end}"]
            for theirs, ours in parts.items():
                out[f"blocks.{layer}.{ours}.{end}"] = openai[f"{old}.{theirs}.{end}"]
    return out


def write_clip(folder: Path, layout: str, model: CLIPModel) -> dict[str, Path]:
    """Write a CLIP checkpoint and its merges in ``openai``, ``hf`` (a folder) or ``timm`` layout; paths by role."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"merges": write_merges(folder)}
    if layout == "hf":
        files["model"] = folder / "clip-vit-base-patch16"
        model.save_pretrained(files["model"])
        return files
    files["model"] = folder / "ViT-B-16.pt"
    torch.save(openai_state(model), files["model"])
    if layout == "timm":
        files["vision"] = folder / "vit_base_patch16_clip_224.openai.safetensors"
        save_file(timm_state(model), files["vision"])
    return files


def dinov2(seed: int = 0, side: int = SIDE) -> VisionTransformer:
    """timm's DINOv2 with registers at a small size, two heads of 64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTransformer(
            img_size=side * 14,
            patch_size=14,
            embed_dim=WIDTH,
            depth=LAYERS,
            num_heads=WIDTH // 64,
            init_values=1e-5,
            reg_tokens=4,
            no_embed_class=True,
            num_classes=0,
        )
        for name, parameter in model.named_parameters():
            _shake(name, parameter)
    return model.eval()


def facebook_state(model: VisionTransformer, seed: int = 1) -> dict[str, Tensor]:
    """The same network in DINOv2's own layout, in which the class token has a position that timm has added to it."""
    state = dict(model.state_dict())
    place = torch.randn(1, 1, WIDTH, generator=torch.Generator().manual_seed(seed))
    return {
        **{name: tensor for name, tensor in state.items() if name not in ("reg_token", "cls_token", "pos_embed")},
        "cls_token": state["cls_token"] - place,
        "register_tokens": state["reg_token"],
        "mask_token": torch.zeros(1, WIDTH),
        "pos_embed": torch.cat([place, state["pos_embed"]], dim=1),
    }


def projection_state(seed: int = 2, legacy: bool = False) -> dict[str, Tensor]:
    """A projection of Talk2DINO, in today's names or in the older ones."""
    generator = torch.Generator().manual_seed(seed)
    second = "linear_layer2" if legacy else "hidden_layers.0"
    return {
        "linear_layer.weight": 0.2 * torch.randn(WIDTH, DIM, generator=generator),
        "linear_layer.bias": 0.2 * torch.randn(WIDTH, generator=generator),
        f"{second}.weight": 0.2 * torch.randn(WIDTH, WIDTH, generator=generator),
        f"{second}.bias": 0.2 * torch.randn(WIDTH, generator=generator),
    }


def write_talk2dino(folder: Path, layout: str = "facebook", legacy: bool = False) -> dict[str, Path]:
    """Write the four files of Talk2DINO; paths by role."""
    files = write_clip(folder, "openai", clip_model())
    files["text"] = files.pop("model")
    model = dinov2()
    if layout == "facebook":
        files["vision"] = folder / "dinov2_vitb14_reg4_pretrain.pth"
        torch.save(facebook_state(model), files["vision"])
    else:
        files["vision"] = folder / "vit_base_patch14_reg4_dinov2.lvd142m"
        files["vision"].mkdir()
        save_file(dict(model.state_dict()), files["vision"] / "model.safetensors")
    files["projection"] = folder / "vitb_mlp_infonce.pth"
    torch.save(projection_state(legacy=legacy), files["projection"])
    return files


def decap_state(dim: int = WIDTH, *, masks: bool = False, prefix: str = "") -> dict[str, Tensor]:
    """A decoder as the training script saves it: tied output layer, old causal masks, the prefix of several devices."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=600, n_positions=160, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1)
        )
        project = torch.nn.Linear(dim, 32)
    state = {f"decoder.{name}": tensor for name, tensor in model.state_dict().items()}
    state |= {f"clip_project.model.0.{name}": tensor for name, tensor in project.state_dict().items()}
    if masks:
        for layer in range(2):
            state[f"decoder.transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 160, 160)
            state[f"decoder.transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    return {prefix + name: tensor for name, tensor in state.items()}


def context_of(artifact: WeightArtifact, files: dict[str, Path], reads: str = "", writes: str = "") -> BuildContext:
    """What the registry hands to ``build`` for official files."""
    place = next(iter(files.values()))
    weights = WeightFile(place, artifact.header, files, lambda: artifact.tensors)
    return BuildContext(reads=reads, writes=writes, weights=weights)


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name not in names}


def copy_merges(files: dict[str, Path], folder: Path) -> None:
    shutil.copy(files["merges"], folder / "merges.txt")
