"""Scripts that stand in for ``java``: they keep to the command lines and protocols of the official programs."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

#: What every stand-in does first: it tells its version, and counts how often it was asked and started.
HEAD = """#!{python} -IS
import os, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
def note(name, text):
    with open(os.path.join(HERE, name), "a") as file:
        file.write(text + chr(10))
def times(name):
    path = os.path.join(HERE, name)
    return len(open(path).read().splitlines()) if os.path.exists(path) else 0
if "-version" in sys.argv:
    note("asked", "version")
    print('openjdk version "{version}" 2025-04-15', file=sys.stderr)
    sys.exit(0)
note("started", " ".join(sys.argv[1:]))
"""

#: Answers each line with itself.
ECHO = """
for line in sys.stdin:
    sys.stdout.write(line)
    sys.stdout.flush()
"""

#: METEOR's dialogue, with exact matches of whole words, all of them content words, as the only ones.
METEOR = """
def statistics(reference, caption):
    ours, theirs = caption.split(), reference.split()
    left, matched = list(theirs), 0
    for word in ours:
        if word in left:
            left.remove(word)
            matched += 1
    chunks = 0 if not matched else 1 if ours == theirs else matched
    return [len(ours), len(theirs), 0, 0, matched, matched, *[0] * 14, chunks, matched, matched]
for number, line in enumerate(sys.stdin):
    note("lines", line.rstrip(chr(10)))
    head, *references, caption = line.rstrip(chr(10)).split(" ||| ")
    FAULT
    best = max((statistics(text, caption) for text in references), key=lambda row: row[4] / (row[0] + row[1] + 1))
    print(" ".join(str(float(value)) for value in best), flush=True)
"""


def write_java(folder: Path, body: str = ECHO, version: str = "17.0.9") -> Path:
    """Write an executable ``java`` into ``folder/bin`` and return its path."""
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD.format(python=sys.executable, version=version) + body)
    path.chmod(0o755)
    return path


def meteor_body(fault: str = "") -> str:
    """Return the stand-in for METEOR, with a statement that is run for each line."""
    return METEOR.replace("FAULT", fault or "pass")


def write_jar(path: Path, *members: str) -> Path:
    """Write a whole jar with entries of those names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as jar:
        for member in members:
            jar.writestr(member, member)
    return path


def write_meteor(folder: Path) -> Path:
    """Write what looks like METEOR's jar and its table of paraphrases; return the folder."""
    write_jar(folder / "meteor-1.5.jar", "edu/cmu/meteor/scorer/MeteorScorer.class")
    table = folder / "data" / "paraphrase-en.gz"
    table.parent.mkdir(exist_ok=True)
    with open(table, "wb") as file:
        file.truncate(61_813_011)  # no bytes on the disk
    return folder


def lines_of(folder: Path, name: str) -> list[str]:
    """Return what a stand-in in ``folder/bin`` noted down."""
    path = folder / "bin" / name
    return path.read_text().splitlines() if path.exists() else []


#: SPICE's files: captions in, F-scores by category out, in another order, nothing where there is nothing to compare.
SPICE = """
import json
arguments = sys.argv[sys.argv.index("edu.anu.spice.SpiceScorer") + 1:]
note("folder", os.getcwd())
items = json.load(open(arguments[0]))
note("items", json.dumps(items))
print("Parsing captions", flush=True)
COLOURS = {"red", "blue"}
def scores(ours, theirs, allowed=True):
    if not ours and not theirs and allowed:
        return {"f": None, "pr": None, "re": None, "numImages": 0}
    both = len(ours & theirs)
    return {"f": 2 * both / (len(ours) + len(theirs)) if both else 0.0, "pr": 0, "re": 0, "numImages": 1}
answers = []
for item in items:
    ours, theirs = set(item["test"].split()), set(" ".join(item["refs"]).split())
    answers.append({"image_id": item["image_id"], "scores": {
        "All": scores(ours, theirs, False), "Color": scores(ours & COLOURS, theirs & COLOURS),
        **{name: scores(set(), set()) for name in ("Object", "Relation", "Attribute", "Size", "Cardinality")}}})
answers = answers[::-1]
FAULT
json.dump(answers, open(arguments[arguments.index("-out") + 1], "w"))
"""


def spice_body(fault: str = "") -> str:
    """Return the stand-in for SPICE, with statements that are run before it writes its answer."""
    return SPICE.replace("FAULT", fault)


def write_spice(folder: Path) -> Path:
    """Write what looks like SPICE's jars and CoreNLP's; return the folder that holds SPICE's own."""
    write_jar(folder / "spice" / "spice-1.0.jar", "edu/anu/spice/SpiceScorer.class")
    write_jar(folder / "spice" / "lib" / "SceneGraphParser-1.0.jar", "edu/stanford/nlp/scenegraph/Parser.class")
    parser = "edu/stanford/nlp/semgraph/semgrex/SemgrexPattern.class"
    write_jar(folder / "corenlp" / "stanford-corenlp-3.6.0.jar", parser)
    write_jar(folder / "corenlp" / "stanford-corenlp-3.6.0-models.jar", "edu/stanford/nlp/models/a", "b", "c")
    return folder
