"""The checks that hold for every kind: seeds, random state, precision, weights on disk, other processes, devices."""

import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

from regionkit.core.contracts import (
    Corpus,
    Dataset,
    GapBridge,
    Recipe,
    Sample,
    TrainSettings,
    WeightArtifact,
)
from regionkit.core.errors import DataError
from regionkit.core.features import RegionTokens
from regionkit.core.regions import Box, WholeImage
from regionkit.core.spec import KINDS, Port
from regionkit.core.testing import SampleData, Sentences, Skip, Subject, WordDecoder, checks_of, failures, picture
from regionkit.core.testing.fakes import GridBackbone, NearestTextDecoder
from regionkit.core.testing.worker import ask
from regionkit.core.weights import WeightHeader, load_into, read_header

param = pytest.param
READS, WRITES = Port("grid/image[16]"), Port("grid/text[16]")


class Projector(nn.Module, GapBridge):
    """A linear bridge, with switches for its faults."""

    def __init__(self, seed=0, fault=""):
        super().__init__()
        self.fault, self.calls = fault, 0
        with torch.random.fork_rng(devices=[]):
            if fault != "global-seed":
                torch.manual_seed(seed)
            self.layer = nn.Linear(16, 16)
        if fault == "moves-random":
            torch.rand(1)
        if fault == "seeds-all":
            torch.manual_seed(seed)
        self.scale = torch.rand(1, generator=torch.Generator().manual_seed(seed)) + 0.5
        if fault != "lost-state":
            self.scale = torch.ones(1)
        if fault == "lock":
            self.lock = threading.Lock()
        if fault == "shape":
            self.extra = nn.Parameter(torch.zeros(seed + 1))

    def bridge(self, tokens):
        tokens.check_finite("projector")
        values = tokens.tokens.to(self.layer.weight.dtype)
        if self.fault == "half-breaks" and values.dtype != torch.float32:
            values = values * torch.nan
        if self.fault == "half-far" and values.dtype != torch.float32:
            values = values + 1
        if self.fault == "half-stuck":
            values = tokens.tokens.double().to(tokens.tokens.dtype)
            values = values @ torch.eye(16)
        if self.fault == "draws":
            values = values + 0 * torch.rand(1)
        if self.fault == "random":
            values = values + torch.rand(1)
        if self.fault == "process":
            values = values + float(getattr(__import__("sys"), "marked_by_a_test", 0.0))
        # Row by row: a product may round otherwise in another batch size.
        out = torch.stack([self.layer(row) for row in values]) if len(values) else values
        return RegionTokens((out * self.scale).to(tokens.tokens.dtype), tokens.mask, WRITES.space)

    def artifact(self):
        tensors = self.state_dict()
        if self.fault == "artifact":
            tensors["layer.bias"] = torch.zeros(16)
        return WeightArtifact(tensors, WeightHeader("bridge", "projector", READS.space, WRITES.space))

    @classmethod
    def read(cls, path):
        from regionkit.core.weights import WeightFile

        bridge = cls(5)
        load_into(bridge, WeightFile(path, read_header(path)).tensors(), path)
        return bridge


def subject(fault=""):
    return Subject(
        "bridge",
        Projector(0, fault).eval(),
        make=lambda seed: Projector(seed, fault).eval(),
        read=Projector.read,
        reads=READS,
        writes=WRITES,
    )


def caught(one, check):
    """Return the sentence with which a check fails a subject."""
    found = dict(failures(one, [check]))
    assert found, f"{check} passes"
    return found[check]


def test_an_honest_module_passes_every_check():
    assert dict(failures(subject())) == {}


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("random", "deterministic", "bridging twice gives two results", id="a-call-is-random"),
        param("global-seed", "same-seed-same-component", "draws from the global random state", id="ignores-the-seed"),
        param("draws", "random-state-untouched", "using it moves the global random state", id="using-moves-state"),
        param("moves-random", "random-state-untouched", "building it moves the global", id="building-moves-state"),
        # The first one of the seed, that of the subject, left the very state that the next one comes to.
        param("seeds-all", "random-state-untouched", "building it moves the global", id="building-seeds-again"),
        param("half-breaks", "bfloat16", "in bfloat16, its tokens hold NaN or infinity", id="half-nan"),
        param("half-far", "bfloat16", "in bfloat16, its tokens are far from those in float32", id="half-far"),
        param("half-stuck", "bfloat16", "it crashed with RuntimeError", id="half-crash"),
        param("lost-state", "save-load", "state is lost on the way through a weight file", id="state-lost"),
        param("shape", "save-load", "one from another seed cannot load its weights", id="shape-of-the-seed"),
        param("artifact", "artifact", "artifact() loses state, in its tokens", id="artifact"),
        param("lock", "pickles", "it cannot be pickled: cannot pickle '_thread.lock' object", id="unpicklable"),
    ],
)
def test_faults_of_any_kind_are_caught(fault, check, words):
    assert words in caught(subject(fault), check)


