"""The components of this plugin; strings and dataclasses only."""

from __future__ import annotations

from regionkit.plugins.zeroshot.capdec_spec import CAPDEC
from regionkit.plugins.zeroshot.close_spec import CLOSE
from regionkit.plugins.zeroshot.ifcap_spec import IFCAP
from regionkit.plugins.zeroshot.magic_spec import MAGIC
from regionkit.plugins.zeroshot.meacap_spec import MEACAP
from regionkit.plugins.zeroshot.prefix_lm_spec import PREFIX_LM
from regionkit.plugins.zeroshot.viecap_spec import VIECAP
from regionkit.plugins.zeroshot.zerocap_spec import ZEROCAP

COMPONENTS = (
    CAPDEC,
    CLOSE,
    IFCAP,
    MAGIC,
    MEACAP,
    PREFIX_LM,
    VIECAP,
    ZEROCAP,
)
