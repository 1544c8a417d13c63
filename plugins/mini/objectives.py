"""What the tiny backbones are trained for. Pictures come with one caption each; no region is ever given."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: How sharply a phrase chooses its patches for its score with a picture: logits are this times the cosine.
SHARPNESS = 20.0
#: A patch belongs to a phrase where its cosine is above this share of the best one.
BELONGS = 0.5


def unit(vectors: Tensor) -> Tensor:
    """Scale vectors (..., d) to length 1."""
    return F.normalize(vectors, dim=-1)


def pick(logits: Tensor, right: Tensor) -> Tensor:
    """Return the mean over rows of minus the log of the share that the right answers get.

    Args:
        logits: (n, m) scaled similarities.
        right: (n, m) bool, at least one True in each row.
    """
    kept = logits.masked_fill(~right, float("-inf"))
    return (logits.logsumexp(dim=1) - kept.logsumexp(dim=1)).mean()


def contrast(logits: Tensor, right: Tensor) -> Tensor:
    """Symmetric InfoNCE: each picture picks its texts, each text that has a picture picks its pictures.

    Args:
        logits: (b, s) scaled similarities of pictures and texts; texts without a picture only serve as wrong answers.
        right: (b, s) bool, at least one True in each row.
    """
    shown = right.any(dim=0)
    return 0.5 * (pick(logits, right) + pick(logits.T[shown], right.T[shown]))


def phrases_to_pictures(patches: Tensor, phrases: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """Each phrase picks the pictures that hold it, through the patches that fit it best (a soft maximum).

    Args:
        patches: (b, t, d) unit patches.
        phrases: (p, d) unit phrase embeddings.
        right: (p, b) bool, True where a picture's caption has the phrase.
        scale: Factor on cosines.
    """
    cosines = torch.einsum("pd,btd->pbt", phrases, patches)
    scores = ((SHARPNESS * cosines).softmax(dim=-1) * cosines).sum(dim=-1)
    return contrast(scale * scores, right)


def parts_of_phrases(patches: Tensor, phrases: Tensor, lots: Tensor) -> Tensor:
    """Return what region pooling would make of the patches that belong to each phrase, three vectors a phrase.

    The patches whose cosine is above half of the best form a region: its mean, the mean of the region grown by one
    patch (a box also holds ground), and one patch of it (a click). They are the model's own guess, from words alone.

    Args:
        patches: (p, h, w, d) raw patches of the picture that each phrase comes from.
        phrases: (p, d) unit phrase embeddings.
        lots: (p,) in [0, 1), which patch of the region is taken.

    Returns:
        (3, p, d) raw vectors.
    """
    with torch.no_grad():
        cosines = torch.einsum("phwd,pd->phw", unit(patches), phrases)
        best = cosines.amax(dim=(1, 2), keepdim=True)
        # Before anything is learned the best cosine may be negative; the best patch always belongs.
        region = (cosines >= best - (1 - BELONGS) * best.abs()).float()
        grown = F.max_pool2d(region.unsqueeze(1), 3, stride=1, padding=1).squeeze(1)
        places = region.flatten(1).cumsum(dim=1)
        wanted = (lots * places[:, -1]).floor().unsqueeze(1) + 1
        one = F.one_hot((places >= wanted).float().argmax(dim=1), places.shape[1]).float().view_as(region)
        weights = torch.stack([region, grown, one])
        weights /= weights.sum(dim=(2, 3), keepdim=True)
    return torch.einsum("kphw,phwd->kpd", weights, patches)
