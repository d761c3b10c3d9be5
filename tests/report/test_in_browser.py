"""The page as people see it: it draws, asks for nothing, complains of nothing, and runs nothing but its own script."""

import pytest
from browser import Browser, needs_chromium
from run_folders import usual_run, write_run
from test_drawn_report import hostile_run

from framework import write_report

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a report of some folders, and sees at the end that the page had nothing to say and nothing to ask for."""
    pages = []

    def open_report(*folders, **options):
        path = write_report(folders, tmp_path / "report.html")
        pages.append((path, browser.open(path, **options)))
        return pages[-1][1]

    yield open_report
    for path, page in pages:
        assert page.complaints() == []
        assert [address for address in page.requests() if address != "data:,"] == [path.as_uri()]
        page.close()


SIZES = """[...document.querySelectorAll('.chart .line')].filter(line => line.closest('.curves')).map(line => {
    const box = line.getBoundingClientRect(); return [box.width, box.height]; })"""
TOP = "document.querySelector('.plot > svg').getBoundingClientRect().toJSON()"


def curve(page, index=0):
    return page.run(f"document.querySelectorAll('.curve .line')[{index}].getAttribute('d')")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("script", [False, True])
def test_curves_are_drawn_with_and_without_script(opened, tmp_path, dark, script):
    page = opened(usual_run(tmp_path / "a"), usual_run(tmp_path / "b", factor=2.0), dark=dark, script=script)
    sizes = page.run(SIZES)
    assert len(sizes) == 12
    assert all(width > 100 for width, _ in sizes)
    assert sum(height > 5 for _, height in sizes) >= 8  # a learning rate that never changes is flat
    assert page.run("document.querySelectorAll('.js').length") == (1 if script else 0)
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark


LONG = "/a/long/folder/" * 9


@pytest.mark.parametrize(("width", "scrolls"), [(1200, False), (700, False), (400, True)])
def test_the_table_of_processes_is_not_cut(opened, tmp_path, width, scrolls):
    entries = [
        {"began": f"2026-11-2{day}T00:13:59+00:00", "command": ["train.py", LONG, str(day)], "goes_on_from": day}
        for day in range(3)
    ]
    page = opened(write_run(tmp_path / "a", config="fit: {}", environment=entries), width=width)
    found = page.run("""(box => [box.scrollWidth > box.clientWidth, getComputedStyle(box).overflowX,
        box.getBoundingClientRect().right,
        ...[...box.querySelectorAll('.short')].map(cell => cell.getClientRects().length)])(
        document.querySelector('.processes').parentNode)""")
    assert (found[0], found[1], found[3:]) == (scrolls, "auto", [1, 1, 1])
    assert found[2] <= width


def test_on_a_phone_nothing_is_wider_than_the_screen(opened, tmp_path):
    page = opened(usual_run(tmp_path / ("a long name " * 9)), usual_run(tmp_path / "b"), width=360)
    assert page.run("document.documentElement.scrollWidth") <= 360


def test_values_are_read_where_the_mouse_is(opened, tmp_path):
    page = opened(usual_run(tmp_path / "a"))
    box = page.run(TOP)
    page.mouse(box["x"] + box["width"] * 0.5, box["y"] + 20)
    text = page.run("[...document.querySelectorAll('.chart')][0].querySelector('.tip').innerText").split("\n")
    assert text[0] == "iteration 10, epoch 1"
    assert dict(zip(text[1::2], text[2::2], strict=True)) == {"train": "0.1", "val": "0.25", "train, means of epochs": "0.2"}
    page.mouse(1, 1)
    assert page.run("[...document.querySelectorAll('.tip')].every(tip => tip.hidden)")


def test_values_are_read_with_the_keys(opened, tmp_path):
    page = opened(usual_run(tmp_path / "a"))
    page.run("document.querySelector('.plot > svg').focus()")
    for key in ("End", "ArrowRight"):
        page.ask("Input.dispatchKeyEvent", type="keyDown", key=key)
    assert page.run("document.querySelector('.tip .head').textContent") == "iteration 20, epoch 2"
    page.ask("Input.dispatchKeyEvent", type="keyDown", key="Escape")
    assert page.run("document.querySelector('.tip').hidden")


def test_a_log_scale_and_back(opened, tmp_path):
    page = opened(usual_run(tmp_path / "a"))
    before = curve(page)
    page.run("document.querySelector('.log').click()")
    ticks = page.run("[...document.querySelectorAll('.chart')][0].querySelector('.axis.y').textContent")
    assert "0.1" in ticks
    assert curve(page) not in ("", before)
    page.run("document.querySelector('.log').click()")
    assert curve(page) == before


def test_what_is_not_positive_has_no_place_on_a_log_scale(opened, tmp_path):
    values = (1.0, 0.0, -1.0, 100.0, float("nan"), 10.0, 10.0)
    points = [(index, 1, float(index), {"train/loss": value}) for index, value in enumerate(values)]
    page = opened(write_run(tmp_path / "a", points=points))
    page.run("document.querySelector('.log').click()")
    assert curve(page).count("M") == 3
    assert curve(page).count("h0") == 2


def test_runs_and_kinds_are_hidden_and_the_axis_follows(opened, tmp_path):
    page = opened(usual_run(tmp_path / "a"), usual_run(tmp_path / "b", factor=100.0))
    before = curve(page)
    page.run("document.querySelectorAll('button.run')[1].click()")
    assert page.run(
        "[...document.querySelectorAll('.curve[data-run=\"1\"]')].every(group => getComputedStyle(group).display === 'none')"
    )
    assert curve(page) != before
    page.run("document.querySelectorAll('button.run')[1].click(); document.querySelector('.key').click()")
    assert page.run("document.querySelectorAll('.off').length") == 2
    page.run("document.querySelector('.key').click()")
    assert page.run("document.querySelectorAll('.off').length") == 0
    assert curve(page) == before


def test_smoothing_draws_a_second_line(opened, tmp_path):
    points = [(index, 1, float(index), {"train/loss": float(index % 2), "train/lr": 0.1}) for index in range(3_000)]
    page = opened(write_run(tmp_path / "a", points=points))
    slide = "slider.value = {}; slider.dispatchEvent(new Event('input'))"
    page.run(slide.format(0.9))
    assert page.run("document.querySelectorAll('.smooth').length") == 2  # not of the learning rate
    heights = page.run("[...document.querySelector('.curve').children].map(line => line.getBoundingClientRect().height)")
    assert heights[1] < heights[0] / 10
    page.run(slide.format(0))
    assert page.run("document.querySelectorAll('.smooth, .raw').length") == 0


def test_a_page_whose_texts_would_like_to_be_code_runs_none_of_it(opened, tmp_path):
    page = opened(hostile_run(tmp_path / "a <img src=x onerror=alert(1)>"), hostile_run(tmp_path / "b</title><script>alert(1)"))
    assert page.run("document.querySelectorAll('img, iframe, object').length") == 0
    assert page.run("document.scripts.length") == 2
    assert page.run("document.querySelectorAll('.curve').length") > 0
    box = page.run(TOP)
    page.mouse(box["x"] + box["width"] * 0.5, box["y"] + 20)
    assert "</script><img src=x" in page.run("document.querySelector('.tip').innerText")


def test_a_browser_runs_no_script_that_was_put_in_afterwards(browser, tmp_path):
    path = write_report([usual_run(tmp_path / "a")], tmp_path / "report.html")
    path.write_text(
        path.read_text().replace("</main>", "<script>document.title = 'taken'</script><img src='http://a.invalid/x'></main>")
    )
    page = browser.open(path)
    assert page.run("document.title") == "a"
    assert len(page.complaints()) >= 2
    assert not [event for event in browser.events if event["method"] == "Network.responseReceived" and "invalid" in str(event)]
    page.close()
