"""A language model in a folder: what it says follows from its files, its seed and the question alone."""

import copy
import json

import pytest
import torch
from toy_model import write_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from regionkit.core.errors import WeightsError
from regionkit.core.judging import Question, ask_all
from regionkit.plugins.judges.backends.configs import LocalConfig
from regionkit.plugins.judges.backends.local import LocalJudge

GREEDY = [
    Question("hello", max_tokens=6),
    Question("a longer one " * 5, "sys", max_tokens=6),
    Question("x", prefill="S", max_tokens=6),
]
DRAWN = [Question(text, temperature=1.0, top_p=0.9, max_tokens=6) for text in ("a", "b", "c d e f g")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("judges") / "toy")


def judge_of(folder, **options):
    return LocalJudge(LocalConfig(str(folder), device="cpu", **options))


def texts(judge, questions, attempt=0):
    found = dict(judge.ask(questions, attempt))
    return [found[at].text for at in range(len(questions))]


def test_greedy_words_are_those_of_transformers(folder):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("<|system|>sys<|end|><|user|>hello<|end|><|assistant|>S:", return_tensors="pt").input_ids
    written = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    wanted = tokenizer.decode(written, skip_special_tokens=True).strip()
    question = Question("hello", "sys", prefill="S:", max_tokens=12)
    assert texts(judge_of(folder), [question]) == [wanted]
    assert wanted


def test_replies_do_not_depend_on_company_or_on_the_random_state(folder):
    judge = judge_of(folder)
    together = texts(judge, [*GREEDY, *DRAWN])
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert texts(judge_of(folder), [*GREEDY, *DRAWN][::-1])[::-1] == together
    assert [texts(judge, [one])[0] for one in DRAWN] == together[3:]
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_differ_by_seed_and_attempt(folder):
    judge = judge_of(folder)
    first = texts(judge, DRAWN)
    assert texts(judge, DRAWN, 1) != first
    assert texts(judge_of(folder, seed=1), DRAWN) != first
    again = dict(judge.ask(GREEDY, 1))[0]
    assert again.text is None
    assert again.error == "a judge that takes the likeliest words would say the same again"


def test_without_a_chat_template_the_words_are_joined(tmp_path):
    folder = write_model(tmp_path / "plain", chat=False)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("sys\n\nhello\nS:", return_tensors="pt").input_ids
    written = model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    found = texts(judge_of(folder), [Question("hello", "sys", prefill="S:", max_tokens=8)])
    assert found == [tokenizer.decode(written, skip_special_tokens=True).strip()]


def test_what_cannot_be_asked_is_counted(folder, tmp_path):
    from PIL import Image

    small = judge_of(write_model(tmp_path / "small", positions=24))
    replies = dict(small.ask([Question("a" * 40), Question("a"), Question("b", images=(Image.new("L", (1, 1)),))]))
    assert replies[0].error == "the question has 43 tokens, the model's context 24"
    assert replies[0].final
    assert replies[1].text is not None
    assert replies[2].error == "this judge takes no pictures"


def test_a_template_that_refuses_is_counted(tmp_path):
    folder = write_model(tmp_path / "strict")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no system here') }}")
    (reply,) = [reply for _, reply in judge_of(folder).ask([Question("a")])]
    assert reply.error == "the model's chat template refuses the question: no system here"


def test_the_identity_follows_the_content_of_the_folder(folder, tmp_path):
    other = judge_of(write_model(tmp_path / "toy", seed=1))
    assert judge_of(folder).identity == judge_of(folder).identity != other.identity
    assert judge_of(folder).identity.startswith("toy@")
    assert judge_of(folder).identity.endswith(" float32 seed 0")
    assert judge_of(folder, seed=3).identity != judge_of(folder).identity


def test_a_second_run_reads_what_was_kept(folder, monkeypatch):
    first = ask_all(judge_of(folder), GREEDY, str)
    second = judge_of(folder)
    monkeypatch.setattr(second, "_model", lambda: pytest.fail("the model was asked again"))
    assert [one.value for one in ask_all(second, GREEDY, str)] == [one.value for one in first]


def test_copies_travel_without_the_model(folder):
    judge = judge_of(folder)
    wanted = texts(judge, GREEDY)
    twin = copy.deepcopy(judge)
    assert twin._loaded is None
    assert texts(twin, GREEDY) == wanted


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda folder: (folder / "config.json").unlink(), "it has no config.json", id="no-config"),
        pytest.param(lambda folder: (folder / "config.json").write_text("{"), "no language model can be", id="config"),
        pytest.param(lambda folder: (folder / "model.safetensors").unlink(), "no language model can be", id="weights"),
        pytest.param(
            lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04"), "no language model", id="damaged"
        ),
    ],
)
def test_damaged_folders_are_refused(tmp_path, spoil, message):
    folder = write_model(tmp_path / "toy")
    spoil(folder)
    with pytest.raises(WeightsError, match=message):
        list(judge_of(folder).ask([Question("a")]))


def test_neither_pickles_nor_code_of_the_folder_are_run(tmp_path):
    folder = write_model(tmp_path / "toy")
    (folder / "model.safetensors").unlink()
    flag = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'touch " + str(flag).encode() + b"'\ntR.")
    (folder / "evil.py").write_text(f"open({str(flag)!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="no language model can be read here"):
        list(judge_of(folder).ask([Question("a")]))
    assert not flag.exists()


@pytest.mark.parametrize("options", [{"model": " "}, {"model": "x", "seed": -1}])
def test_options_of_a_folder_that_cannot_be(options):
    with pytest.raises(ValueError, match=r"^(model|seed): "):
        LocalConfig(**options)
