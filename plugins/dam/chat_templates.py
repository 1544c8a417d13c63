"""Chat templates as data: how a question is put to a language model that was trained on conversations.

The prompts are those that DAM's released code makes; golden vectors hold them to it.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Where the tokens of a region stand in a prompt.
IMAGE = "<image>"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """How one question becomes a prompt: ``start``, system text, ``gap``, ``user``, question, ``turn``, ``assistant``.

    Attributes:
        system: What the model is told before everything.
        start: What stands before the system text.
        gap: What stands between the system text and the user's turn.
        user: How the user's turn begins.
        turn: What ends the user's turn.
        assistant: How the answer begins; the model goes on from here.
        stop: What ends an answer. The end token of the texts that it is trained on, where the tokenizer has it as one.
    """

    system: str = ""
    start: str = ""
    gap: str = ""
    user: str = ""
    turn: str = ""
    assistant: str = ""
    stop: str = ""

    def render(self, question: str) -> str:
        """Return the prompt for a question."""
        return f"{self.start}{self.system}{self.gap}{self.user}{question}{self.turn}{self.assistant}"


_VICUNA = ChatTemplate(
    system="A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    gap=" ",
    user="USER: ",
    turn=" ",
    assistant="ASSISTANT:",  # no space behind it: the first word of the answer brings its own
    stop="</s>",
)
_LLAMA_3 = ChatTemplate(
    system="You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language.",
    # Written out although the tokenizer puts its own before it: the released model was trained with two.
    start="<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n",
    gap="<|end_of_text|>",
    user="<|start_header_id|>user<|end_header_id|>\n\n",
    turn="<|end_of_text|>",
    # The answer stands under "system", not "assistant": so the released model was trained.
    assistant="<|start_header_id|>system<|end_header_id|>\n\n",
    stop="<|end_of_text|>",
)
#: Templates by name. ``v1`` is what DAM calls Vicuna's.
TEMPLATES: dict[str, ChatTemplate] = {
    "none": ChatTemplate(),
    "v1": _VICUNA,
    "vicuna": _VICUNA,
    "llama_3": _LLAMA_3,
}


def check_template(name: str) -> None:
    """Check that there is a template of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in TEMPLATES:
        raise ValueError(f"template: '{name}' is none of {', '.join(TEMPLATES)}")


def place_image(question: str) -> str:
    """Put the region before a question that does not say where it stands."""
    return question if IMAGE in question else f"{IMAGE}\n{question}"
