"""A judge in a folder: a causal language model of transformers, run on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.errors import WeightsError
from regionkit.core.files import is_file, is_folder, sha256_of
from regionkit.core.judging import Judge, Question, Reply
from regionkit.core.replies import ReplyFile
from regionkit.plugins.judges.backends.configs import LocalConfig

#: Endings of the files that decide what a model says.
_DECIDE = (".json", ".safetensors", ".model", ".txt", ".jinja")
#: Digits of the hash in the model's name.
_DIGITS = 12
#: Context of a model that does not say its own, in tokens.
_CONTEXT = 1 << 20


class LocalJudge(Judge):
    """A language model that is read from a folder on first use, and asked one question at a time.

    What it says follows from its files, the option ``seed`` and the question alone: no question is padded to the length
    of another one. Its chat template makes the prompt, where it has one; otherwise the words are joined as they are.

    Args:
        config: Options.

    Raises:
        WeightsError: There is no such folder, or no model in it.
    """

    def __init__(self, config: LocalConfig) -> None:
        self.config = config
        self.folder = Path(config.model).expanduser()
        if not is_folder(self.folder) or not is_file(self.folder / "config.json"):
            raise WeightsError(
                f"{config.model}: this is no folder of a model of transformers: it has no config.json",
                "fetch one first, for example: hf download ORG/NAME --local-dir DIR",
            )
        self._loaded: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model behind: whoever gets the judge reads its folder again."""
        return {**{name: value for name, value in self.__dict__.items() if name != "identity"}, "_loaded": None}

    @cached_property
    def identity(self) -> str:  # type: ignore[override]
        """The folder's name and the hash of what decides its answers, numbers' width and seed with it."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.suffix in _DECIDE and is_file(path):
                digest.update(f"{path.name} {sha256_of(path)}\n".encode())
        kind = str(self._dtype).removeprefix("torch.")
        return f"{self.folder.name}@{digest.hexdigest()[:_DIGITS]} {kind} seed {self.config.seed}"

    def replies(self) -> ReplyFile | None:
        """Return the file that the options name, else that of the model in the toolkit's cache."""
        return ReplyFile(Path(self.config.replies).expanduser()) if self.config.replies else super().replies()

    def ask(self, questions: Sequence[Question], attempt: int = 0) -> Iterator[tuple[int, Reply]]:
        """Ask questions one after the other.

        Raises:
            WeightsError: The folder holds no model that can be read.
        """
        for at, question in enumerate(questions):
            yield at, self._reply(question, attempt)

    def _reply(self, question: Question, attempt: int) -> Reply:
        if question.images:
            return Reply(None, "this judge takes no pictures", final=True)
        if attempt and question.temperature <= 0:
            return Reply(None, "a judge that takes the likeliest words would say the same again", final=True)
        model, tokenizer = self._model()
        try:
            ids = tokenizer(self._text(tokenizer, question), add_special_tokens=not tokenizer.chat_template).input_ids
        except Exception as error:  # a template may refuse a question in any way
            return Reply(None, f"the model's chat template refuses the question: {_line(error)}", final=True)
        room = _context(model) - len(ids)
        if room < 1 or not ids:
            told = "is empty" if not ids else f"has {len(ids):,} tokens, the model's context {_context(model):,}"
            return Reply(None, f"the question {told}", final=True)
        text = self._write(model, tokenizer, ids, question, attempt, min(room, question.max_tokens))
        if text is None:
            return Reply(None, "the model computed NaN", final=True)
        return Reply(text) if text else Reply(None, "the answer is empty", final=question.temperature <= 0)

    def _text(self, tokenizer: Any, question: Question) -> str:
        """Return what the model goes on from."""
        if not tokenizer.chat_template:
            start = "\n\n".join(part for part in (question.system, question.prompt) if part)
            return f"{start}\n{question.prefill}" if question.prefill else start
        system = [{"role": "system", "content": question.system}] if question.system else []
        chat = [*system, {"role": "user", "content": question.prompt}]
        text: str = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text + question.prefill

    @torch.inference_mode()
    def _write(
        self, model: Any, tokenizer: Any, ids: Sequence[int], question: Question, attempt: int, room: int
    ) -> str | None:
        """Return the answer; None where the model computes NaN."""
        ends = _ends(model, tokenizer)
        random = torch.Generator().manual_seed(int(question.key(attempt, str(self.config.seed))[:15], 16))
        fed, past, said = torch.tensor([list(ids)], device=model.device), None, []
        for _ in range(room):
            found = model(input_ids=fed, past_key_values=past, use_cache=True)
            logits, past = found.logits[0, -1].float().cpu(), found.past_key_values
            if not bool(torch.isfinite(logits.max())) or bool(torch.isnan(logits).any()):
                return None
            token = _chosen(logits, question, random)
            if token in ends:
                break
            said.append(token)
            fed = torch.tensor([[token]], device=model.device)
        text: str = tokenizer.decode(said, skip_special_tokens=True)
        return text.strip()

    @property
    def _device(self) -> torch.device:
        there = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(there if self.config.device == "auto" else self.config.device)

    @property
    def _dtype(self) -> torch.dtype:
        if self.config.dtype == "auto":
            return torch.bfloat16 if self._device.type == "cuda" else torch.float32
        return torch.bfloat16 if self.config.dtype == "bfloat16" else torch.float32

    def _model(self) -> tuple[Any, Any]:
        """Read model and tokenizer, once.

        Raises:
            WeightsError: They cannot be read.
        """
        if self._loaded is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            closed = {"local_files_only": True, "trust_remote_code": False}
            try:
                with torch.random.fork_rng(devices=[]):
                    tokenizer = AutoTokenizer.from_pretrained(self.folder, **closed)
                    model: Any = AutoModelForCausalLM.from_pretrained(
                        self.folder, dtype=self._dtype, use_safetensors=True, **closed
                    )
                    self._loaded = model.to(self._device).eval(), tokenizer
            except Exception as error:  # a folder from anywhere may break transformers in any way
                raise WeightsError(
                    f"{self.folder}: no language model can be read here: {_line(error)}",
                    "it takes config.json, safetensors and a tokenizer; code in the folder is not run, pickles are not "
                    "read",
                ) from None
        return self._loaded


def _chosen(logits: Tensor, question: Question, random: torch.Generator) -> int:
    """Return the likeliest token, or one drawn from the likeliest that together have ``top_p``."""
    if question.temperature <= 0:
        return int(logits.argmax())
    shares, places = (logits.double() / question.temperature).softmax(-1).sort(descending=True, stable=True)
    kept = shares.cumsum(-1) - shares < question.top_p  # what stands before a token has not the mass yet
    kept[0] = True
    return int(places[torch.multinomial(shares * kept, 1, generator=random)])


def _ends(model: Any, tokenizer: Any) -> set[int]:
    """Return the ids after which an answer is over."""
    config = getattr(model, "generation_config", None)
    found: set[int] = {tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()
    for said in (getattr(config, "eos_token_id", None), getattr(model.config, "eos_token_id", None)):
        found |= set(said) if isinstance(said, list) else set() if said is None else {said}
    return found


def _context(model: Any) -> int:
    said = getattr(model.config, "max_position_embeddings", None)
    return int(said) if isinstance(said, int) and said > 0 else _CONTEXT


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return json.dumps(lines[0][:200], ensure_ascii=False)[1:-1] if lines else type(error).__name__
