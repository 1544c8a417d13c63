"""All backbones of this plugin: what the spec, the options and the network say of names and spaces is the same."""

from __future__ import annotations

from typing import ClassVar

import pytest
import yaml

from regionkit.core.spec import Ports
from regionkit.plugins.patchioner.backbones.specs import BACKBONES
from regionkit.plugins.patchioner.backbones.square import SquareBackbone
from regionkit.plugins.patchioner.backbones.square_config import SquareConfig, ports_of
from regionkit.registry.assembly import build

SPECS = [pytest.param(spec, id=spec.name) for spec in BACKBONES]


def tiny(spec):
    return {"name": spec.name, **yaml.safe_load(spec.tiny)}


@pytest.mark.parametrize("spec", SPECS)
def test_network_options_and_spec_tell_the_same(spec):
    backbone = build("backbone", tiny(spec))
    assert isinstance(backbone, SquareBackbone)
    assert backbone.component == spec.name
    ports = ports_of(backbone.config)
    assert isinstance(ports, Ports)
    told = (ports.writes.space, ports.text, ports.blocks, ports.masked)
    assert told == (backbone.space, backbone.text_space, backbone.block_space, backbone.masked_space)
    assert bool(backbone.blocks) == bool(ports.blocks)


@pytest.mark.parametrize("spec", SPECS)
def test_written_weights_say_name_space_and_every_size(spec):
    backbone = build("backbone", tiny(spec))
    header = backbone.artifact().header
    assert (header.kind, header.name, header.space) == ("backbone", spec.name, backbone.space)
    assert set(backbone.config.SIZES) <= set(header.config) <= set(backbone.architecture)
    assert all(header.config[name] == backbone.config.size(name) for name in backbone.config.SIZES)


def test_options_without_spaces_are_no_backbone():
    class Nameless(SquareConfig):
        SIZES: ClassVar = {"patch": 16}

        @property
        def patch(self):
            return 16

    with pytest.raises(NotImplementedError, match="Nameless names no spaces"):
        ports_of(Nameless(resolution=64))
