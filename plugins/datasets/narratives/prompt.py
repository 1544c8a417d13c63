"""The prompt that the trace-captioning benchmark was rewritten with, and how its replies are read.

Source: Bianchi et al., One Patch to Caption Them All, figure 5; lines that are wrapped there are whole here.
"""

from __future__ import annotations

import re

from regionkit.core.judging import Question, Unreadable

#: Where the sentence goes.
SLOT = "<INPUT CAPTION>"
#: Longest reply, in tokens: a phrase in braces.
MAX_TOKENS = 128

#: The words are the protocol's; a changed letter is another benchmark.
PROMPT = """\
I have image descriptions derived from spoken narratives. These need to be rewritten as concise, stand-alone captions \
in the style of the image-caption datasets. Follow these rules:

- Remove unnecessary narrative phrases like "we can see," "there is," "in this image," etc.
- Ensure the caption is standalone and descriptive.
- Use simple, objective language that highlights key elements.
- Keep it concise--just a single phrase.
- Follow the classical style of caption datasets.
- If the description is vague, subjective, or does not describe a concrete visual element (e.g., "The image is taken \
indoor," "This image is blurred"), return ``.
- Wrap the output in `{}` and add nothing else.

### **Examples:**
- **Input:** "We can see a young elephant stands which is near the water in a wooded area."
  **Output:** {A young elephant stands near the water in a wooded area.}

- **Input:** "In this image I can see some young children kicking a soccer ball in a field."
  **Output:** {A group of young children kicking a soccer ball around a field.}

- **Input:** "In the left of the image, we see a pole that has two green street signs on it."
  **Output:** {A pole has two green street signs on it.}

- **Input:** "We can see two surfboards which are stuck in the sand along the seashore."
  **Output:** {Two surfboards stuck in the sand along the seashore.}

- **Input:** "This image consists of a man which rides a wakeboard behind a boat."
  **Output:** {A man rides a wakeboard behind a boat.}

- **Input:** "In the background, there are a bunch of sticky notes and a pair of scissors."
  **Output:** {A bunch of sticky notes and a pair of scissors.}

- **Input:** "It looks like a sepia-toned photograph of a motorcycle underneath the shadow of a tree."
  **Output:** {A sepia-toned photograph of a motorcycle underneath the shadow of a tree.}

- **Input:** "There is a sky"
  **Output:** {A sky.}

- **Input:** "She is smiling."
  **Output:** {A smiling girl.}

- **Input:** "The image is taken indoor."
  **Output:** {<INVALID>}

- **Input:** "This image is edited."
  **Output:** {<INVALID>}

- **Input:** "The image is blurred."
  **Output:** {<INVALID>}

- **Input:** "I think he is about to jump."
  **Output:** {<INVALID>}

Now, rewrite the following captions accordingly. Wrap each in `{}` and add nothing else:
<INPUT CAPTION>
"""

_BRACES = re.compile(r"\{([^{}]*)\}")
_INVALID = re.compile(r"<?\s*invalid\s*>?[.!]?", re.IGNORECASE)
#: What "nothing" may look like: the prompt itself asks for an empty pair of backquotes.
_NOTHING = re.compile(r"[\s`'\"{}]*")


def question(sentence: str) -> Question:
    """Return what a judge is asked about a sentence."""
    return Question(PROMPT.replace(SLOT, sentence), max_tokens=MAX_TOKENS)


def read_reply(reply: str) -> str:
    """Read the caption of a reply; an empty text where it says that there is none to be had.

    ``{A sky.}`` is a caption, whatever stands around it. ``{<INVALID>}``, ``{}``, an empty pair of backquotes and an
    empty reply say that the sentence describes nothing.

    Raises:
        Unreadable: There is no pair of braces, or several that differ.
    """
    if _NOTHING.fullmatch(reply):
        return ""
    found = list(dict.fromkeys(" ".join(match.split()) for match in _BRACES.findall(reply)))
    if not found:
        bare = reply.strip().strip("`").strip()
        if bare != "" and _INVALID.fullmatch(bare):
            return ""
        raise Unreadable("there are no braces around a caption")
    if len(found) > 1:
        raise Unreadable(f"there are {len(found)} captions in braces, one is expected")
    text = found[0].strip("`\"' ") if found[0][:1] in "`\"'" else found[0]
    return "" if _NOTHING.fullmatch(text) or _INVALID.fullmatch(text) else text
