"""Dense captioning as the torch port evaluates it, one detection after the other, to compare with."""

from __future__ import annotations

import itertools

import numpy as np

from regionkit.core.contracts import Sample
from regionkit.core.regions import Box, WholeImage
from regionkit.plugins.caption_metrics.regions.dense_matching import DenseImage, iou

OVERLAPS, SIMILARITIES = (0.3, 0.4, 0.5, 0.6, 0.7), (0, 0.05, 0.1, 0.15, 0.2, 0.25)


def image(name, boxes=(), scores=(), captions=(), truth_boxes=(), truth_captions=(), size=None):
    arrays = [np.array(value, np.float64).reshape(-1, 4) for value in (boxes, truth_boxes)]
    said = tuple(tuple(texts) for texts in truth_captions)
    return DenseImage(str(name), arrays[0], np.array(scores, np.float64), tuple(captions), arrays[1], said, size)


def plain_merge(overlaps):
    """Group boxes (m, m): who has the most neighbours takes them and leaves, until all have left."""
    left, groups = set(range(len(overlaps))), []
    while left:
        near = {at: [other for other in sorted(left) if overlaps[at, other] >= 0.7] for at in sorted(left)}
        first = max(near, key=lambda at: len(near[at]))
        groups.append(near[first])
        left -= set(near[first])
    return groups


def plain_dense(images, judge, taking, ranking):
    """Evaluate as the torch port does, one detection after the other.

    Detections are numbered over all images; both orders are keys by which equal confidences are sorted: within images,
    where boxes are taken, and over all.
    """
    records, total, number = [], 0, 0
    for one in images:
        here = list(range(len(one.scores)))
        if not here:
            continue
        groups = plain_merge(iou(one.truth_boxes, one.truth_boxes))
        total += len(groups)
        merged = np.array([one.truth_boxes[group].mean(0) for group in groups]).reshape(-1, 4)
        used = set()
        for at in sorted(here, key=lambda at: (-one.scores[at], taking[number + at])):
            overlaps = iou(one.boxes[at : at + 1], merged)[0] if groups else np.zeros(1)
            best = int(overlaps.argmax())
            free = overlaps[best] > 0 and best not in used
            alike = -1.0
            if free:
                used.add(best)
                texts = [text for member in groups[best] for text in one.truth_captions[member]]
                alike = judge([one.captions[at]], [texts])[0]
            records.append((-one.scores[at], ranking[number + at], free, overlaps[best], alike))
        number += len(here)
    records.sort()
    values = []
    for overlap, floor in itertools.product(OVERLAPS, SIMILARITIES):
        right = np.cumsum([free and have >= overlap and alike > floor for *_, free, have, alike in records])
        precision = right / np.arange(1, len(records) + 1)
        reached = 100 * right >= np.arange(100)[:, None] * total
        values.append(np.where(reached, precision, 0).max(1, initial=0).mean())
    return float(np.mean(values)) if records else 0.0


def judge_by_letters(captions, references):
    """A stand-in for METEOR: any numbers that depend on both texts."""
    pairs = zip(captions, references, strict=True)
    return np.array([sum(map(ord, caption + "".join(texts))) % 7 / 14 for caption, texts in pairs])


def dense_samples(images):
    """Return one sample a detection with its caption, for ``DenseMap.update``.

    An image on which nothing was detected is one sample of the whole image, with ``info["detections"] == 0`` and an
    empty caption. Confidences go into the info of samples where the detections have some.
    """
    samples, captions = [], []
    for image in images:
        truth = tuple(
            {"box": box, "caption": texts}
            for box, texts in zip(image.truth_boxes.tolist(), image.truth_captions, strict=True)
        )
        shared = {"ground_truth": truth, **({"image_size": image.size} if image.size else {})}
        if not image.captions:
            samples.append(Sample(image.id, image.id, WholeImage(), (), {**shared, "detections": 0}))
            captions.append("")
        for at, (box, score) in enumerate(zip(image.boxes.tolist(), image.scores.tolist(), strict=True)):
            info = {**shared, "confidence": score} if image.ranked else shared
            samples.append(Sample(f"{image.id}/{at}", image.id, Box(*box), (), info))
            captions.append(image.captions[at])
    return samples, captions