def test_a_component_that_differs_in_another_process_is_caught(monkeypatch):
    monkeypatch.setattr("sys.marked_by_a_test", 1.0, raising=False)
    assert caught(subject("process"), "pickles") == "in another process it gives another result, in its tokens"


def test_a_class_that_cannot_be_imported_is_no_fault_of_pickling():
    class Local(GapBridge):
        def bridge(self, tokens):
            return tokens

    (pickles,) = [check for check in checks_of("bridge") if check.name == "pickles"]
    with pytest.raises(Skip, match="cannot be imported by name from another process"):
        pickles(Subject("bridge", Local()))


def test_what_the_worker_cannot_do_comes_back_as_a_sentence():
    with pytest.raises(AssertionError, match=r"in another process, it crashed with ModuleNotFoundError: No module"):
        ask("import", "regionkit.not_there")


def test_a_worker_that_was_killed_is_started_again():
    from regionkit.core.testing import worker

    assert ask("import", "json") == []
    worker._worker.kill()
    worker._worker.wait()
    assert ask("import", "json") == []


def test_checks_that_need_another_component_are_skipped_without_one():
    alone = replace(subject("global-seed"), make=None)
    assert dict(failures(alone)) == {}


@pytest.mark.gpu
def test_a_gpu_gives_what_a_cpu_gives():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    (gpu,) = [check for check in checks_of("bridge") if check.gpu]
    gpu(subject())


def test_without_a_gpu_its_check_is_skipped_with_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (gpu,) = [check for check in checks_of("bridge") if check.gpu]
    with pytest.raises(Skip, match="there is no CUDA device here"):
        gpu(subject())


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_sentence_and_a_name_of_its_own(kind):
    checks = checks_of(kind)
    names = [check.name for check in checks]
    assert len(checks) >= 5
    assert len(set(names)) == len(names)
    assert all(len(check.demands.split()) > 5 and not check.demands.endswith(".") for check in checks)


class Pictures(Dataset):
    """A data set drawn from a seed, with switches for its faults."""

    def __init__(self, fault=""):
        self.fault, self.asked = fault, 0

    def samples(self, task, split, seed=0, limit=None):
        self.asked += 1
        count = 4 if limit is None else limit
        shift = self.asked if self.fault == "unstable" else 0
        region = Box(500, 500, 600, 600) if self.fault == "outside" else WholeImage()
        references = () if self.fault == "no-references" else ("" if self.fault == "blank" else "a thing",)
        names = [0] * count if self.fault == "ids" else range(count)
        return [Sample(f"{seed}/{name + shift}", f"{seed}/{name}", region, references) for name in names]

    def image(self, image_id):
        if "/" not in image_id:
            raise KeyError(image_id) if self.fault == "unknown" else DataError(f"no picture '{image_id}'")
        seed = 1 if self.fault != "pictures" else self.asked
        self.asked += 1
        return picture(seed=seed)

    def fingerprint(self, task, split, seed=0, limit=None):
        return (
            str(limit) if self.fault == "fingerprint-seed" else f"{seed}" if self.fault == "limit" else f"{seed}{limit}"
        )


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("unstable", "samples", "the samples of task image differ when asked twice", id="unstable"),
        param("ids", "samples", "two samples of task image have one id", id="ids"),
        param("no-references", "references", "has an empty reference, or none", id="no-references"),
        param("blank", "references", "has an empty reference, or none", id="blank-reference"),
        param("outside", "pictures", "lies outside its image", id="outside"),
        param("pictures", "pictures", "differs when opened twice", id="pictures"),
        param("unknown", "unknown-picture", "an unknown picture ends in KeyError, not in a DataError", id="unknown"),
        param("fingerprint-seed", "fingerprint", "another seed gives other samples of task image", id="seed"),
        param("limit", "fingerprint", "another limit gives other samples of task image", id="limit"),
    ],
)
def test_faulty_data_sets_are_caught(fault, check, words):
    one = Subject("dataset", Pictures(fault), make=lambda seed: Pictures(fault), accepts=("image",))
    assert words in caught(one, check)


def test_honest_data_sets_pass():
    assert dict(failures(Subject("dataset", Pictures(), make=lambda seed: Pictures(), accepts=("image",)))) == {}
    assert dict(failures(Subject("dataset", SampleData(), accepts=("image",)))) == {}


