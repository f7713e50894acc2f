"""The codes are well-formed; that they are those of the contract is tested in tests/contract."""

from __future__ import annotations

from tidewire.core.protocol.codes import CLOSE_BY_NUMBER, CLOSES, ERRORS


def test_close_codes_are_ours_or_of_the_rfc_and_their_texts_fit_a_close_frame() -> None:
    for code in CLOSES.values():
        assert 4400 <= code.number < 4500 or 1000 <= code.number <= 1013
        assert code.number not in (1005, 1006), "never sent, says RFC 6455"
        assert len(code.text.encode()) <= 123


def test_codes_are_found_by_name_and_by_number() -> None:
    assert all(name == code.name for name, code in CLOSES.items())
    assert all(name == code.name for name, code in ERRORS.items())
    assert {code.number for code in CLOSES.values()} == set(CLOSE_BY_NUMBER)
    assert len(CLOSE_BY_NUMBER) == len(CLOSES)
