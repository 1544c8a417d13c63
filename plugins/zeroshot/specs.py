"""The components of this plugin; strings and dataclasses only."""

from __future__ import annotations

from regionkit.plugins.zeroshot.prefix_lm_spec import PREFIX_LM

COMPONENTS = (PREFIX_LM,)
