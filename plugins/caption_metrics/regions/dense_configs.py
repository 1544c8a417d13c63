"""Options of dense captioning, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DenseMapConfig:
    """Options of ``dense-map``.

    Attributes:
        variant: ``torch-port``: the port of the released evaluation to torch that later papers used. ``lua``: the
            release itself, where boxes include their last pixel and a detection that overlaps nothing uses up the last
            ground-truth box of its image.
        count_empty: Images on which nothing was detected keep their ground truth. The released evaluations skip these
            images: of two images with a box each, one of them found, they say 1.00 and not .51.
        recall_points: 100 for recall 0 to .99, as all released programs have it; 101 for 0 to 1, as the paper says.
        similarity: What judges captions: ``meteor``, by the official program, on captions as they are; ``table``,
            values recorded in a file; ``none``: captions are not judged, and the value is that of the boxes alone.
        table: For ``similarity: table``, a JSON file, ``.gz`` too, of ``[caption, [reference, ...], value]``; a box's
            references are all captions of the ground-truth boxes that were merged in it, in the order of the merging.
        confidence: What detections are ranked by: ``info``, the number ``confidence`` of a sample's info;
            ``likelihood``, the decoder's log-likelihood of the caption; ``uniform``, nothing. ``auto``: the first of
            these that is there. Captions that come as plain text have no likelihood.
        tie_orders: Orders that are tried where confidences are tied. Where there are no more than that, all are tried.
            The order given decides the main value; these say what chance decides.
    """

    variant: Literal["torch-port", "lua"] = "torch-port"
    count_empty: bool = False
    recall_points: Literal[100, 101] = 100
    similarity: Literal["meteor", "table", "none"] = "meteor"
    table: str = ""
    confidence: Literal["auto", "info", "likelihood", "uniform"] = "auto"
    tie_orders: int = 60

    def __post_init__(self) -> None:
        if self.similarity == "table" and not self.table:
            raise ValueError("table must name the file of recorded values that similarity: table reads")
        if self.table and self.similarity != "table":
            raise ValueError(f"table is read with similarity: table alone, not with {self.similarity}")
        if self.tie_orders < 2:
            raise ValueError(f"tie_orders must be 2 or more, not {self.tie_orders}")
