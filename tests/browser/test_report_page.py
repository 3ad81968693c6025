"""The page of an experiment in a real browser: what it does, in light and dark, on a desk and on a phone."""

import pytest

NASTY = 'a <b onclick="x()">&amp; "%{y}" </script>'
# Texts of figures that stick out of them
OUTSIDE = """[...document.querySelectorAll('.plot:not([hidden])')].flatMap(plot => {
  const room = plot.getBoundingClientRect();
  return [...plot.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width && (box.left < room.left - 1 || box.right > room.right + 1 || box.bottom > room.bottom + 1);
  }).map(text => [plot.id, text.textContent]);
})"""
X_RANGE = "document.getElementById('raster')._fullLayout.xaxis.range.slice()"


@pytest.mark.parametrize("name", ["nasty", "one", "empty", "many"])
def test_every_page_shows_its_figures_and_fits_a_phone_and_a_desk(look, name):
    page = look(name, 400, "dark")
    for tick in page.locator("#accuracy .xtick text").all()[:1]:  # dark from the first
        assert tick.evaluate("e => getComputedStyle(e).fill") == page.evaluate("getComputedStyle(document.body).color")
    for width in (400, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = page.evaluate(
            "[...document.querySelectorAll('.plot:not([hidden])')].map(e => [e.querySelector('.main-svg').clientWidth,"
            " e.clientWidth])"
        )
        assert all(0 < drawn <= room for drawn, room in sizes)
        assert len(sizes) == {"nasty": 10, "one": 10, "empty": 0, "many": 9}[name]
        outside = page.evaluate(OUTSIDE)
        assert outside == []


def test_failed_and_missing_runs_stand_at_the_top_and_names_are_shown_word_for_word(look):
    page = look("nasty")
    assert page.locator(".warning").count() == 2
    text = page.locator("main").inner_text()
    assert text.index("<it> failed & fell") < text.index("not done yet") < text.index("Conditions")
    assert "7 of 9 runs finished" in page.locator("header").inner_text()
    assert page.title() == page.locator("h1").inner_text() == f"Is {NASTY} safe?"
    assert NASTY in page.locator("table").first.inner_text()
    labels = page.locator("#accuracy .ytick").all_text_contents()
    assert "".join(labels[2].split()) == "".join(NASTY.split())
    assert page.locator("[onclick]").count() == 0
    page.locator("#accuracy").scroll_into_view_if_needed()
    last = page.locator("#accuracy .scatterlayer .trace").last.locator(".point").bounding_box()
    page.mouse.move(last["x"] + last["width"] / 2, last["y"] + last["height"] / 2)
    page.locator("#accuracy .hovertext").wait_for()
    shown = "".join(page.locator("#accuracy .hovertext").text_content().split())
    assert 'onclick="x()">&amp;"%{y}"' in shown


def _drag(page, by, shift=False):
    page.locator("#raster").scroll_into_view_if_needed()
    box = page.locator("#raster .nsewdrag").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if shift:
        page.keyboard.down("Shift")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=4)
    page.mouse.up()
    if shift:
        page.keyboard.up("Shift")
    return box, x, y


def test_the_raster_holds_every_spike_zooms_moves_and_comes_back(look):
    page = look("nasty")
    count = "document.getElementById('raster')._fullData.map(t => [t.name, t.x.length, Math.max(...t.y)])"
    assert [(n, c) for n, c, _ in page.evaluate(count)] == [("input", 300), ("hidden1", 480), ("output", 60)]
    assert all(top < size for (_, _, top), size in zip(page.evaluate(count), (50, 80, 10), strict=True))
    assert "night after task 1" in page.locator("#rule").inner_text()  # the first night is the one it opens on
    whole = page.evaluate(X_RANGE)
    assert whole == [-0.5, 399.5]
    box, x, y = _drag(page, 100)
    page.wait_for_function(f"{X_RANGE}[0] > 1")
    close = page.evaluate(X_RANGE)
    assert close[1] - close[0] == pytest.approx(400 * 100 / box["width"], rel=0.05)
    _drag(page, -60, shift=True)
    page.wait_for_function(f"{X_RANGE}[0] > {close[0] + 1}")
    moved = page.evaluate(X_RANGE)
    assert moved[1] - moved[0] == pytest.approx(close[1] - close[0])
    page.wait_for_timeout(400)  # a press soon after another would be a double click already
    page.mouse.dblclick(x, y)
    page.wait_for_function(f"{X_RANGE}[0] == -0.5 && {X_RANGE}[1] == 399.5")
    page.select_option("#night", "1")
    page.wait_for_function("document.getElementById('raster').getAttribute('aria-label').includes('task 2')")
    page.select_option("#condition", NASTY)
    page.wait_for_function("document.getElementById('raster').getAttribute('aria-label').includes('onclick')")
    assert page.locator("#night").input_value() == "3"  # the same night, of the other condition
    assert page.locator("#rule").inner_text().startswith(f"Condition {NASTY}, seed 0, night after task 2. All 840")
    assert "All 840 spikes of its 400 steps" in page.locator("#rule").inner_text()
    assert page.locator("#overview").is_hidden()


def test_the_raster_obeys_the_keyboard(look):
    page = look("two")
    page.locator("#raster").focus()
    page.keyboard.press("+")
    page.wait_for_function(f"{X_RANGE}[0] == 99.5 && {X_RANGE}[1] == 299.5")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"{X_RANGE}[0] == 139.5 && {X_RANGE}[1] == 339.5")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"{X_RANGE}[0] == 99.5")
    page.keyboard.press("-")
    page.wait_for_function(f"{X_RANGE}[0] == -0.5 && {X_RANGE}[1] == 399.5")
    page.keyboard.press("+")
    page.wait_for_function(f"{X_RANGE}[0] == 99.5")
    page.keyboard.press("0")
    page.wait_for_function(f"{X_RANGE}[0] == -0.5 && {X_RANGE}[1] == 399.5")


def test_a_press_on_a_name_hides_a_condition_and_few_have_bands(look):
    page = look("many")
    seen = "document.getElementById('time')._fullData.filter(t => t.visible === true).map(t => t.fill === 'toself')"
    assert page.evaluate(seen) == [False] * 20
    page.locator(".legend [data-place='3']").first.click()
    page.wait_for_function(f"{seen}.length === 19")
    assert page.locator(".legend [data-place='3']").last.get_attribute("aria-pressed") == "false"
    page.locator(".legend [data-place='3']").last.dblclick()  # it alone
    page.wait_for_function(f"{seen}.join() === 'true,false'")
    page.locator(".legend [data-place='5']").first.click()
    page.wait_for_function(f"{seen}.length === 4")


def test_light_and_dark_differ_and_print_is_light(look):
    seen = {}
    page = look("two", scheme="light")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "s => Boolean(s === 'dark') === matchMedia('(prefers-color-scheme: dark)').matches", arg=scheme
        )
        page.wait_for_timeout(300)
        seen[scheme] = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('#accuracy .xtick text')).fill,"
            " getComputedStyle(document.querySelector('#accuracy .xgrid')).stroke,"
            " getComputedStyle(document.querySelector('#raster .xtick text')).fill]"
        )
        assert page.evaluate("getComputedStyle(document.querySelector('#accuracy .main-svg')).backgroundColor") == (
            "rgba(0, 0, 0, 0)"
        )
    assert all(light != dark for light, dark in zip(seen["light"], seen["dark"], strict=True))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(200)
    assert page.evaluate("getComputedStyle(document.querySelector('#accuracy .xtick text')).fill") == seen["light"][2]
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