def test_a_data_set_whose_files_are_missing_is_skipped_with_what_it_says():
    class Absent(Pictures):
        def samples(self, task, split, seed=0, limit=None):
            raise DataError("there is no folder coco")

    (check,) = [check for check in checks_of("dataset") if check.name == "samples"]
    with pytest.raises(Skip, match="its data are not here: there is no folder coco"):
        check(Subject("dataset", Absent(), accepts=("image",)))


class Shuffled(Corpus):
    def texts(self):
        return [f"a {word}" for word in {"cat", "dog", str(torch.rand(1).item())}]


class Streaming(Sentences):
    """A corpus that reads as it goes, with switches for its faults."""

    def __init__(self, fault=""):
        super().__init__(["a dog", "a cat", "a cow"])
        self.fault = fault

    def stream(self):
        ways = {"short": self.given[:2], "order": self.given[::-1], "more": (*self.given, "a pig")}
        yield from ways.get(self.fault, self.given)

    def rows(self):
        return self.given[1:] if self.fault == "rows" else self.given


@pytest.mark.parametrize(
    ("corpus", "check", "words"),
    [
        param(Sentences([]), "sentences", "it holds no sentence", id="none"),
        param(Sentences(["a dog", ""]), "sentences", "sentence 1 is empty", id="empty"),
        param(Sentences(["a dog\nand a cat"]), "sentences", "sentence 0 holds a line break", id="line-break"),
        param(Shuffled(), "deterministic", "asking twice gives two results, in its sentences", id="order"),
        param(Streaming("short"), "streamed", "stream() gives 2 sentences, texts() 3", id="stream-ends-early"),
        param(Streaming("more"), "streamed", "stream() gives 4 sentences, texts() 3", id="stream-goes-on"),
        param(Streaming("order"), "streamed", "sentence 0 of stream() is not that of texts()", id="stream-order"),
        param(Streaming("rows"), "streamed", "sentence 0 of rows() is not that of texts()", id="rows"),
    ],
)
def test_faulty_corpora_are_caught(corpus, check, words):
    assert words in caught(Subject("corpus", corpus), check)


@pytest.mark.parametrize("corpus", [param(Sentences, id="list"), param(Streaming, id="stream")])
def test_an_honest_corpus_passes(corpus):
    assert dict(failures(Subject("corpus", corpus(), make=lambda seed: corpus()))) == {}


class Training(Recipe):
    """Train a :class:`WordDecoder`, with switches for its faults."""

    def __init__(self, seed=0, fault=""):
        self.seed, self.fault = seed, fault
        self.settings = TrainSettings(steps=2, learning_rate=1e-3)
        self.decoder = WordDecoder(WRITES.space, ["a", "dog"], seed)
        self.running = torch.Generator().manual_seed(seed)

    @property
    def module(self):
        return self.decoder

    def batch(self, step):
        seed = 0 if self.fault == "seed" else self.seed
        generator = self.running if self.fault == "runs-on" else torch.Generator().manual_seed(1000 * seed + step)
        return RegionTokens.single(torch.randn(3, 16, generator=generator), WRITES.space), ["a", "dog", "a"]

    def loss(self, batch):
        loss = self.decoder.loss(*batch)
        if self.fault == "detached":
            loss = loss.detach()
        return (loss * torch.nan if self.fault == "nan" else loss), {}

    def export(self):
        made = self.decoder.artifact()
        return [replace(made, header=replace(made.header, kind="bridge")) if self.fault == "header" else made]


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("seed", "batch-of-the-step", "the batch ignores the seed", id="seed"),
        param("runs-on", "batch-of-the-step", "a batch differs when it is made again after another", id="runs-on"),
        param("detached", "training-loss", "the loss reaches no weight", id="detached"),
        param("nan", "training-loss", "loss is (), not one finite number", id="nan"),
        param("header", "export", "its header says bridge, the recipe trains a decoder", id="header"),
    ],
)
def test_faulty_recipes_are_caught(fault, check, words):
    one = Subject("recipe", Training(0, fault), make=lambda seed: Training(seed, fault), trains=("decoder",))
    assert words in caught(one, check)


def test_an_honest_recipe_passes():
    assert dict(failures(Subject("recipe", Training(), make=Training, trains=("decoder",)))) == {}


def test_stand_ins_keep_what_they_stand_in_for():
    words = WordDecoder(WRITES.space, ["a", "dog", "red"]).eval()
    assert dict(failures(Subject("decoder", words, make=None, reads=WRITES))) == {}
    nearest = NearestTextDecoder(["red", "a dog"], GridBackbone().encode_text(["red", "a dog"]))
    assert dict(failures(Subject("decoder", nearest, reads=WRITES))) == {}
