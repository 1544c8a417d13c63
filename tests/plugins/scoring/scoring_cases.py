"""Files and calls that the tests of this folder share."""

from __future__ import annotations

import gzip
import json

from click.testing import CliRunner

from regionkit.registry.cli import root

PREDICTIONS = {"1": "a dog runs on grass", "2": "two cats on a mat", "3": "a red bus in the street", "4": "a man"}
REFERENCES = {
    "1": ["a dog is running on the grass", "the dog runs on grass"],
    "2": "two cats sit on a mat",
    "3": ["a red bus in a street", "the bus is red"],
    "4": ["a man with a hat", "a man stands"],
}
#: Cuts nothing off and joins nothing: tests of files are no tests of tokenisers.
WORDS = ("--set", "cider-d.tokeniser=words")
CIDER = ("--metrics", "cider-d", *WORDS)


def write(folder, name, value):
    """Write a value as JSON, a list of lines as JSON lines where the name says so, or bytes as they are."""
    path = folder / name
    content = value
    if not isinstance(value, bytes):
        lines = [json.dumps(one) for one in value] if ".jsonl" in name else [json.dumps(value)]
        content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def call(*arguments, status=0, **more):
    """Run ``toolkit`` and return what it says."""
    result = CliRunner().invoke(root, [str(one) for one in arguments], **more)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    return result


def scored(folder, predictions, *options, status=0, references=REFERENCES, name="p.json"):
    """Return what ``score --json`` says of some predictions."""
    source = predictions if isinstance(predictions, type(folder)) else write(folder, name, predictions)
    truth = write(folder, "r.json", references)
    result = call("score", source, "--references", truth, "--json", *(options or CIDER), status=status)
    return json.loads(result.stdout)


def refused(folder, predictions, *options, references=REFERENCES, name="p.json"):
    """Return the message that ends ``score`` with status 2, the folder left out."""
    source = write(folder, name, predictions)
    truth = write(folder, "r.json", references)
    result = call("score", source, "--references", truth, *(options or CIDER), status=2)
    assert result.stdout == ""
    return result.stderr.replace(f"{folder}/", "").strip()
