"""Options of the ``vlm`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.language.options import LanguageOptions

#: Families by their ``model_type``. Pictures of the first two become tiles of one size, the others look at any size.
Family = Literal["smolvlm", "idefics3", "qwen2_5_vl", "qwen3_vl", "llavaonevision1_5"]
_TILED = ("smolvlm", "idefics3")

#: Layers of the language model alone: what the vision tower sees must not move (ViZer compares captions with it).
LORA_TARGETS = r".*\b(text_model|language_model)\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@dataclass(frozen=True)
class VlmConfig(LanguageOptions):
    """Options of :class:`~regionkit.plugins.vlm.decoder.Vlm`.

    The sizes are those of SmolVLM-256M. Trained weights bring theirs.

    Attributes:
        model: Family, by its ``model_type`` in transformers.
        hidden: Width of the language model.
        layers: Its transformer blocks.
        heads: Attention heads of a block; they divide ``hidden``.
        kv_heads: Heads of keys and values; 0 for as many as ``heads``.
        intermediate: Width of its feed-forward layers.
        positions: Longest sequence: picture, prompt and caption.
        picture: Side of what the vision tower sees at once, in pixels. A family that looks at any size sees at most
            ``picture`` x ``picture`` pixels of any shape.
        patch: Side of its patches.
        merge: Patches along each side that become one token of the language model.
        vision_hidden: Width of the vision tower.
        vision_layers: Its transformer blocks.
        vision_heads: Its attention heads.
        vision_intermediate: Width of its feed-forward layers.
        pixels: Most pixels of a picture for a family that looks at any size; 0 for as many as its weights say, which
            may be twelve million and 16,000 tokens.
        tiles: Longer side of a picture in multiples of ``picture``: it is cut into tiles of that side, and shown whole
            beside them; 1 shows it whole only. A family that looks at any size has no tiles.
        prompt: What is asked of each region where the call says nothing. The picture stands where it says ``<image>``;
            a prompt without that is asked after the picture.
        template: What stands around a prompt, ``{}`` for the prompt itself; ``auto`` is what the family was trained
            with: a question of a user for the three that look at any size, nothing for the others, of which ViZer
            trains the base model.
        lora_targets: Regular expression of the full names of the linear layers that get an adapter; none may belong to
            the vision tower.
    """

    model: Family = "smolvlm"
    hidden: int = 576  # SmolVLM-256M, as all sizes here
    layers: int = 30
    heads: int = 9
    kv_heads: int = 0
    intermediate: int = 1536
    positions: int = 8192
    picture: int = 512
    patch: int = 16
    merge: int = 4
    vision_hidden: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    vision_intermediate: int = 3072
    pixels: int = 0
    tiles: int = 1
    prompt: str = "<image>"  # ViZer, 4.1: SmolVLM-Base gets the image alone
    template: str = "auto"
    lora_targets: str = LORA_TARGETS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("hidden", "layers", "heads", "intermediate", "positions", "picture", "patch", "merge")
        self.check_positive("vision_hidden", "vision_layers", "vision_heads", "vision_intermediate", "tiles")
        self.check_heads("hidden", "heads")
        self.check_heads("vision_hidden", "vision_heads")
        if self.kv_heads < 0 or (self.kv_heads and self.heads % self.kv_heads):
            raise ValueError(f"kv_heads: {self.kv_heads} must be 0 (as many as heads) or divide heads {self.heads}")
        if self.model in _TILED and self.picture % (self.patch * self.merge):
            raise ValueError(f"picture: {self.picture} must be a multiple of patch x merge, {self.patch * self.merge}")
        if self.model not in _TILED and self.picture < self.patch * self.merge:
            raise ValueError(f"picture: {self.picture} must be patch x merge or more, {self.patch * self.merge}")
        if self.model not in _TILED and self.tiles != 1:
            raise ValueError(f"tiles: {self.tiles} must be 1, since '{self.model}' looks at any size: set picture")
        if self.model not in _TILED:
            self._check_angles()
        if self.pixels < 0:
            raise ValueError(f"pixels: {self.pixels} must be 0 (as many as the weights say) or more")
        if self.template != "auto" and self.template.count("{}") != 1:
            raise ValueError(f"template: '{self.template}' must be auto, or have one {{}} for the prompt")

    def _check_angles(self) -> None:
        """Refuse heads that rotary positions cannot be laid over: pairs of numbers, in the tower for two directions."""
        for width, heads, least in (("hidden", "heads", 2), ("vision_hidden", "vision_heads", 4)):
            head = getattr(self, width) // getattr(self, heads)
            if head % least:
                asked = f"{width}: {getattr(self, width)} over {getattr(self, heads)} {heads} is {head} a head"
                raise ValueError(f"{asked}, and '{self.model}' needs a multiple of {least}")


#: Options that a weight file decides; they are stored in its header.
SIZES: tuple[str, ...] = (
    "model",
    "hidden",
    "layers",
    "heads",
    "kv_heads",
    "intermediate",
    "positions",
    "picture",
    "patch",
    "merge",
    "vision_hidden",
    "vision_layers",
    "vision_heads",
    "vision_intermediate",
    "tiles",
)
#: Options of its adapters; they are stored where there are any.
ADAPTERS: tuple[str, ...] = ("lora", "lora_alpha", "lora_dropout", "lora_targets")
