"""Specs of the judges."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec

_HERE = "regionkit.plugins.judges.backends"

COMPONENTS = [
    ComponentSpec(
        kind="judge",
        name="http",
        target=f"{_HERE}.http:HttpJudge",
        config=f"{_HERE}.configs:HttpConfig",
        summary="A model behind any chat-completions endpoint of OpenAI's form",
        tiny='{url: "http://127.0.0.1:9/v1", model: nobody, offline: true}',
    ),
    ComponentSpec(
        kind="judge",
        name="local",
        target=f"{_HERE}.local:LocalJudge",
        config=f"{_HERE}.configs:LocalConfig",
        summary="A language model of transformers in a folder on disk",
        requires=("transformers",),
    ),
    ComponentSpec(
        kind="judge",
        name="recorded",
        target=f"{_HERE}.recorded:RecordedJudge",
        config=f"{_HERE}.configs:RecordedConfig",
        summary="Replies that somebody kept in a file",
    ),
]
