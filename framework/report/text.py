"""Text, numbers and links as HTML: whatever a name holds, it stays a text."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from html import escape
from math import isfinite, isnan
from pathlib import Path
from typing import Any
from urllib.parse import quote

NOTHING = "\u2013"
"""What stands in a cell without a value."""
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Characters without a face of their own that change how others look: control codes, marks of direction, lone surrogates."""
_IN_SCRIPTS = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def visible(text: str) -> str:
    r"""Returns a text whose hidden characters are written as their codes.

    Example:
        >>> from framework.report.text import visible
        >>> visible("a\u202eb")
        'a\\u202eb'
    """
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def html(text: Any) -> str:
    """Returns a text for an element or an attribute in quotes.

    Example:
        >>> from framework.report.text import html
        >>> html('<img src="x">')
        '&lt;img src=&quot;x&quot;&gt;'
    """
    return escape(visible(str(text)), quote=True)


def script_json(value: Any) -> str:
    """Returns JSON that can stand in a script element.

    Example:
        >>> from framework.report.text import script_json
        >>> script_json(["</script>"])
        '["\\\\u003c/script\\\\u003e"]'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_IN_SCRIPTS)


def link(path: Path, folder: Path) -> str:
    """Returns the relative address of a file for a page in `folder`.

    Example:
        >>> from pathlib import Path
        >>> from framework.report.text import link
        >>> link(Path("runs/a b/report.html"), Path("runs"))
        'a%20b/report.html'
    """
    relative = os.path.relpath(path.resolve(), folder.resolve())
    return quote(os.fsencode(relative.replace(os.sep, "/")), safe="/")


def number(value: float) -> str:
    """Returns a number for people; a fraction with four digits.

    Example:
        >>> from framework.report.text import number
        >>> number(0.123456), number(1234567), number(1234567.0), number(3e-05), number(float("nan"))
        ('0.1235', '1234567', '1.235e6', '3e-5', 'NaN')
    """
    if isinstance(value, int):
        return str(value)
    if not isfinite(value):
        return "NaN" if isnan(value) else "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1_000_000:
        return str(int(value))
    mantissa, e, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def seconds(value: float) -> str:
    """Returns a span of time for people.

    Example:
        >>> from framework.report.text import seconds
        >>> seconds(0.25), seconds(75), seconds(7380), seconds(200_000)
        ('0.2 s', '1 min 15 s', '2 h 3 min', '2 d 7 h')
    """
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def moment(time_s: float) -> str:
    """Returns a moment, seconds since 1970, for people everywhere: in UTC.

    Example:
        >>> from framework.report.text import moment
        >>> moment(1_700_000_000)
        '2023-11-14 22:13 UTC'
    """
    try:
        return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, OSError, ValueError):
        return number(time_s)
