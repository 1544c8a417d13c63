"""What can be said without a cluster."""

import subprocess
import sys

import pytest
from ray_fakes import Squares

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import ConfigError, MissingExtra, RunFailed
from regionkit.core.launching import Launcher
from regionkit.plugins.ray.configs import RayConfig
from regionkit.plugins.ray.launcher import RayLauncher
from regionkit.registry import get_registry, packages
from regionkit.registry.assembly import build_part
from regionkit.registry.schema import fill


def test_the_component_is_there_with_its_options():
    part = fill("launcher", {"name": "ray", "address": "10.0.0.1:6379", "workers": 4})
    launcher = build_part(part, BuildContext()) if packages.is_installed("ray") else RayLauncher(part.config)
    assert isinstance(launcher, RayLauncher)
    assert isinstance(launcher, Launcher)
    assert launcher.config == RayConfig("10.0.0.1:6379", 4)
    assert (part.spec.requires, part.spec.extra) == (("ray",), "ray")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"address": "somewhere"}, "address: 'somewhere' is not auto, local or HOST:PORT", id="address"),
        pytest.param({"address": ""}, "address: '' is not auto, local or HOST:PORT", id="no-address"),
        pytest.param(
            {"address": "ray://head:10001"},
            "address: no Ray client; run on a machine of the cluster, with address: auto",
            id="client",
        ),
        pytest.param({"workers": 0}, "workers: 0 must be from 1 to 4096, or auto", id="workers"),
        pytest.param({"cpus_per_worker": 0}, "cpus_per_worker must be 1 or more", id="cpus"),
        pytest.param(
            {"gpus_per_worker": 1.5},
            "gpus_per_worker: write a part of one GPU, such as 0.5, or a whole number",
            id="gpus",
        ),
        pytest.param({"shard": -1}, "max_restarts, shard and retries must be 0 or more", id="shard"),
        pytest.param({"start_timeout": 0}, "start_timeout: write a number of seconds above 0", id="start"),
        pytest.param({"time_limit": 0}, "time_limit: write a number of seconds above 0, or null", id="time"),
        pytest.param({"lease": 0}, "lease must be from 1 to 86400 seconds", id="lease"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError) as told:
        fill("launcher", {"name": "ray", **options})
    assert message in str(told.value)


def test_without_ray_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra) as told:
        RayLauncher(RayConfig()).launch(Squares(tmp_path, 3))
    assert str(told.value) == (
        "launcher 'ray' needs the package 'ray', which is not installed\n"
        "  install it with: pip install 'regionkit[ray]'"
    )


def test_the_registry_says_the_same(monkeypatch):
    monkeypatch.setattr(packages, "is_installed", lambda package: package != "ray")
    with pytest.raises(MissingExtra, match="launcher 'ray' needs the package 'ray', which is not installed"):
        packages.require_packages(get_registry().find("launcher", "ray"))


def test_the_folder_of_the_plugin_is_not_taken_for_the_package():
    code = """
import sys
from regionkit.registry import get_registry
assert get_registry().find("launcher", "ray")
import regionkit.plugins.ray.configs
heavy = {"ray", "torch", "numpy"} & set(sys.modules)
assert not heavy, heavy
import regionkit.plugins.ray.launcher
assert "ray" not in sys.modules  # imported when a run starts
from regionkit.plugins.ray.cluster import import_ray
ray = import_ray()
import regionkit.plugins.ray as plugin
assert ray.__name__ == "ray" and ray is not plugin and callable(ray.init)
"""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    told = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("device", ["cuda:1", "mps", "nonsense"])
def test_a_device_of_one_machine_is_refused(tmp_path, device):
    with pytest.raises(RunFailed) as told:
        RayLauncher(RayConfig()).launch(Squares(tmp_path, 1), device)
    assert told.value.message == f"launcher 'ray' cannot give every worker the device '{device}'"
    assert told.value.hints == ("say --device cuda for a GPU each, which the cluster chooses, or --device cpu",)


def test_nothing_is_started_where_there_is_nothing_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("regionkit.plugins.ray.launcher.connected", None)
    RayLauncher(RayConfig()).launch(Squares(tmp_path, 0))
