"""Small text encoders as the Hugging Face hub has them, with numbers that are the same wherever they are drawn.

``tests/golden/caption_metrics/bert_score.json`` was recorded with them: nothing here may change.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

_WORDS = (
    "a the an old small red blue white dog cat cats car boat tree on in near two sits sit is it runs grass water hat"
)
_SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
#: Most ids of a text.
LONGEST = 40


def write_bert(folder: Path) -> Path:
    """A BERT of three blocks with word pieces."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS.split(), "##s", "##man", "'", ".", ","]
    pieces += [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    pieces = list(dict.fromkeys(pieces))
    tokenizer = Tokenizer(models.WordPiece({one: at for at, one in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(pieces[:5])
    model = BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=LONGEST, **_SIZES))
    told = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": LONGEST}
    told |= {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    return _write(folder, model, tokenizer, told)


def write_roberta(folder: Path) -> Path:
    """A RoBERTa of three blocks that reads bytes, a few of them in pairs."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    merges = [("Ġ", "a"), ("Ġ", "d"), ("o", "g"), ("Ġd", "og"), ("r", "e"), ("re", "d"), ("Ġ", "red"), ("a", "t")]
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*special, *signs, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({one: at for at, one in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(special)
    model = RobertaModel(
        RobertaConfig(
            vocab_size=len(pieces),
            max_position_embeddings=LONGEST + 2,
            type_vocab_size=1,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            **_SIZES,
        )
    )
    told = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False, "model_max_length": LONGEST}
    told |= {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    return _write(folder, model, tokenizer, told | {"unk_token": "<unk>", "mask_token": "<mask>"})


def _write(folder: Path, model: torch.nn.Module, tokenizer: Tokenizer, told: dict[str, object]) -> Path:
    """Fill a model with numbers that no version of torch draws otherwise, and write it as a folder of the hub."""
    random = np.random.RandomState(0)  # whose stream is frozen, unlike that of newer generators
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            drawn = random.standard_normal(tuple(parameter.shape)) * (0.1 if parameter.ndim == 1 else 0.4)
            parameter.copy_(torch.from_numpy(drawn + ("LayerNorm.weight" in name)))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder
