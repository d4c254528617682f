from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events.amounts import plain, to_minor
from streams.events.currencies import MINOR_DIGITS


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.00", "0"),
        ("1", "1"),
        ("1.50", "1.50"),
        ("-10.5", "-10.5"),
        ("+7.5", "7.5"),
        ("007.50", "7.50"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("5.", "5"),
        ("1e3", "1000"),
        ("1.25E+1", "12.5"),
        ("12345e-2", "123.45"),
        ("1e-7", "0.0000001"),
        ("1e000002", "100"),
        ("0e99999999999", "0"),
        ("0.000123e3", "0.123"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("999999999999999.99", "999999999999999.99"),
        ("-999999999999999", "-999999999999999"),
        ("1e14", "100000000000000"),
        ("1e15", None),
        ("1000000000000000", None),
        ("1e400", None),
        ("1e-400", None),
        ("1e99999999999999999999", None),
        ("9" * 5000, None),
        ("0." + "0" * 254 + "1", None),
        ("NaN", None),
        ("Infinity", None),
        ("-inf", None),
        ("1,234.50", None),
        ("1 234", None),
        ("1_000", None),
        ("12 EUR", None),
        ("€12", None),
        ("0x10", None),
        ("١٢", None),
        ("1.2.3", None),
        ("--1", None),
        ("1e", None),
        ("e5", None),
        (".", None),
        ("-", None),
        ("", None),
        ("1\n", None),
    ],
)
def test_an_amount_is_kept_digit_by_digit_or_refused(said, text):
    """Digits after the point stay as written; exponents, plus signs and needless zeros go; no more than 15 digits before it."""
    assert plain(said) == text


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15) + 1, max_value=10**15 - 1))
def test_plain_text_is_the_same_number(number):
    """Whatever notation Decimal chooses, the plain text has no exponent and exactly its value."""
    text = plain(str(number))
    if text is None:
        assert len(f"{abs(number):f}") > 200
    else:
        assert (Fraction(text), "e" in text.lower()) == (Fraction(number), False)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("0", "EUR", 0),
        ("10", "EUR", 1000),
        ("1.005", "EUR", 100),
        ("1.015", "EUR", 102),
        ("1.0150000000000000000000000000000001", "EUR", 102),
        ("1.0050000000000000000000000000000001", "EUR", 101),
        ("-1.005", "EUR", -100),
        ("-1.015", "EUR", -102),
        ("2.5", "JPY", 2),
        ("3.5", "JPY", 4),
        ("-2.5", "JPY", -2),
        ("1.2345", "KWD", 1234),
        ("1.2355", "KWD", 1236),
        ("1.23455", "CLF", 12346),
        ("999999999999999.99", "USD", 99_999_999_999_999_999),
        ("0.0000000000000000000000000000000000000000000001", "USD", 0),
    ],
)
def test_minor_units_are_rounded_half_even(text, currency, minor):
    """A tie goes to the even unit, anything else to the nearer one, in the currency's own minor unit."""
    assert to_minor(text, currency) == minor


@settings(deadline=None)
@given(st.decimals(-(10**15) + 1, 10**15 - 1, places=5), st.sampled_from(["JPY", "EUR", "KWD", "CLF"]))
def test_minor_units_agree_with_exact_fractions(number, currency):
    """Rounding agrees with Python's own half-even rounding of exact fractions."""
    text = plain(str(number))
    assert to_minor(text, currency) == round(Fraction(Decimal(text)) * 10 ** MINOR_DIGITS[currency])


def test_an_unknown_currency_is_a_programmer_s_error():
    """Decoding lets no unknown code pass, so rounding in one is a bug and not an input."""
    with pytest.raises(KeyError):
        to_minor("1", "XYZ")


@pytest.mark.parametrize(
    ("code", "digits"),
    [("EUR", 2), ("UAH", 2), ("USD", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("TND", 3), ("CLF", 4), ("UYW", 4), ("ISK", 0)],
)
def test_minor_digits_are_those_of_iso_4217(code, digits):
    """Spot checks of each number of digits."""
    assert MINOR_DIGITS[code] == digits


@pytest.mark.parametrize(
    ("code", "digits"),
    [
        *(("BGN", 2), ("HRK", 2), ("ANG", 2), ("SLL", 2), ("ZWL", 2), ("CUC", 2), ("LTL", 2), ("LVL", 2), ("DEM", 2)),
        *(("BYR", 0), ("ITL", 0), ("TRL", 0), ("ECS", 2)),
    ],
)
def test_what_was_withdrawn_since_2000_keeps_its_digits(code, digits):
    """Deals that were made in it are as old as that, and may be replayed at any time."""
    assert MINOR_DIGITS[code] == digits


@pytest.mark.parametrize("code", ["PLZ", "XEU", "XFU", "XXX", "XAU", "BTC", "eur", ""])
def test_codes_that_were_never_in_use_since_2000_or_have_no_minor_unit_are_unknown(code):
    """What was withdrawn before, metals, test codes and inventions are in no table."""
    assert code not in MINOR_DIGITS
