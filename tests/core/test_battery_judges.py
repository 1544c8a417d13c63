"""The battery of judges catches what it is there to catch."""

import random

import pytest

from regionkit.core.errors import RunFailed
from regionkit.core.judging import Judge, Reply
from regionkit.core.testing import Likeness, Subject, check_judge, failures


class Faulty(Judge):
    """Repeats the prompt, with a switch for each fault."""

    identity = "faulty"
    keeps = False

    def __init__(self, fault=""):
        self.fault, self.asked = fault, 0
        if fault == "nameless":
            self.identity = " "

    def ask(self, questions, attempt=0):
        if self.fault == "stops-all" and any(not one.prompt for one in questions):
            raise RunFailed("an empty prompt")
        if self.fault == "chatty" and not questions:
            yield 0, Reply("hello")
        for at, one in enumerate(questions):
            self.asked += 1
            text = one.prompt
            if self.fault == "renamed":
                self.identity = f"faulty {self.asked}"
            if self.fault == "forgets" and at == 1:
                continue
            if self.fault == "repeats" and at == 0:
                yield at, Reply(text)
            if self.fault == "numbers-its-replies":
                text = f"{at}. {text}"
            if self.fault == "looks-around":
                text = f"{text} {len(questions)}"
            if self.fault == "remembers":
                text = f"{text} {self.asked}"
            if self.fault == "random":
                random.random()
            if self.fault == "mute":
                yield at, Reply(None)
            elif self.fault == "both":
                yield at, Reply(text, "an error")
            elif self.fault == "plain":
                yield at, text
            elif self.fault == "gives-up" and attempt:
                return
            else:
                yield at, Reply(text)


def test_judges_without_a_fault_pass():
    check_judge(Faulty)
    check_judge(Likeness)


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        ("nameless", "identity", "its identity is ' '"),
        ("renamed", "identity", "its identity changes when it is asked"),
        ("forgets", "replies", "4 questions have replies at [0, 2, 3]"),
        ("repeats", "replies", "4 questions have replies at [0, 0, 1, 2, 3]"),
        ("mute", "replies", "a reply without words does not say why: its error is empty"),
        ("both", "replies", "a reply has words and an error: an error"),
        ("plain", "replies", "a reply is a str, not a Reply"),
        ("chatty", "nothing-asked", "it has replies although nothing was asked"),
        ("numbers-its-replies", "alone-or-together", "the order of the questions changes a reply"),
        ("looks-around", "alone-or-together", "asked alone, a question has another reply than among others"),
        ("stops-all", "strange-questions", "one strange question stops all others: an empty prompt"),
        ("gives-up", "further-attempts", "in attempt 2, 4 questions have 0 replies"),
        ("remembers", "deterministic", "asking twice gives two results"),
        ("random", "random-state-untouched", "using it moves the global random state"),
    ],
)
def test_faults_are_caught(fault, check, words):
    found = dict(failures(Subject("judge", Faulty(fault), make=lambda seed: Faulty(fault))))
    assert words in found[check]
