import ast

import pytest

from framework.module.drawing.page import COLUMN, WIDTH, Page


def test_blocks_indent_and_comments_stand_in_a_column():
    page = Page()
    page.line("first()", "one")
    with page.block("if True:", "two"):
        page.line("second()")
    page.remark("three")
    first, header, second, remark = page.text().splitlines()
    assert first.index("# one") == header.index("# two") == COLUMN
    assert (second, remark) == ("    second()", "# three")
    assert first[:COLUMN].strip() == "first()"


def test_an_empty_block_passes():
    page = Page()
    with page.block("try:"):
        page.remark("nothing")
    with page.block("finally:"):
        page.line("end()")
    ast.parse(page.text())
    assert "    pass" in page.text().splitlines()


def test_long_code_has_its_comment_after_it():
    page = Page()
    page.line("x" * COLUMN, "late")
    assert page.text() == "x" * COLUMN + "  # late"


@pytest.mark.parametrize(
    ("comment", "shown"),
    [
        ("short; it stays", "short; it stays"),
        ("what stands before the semicolon stays; " + "what comes after it goes " * 5, "what stands before the semicolon stays"),
        ("of its clauses, as many stay, as have room, " + "and more " * 9, "of its clauses, as many stay, as have room"),
        ("word " * 30, "word " * 11 + "word..."),
    ],
)
def test_a_long_comment_loses_its_last_clauses_or_words(comment, shown):
    page = Page()
    page.line("call()", comment)
    assert page.text().split("# ")[1] == shown
    assert len(page.text()) <= WIDTH


def test_far_to_the_right_a_comment_still_says_something():
    page = Page()
    page.line("x" * (WIDTH - 5), "something that is a little too long for this")
    assert page.text().split("# ")[1] == "something that is a..."
