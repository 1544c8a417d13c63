"""Small random models that MeaCap runs beside its own, as folders of the hub: a parser and an encoder of sentences."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, T5Config, T5ForConditionalGeneration

from regionkit.core.language.tokenizers import LanguageTokenizer


def write_t5(folder: Path) -> Path:
    """A random T5 of words as a folder of the hub."""
    tokenizer = LanguageTokenizer.of_words(["generate scene graph : ( cat , on is bed dog red ) a the"])
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=tokenizer.size, d_model=16, d_kv=4, d_ff=24, num_layers=1, num_decoder_layers=1, num_heads=4,
        pad_token_id=0, eos_token_id=2, decoder_start_token_id=0,
    )  # fmt: skip
    folder.mkdir(parents=True)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    Tokenizer.from_str(tokenizer.text).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "pad_token": "<pad>"}))
    return folder


def write_encoder(folder: Path) -> Path:
    """A random BERT as sentence-transformers writes it."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "dog", "cat", "dogs", "puppy"]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=16, initializer_range=1.0, **sizes))
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [{"idx": at, "type": f"sentence_transformers.models.{kind}"} for at, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder
