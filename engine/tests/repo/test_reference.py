"""The reference pages say what the code says."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tidewire.config import Config
from tools.reference import HOME, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    assert (HOME / name).read_text() == PAGES[name](), "run `make docs`"


def test_every_setting_has_words() -> None:
    page = PAGES["configuration.md"]()
    assert page.count("TIDEWIRE_") == len(fields(Config))
