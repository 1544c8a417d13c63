"""Reading CLOSE's released checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.language.models import read_family, released_model, sizes_of
from regionkit.core.language.seq2seq import SEQ2SEQ
from regionkit.core.weights import UNNAMED, WeightHeader
from regionkit.plugins.zeroshot.close_config import CloseConfig

_WHO = "decoder 'close'"
_LAYER, _BIAS, _CONSTANTS = "mapper.lin.weight", "mapper.lin.bias", "mapper.constant_tokens"
#: Official name -> our name.
LAYOUT: Mapping[str, str] = {
    r"_t5_model\.(.+)": r"model.\1",
    r"adapter\.(lin\.weight|lin\.bias|constant_tokens)": r"mapper.\1",
}
#: The release takes CLIP's parameters out of what it saves; of a ResNet the running statistics of its norms stay in.
ASIDE: tuple[str, ...] = (r"_clip_model\..+\.(?:running_mean|running_var|num_batches_tracked)",)


def read_close(files: Mapping[str, Path], config: CloseConfig) -> WeightArtifact:
    """Turn a released checkpoint into the tensors of ``close``.

    The file does not say in which space it was trained, only how wide that is.

    Args:
        files: ``model``, the state of a training run, and ``language``, a folder of the hub with the T5 that it was
            trained from; only its config and its tokenizer are read.
        config: Options; ``positions`` counts, which T5 itself does not have.

    Raises:
        WeightsError: Something is missing or damaged, a tensor is unknown or missing, or the sizes contradict one
            another.
    """
    for role, what in (("model", "its checkpoint, state-ep8.pth"), ("language", "the folder of T5-base")):
        if role not in files:
            raise WeightsError(f"{_WHO} needs {what}", f"the file with the role '{role}'")
    source = str(files["model"])
    tensors = as_floats(rename(read_checkpoint(files["model"]), LAYOUT, source, ASIDE), source)
    family, tokenizer = read_family(files["language"], SEQ2SEQ, _WHO)
    mapper = {name: tensor for name, tensor in tensors.items() if name.startswith("mapper.")}
    of_model = {name.removeprefix("model."): tensors[name] for name in tensors if name not in mapper}
    found = released_model(of_model, family, tokenizer, SEQ2SEQ, source)
    missing = [name for name in (_LAYER, _BIAS) if name not in mapper]
    if missing:
        raise WeightsError(f"{source}: the linear layer of {_WHO} is missing: {', '.join(missing)}")
    hidden = int(family.hidden_size)
    if mapper[_LAYER].ndim != 2 or len(mapper[_LAYER]) % hidden or mapper[_BIAS].shape != mapper[_LAYER].shape[:1]:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in mapper.items())
        raise WeightsError(f"{source}: its linear layer makes no whole tokens of width {hidden}: {shapes}")
    constants = mapper[_CONSTANTS].shape if _CONSTANTS in mapper else (0, hidden)
    if len(constants) != 2 or constants[1] != hidden:
        raise WeightsError(f"{source}: {_CONSTANTS} is {tuple(constants)}, and should be tokens of width {hidden}")
    sizes = {
        **sizes_of(SEQ2SEQ, family),
        "positions": config.positions,
        "tokens": len(mapper[_LAYER]) // hidden,
        "constants": constants[0],
    }
    header = WeightHeader(
        "decoder",
        "close",
        f"{UNNAMED}[{mapper[_LAYER].shape[1]}]",
        config=sizes,
        extra={"tokenizer": found.tokenizer.to_extra(), "model": found.stored},
        license="see its release",
    )
    return WeightArtifact({**mapper, **{f"model.{name}": tensor for name, tensor in found.tensors.items()}}, header)
