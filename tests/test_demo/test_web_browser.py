# SPDX-License-Identifier: Apache-2.0
"""The web page in a real browser: drop pictures, move the slider, on a desk and on a phone."""

import shutil
import socket
from pathlib import Path

import pytest
from web_page import picture, two_models

from mmdet_mobilenext.demo.web import serve

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
pytest.importorskip('gradio')
pytest.importorskip('supervision')
playwright = pytest.importorskip('playwright.sync_api')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason='there is no chromium on this machine'),
]
EVIL = '<img src=x onerror=alert(1)>${alert(2)}{{constructor}}.jpg'


@pytest.fixture(scope='module')
def url():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    with serve(two_models(), port=port) as url:
        yield url


@pytest.fixture(scope='module')
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture(params=[(1400, 'light'), (390, 'dark')], ids=['desk', 'phone'])
def tab(request, browser, url):
    width, scheme = request.param
    context = browser.new_context(
        viewport=dict(width=width, height=900), color_scheme=scheme, accept_downloads=True
    )
    tab = context.new_page()
    tab.set_default_timeout(30_000)
    tab.asked, tab.seen = [], []
    tab.on('request', lambda request: tab.asked.append(request.url))
    tab.on('console', lambda line: line.type == 'error' and tab.seen.append(line.text))
    tab.on('pageerror', lambda error: tab.seen.append(str(error)))
    tab.on('dialog', lambda dialog: (tab.seen.append(dialog.message), dialog.dismiss()))
    tab.goto(url)
    yield tab
    context.close()


def drop(tab, *files: tuple[str, bytes]) -> None:
    given = [dict(name=name, mimeType='image/jpeg', buffer=data) for name, data in files]
    tab.locator('#pictures input[type=file]').set_input_files(given)


def test_a_visit(tab, url, tmp_path):
    expect = playwright.expect
    results, width = tab.locator('#results'), tab.viewport_size['width']
    expect(results).to_contain_text('Drop one or more pictures')
    drop(tab, ('a.jpg', picture()), (EVIL, picture(60, 80)))
    expect(results.locator('img')).to_have_count(4)
    expect(results).to_contain_text('3 objects')
    expect(results).to_contain_text(EVIL)
    places = [box['y'] for box in (one.bounding_box() for one in results.locator('img').all())]
    assert (places[0] == places[1]) == (width > 1000), 'side by side where there is room'

    before = results.locator('img').first.get_attribute('src')
    number = tab.locator('#score-thr input[type=number]')
    number.fill('0.7')
    number.press('Enter')
    expect(results).not_to_contain_text('3 objects')
    expect(results.locator('figcaption').first).to_contain_text('1 object')
    assert results.locator('img').first.get_attribute('src') != before

    with tab.expect_download() as download:
        results.get_by_text('Download JSON').click()
    assert download.value.suggested_filename == 'detections.json'
    assert '"score_thr": 0.7' in Path(download.value.path()).read_text(encoding='utf-8')
    tab.get_by_text('Table of detections').click()
    expect(tab.locator('#table')).to_contain_text('first.onnx')

    tab.locator('#pictures button[aria-label="Clear"]').click()
    expect(results).to_contain_text('Drop one or more pictures')
    drop(tab, ('broken.jpg', picture()[:-200]), ('b.jpg', picture()))
    expect(results.locator('[role=alert]')).to_contain_text('truncated')
    expect(results.locator('img')).to_have_count(2)
    tab.locator('#models input').first.uncheck()
    expect(results.locator('img')).to_have_count(1)

    fits = 'document.documentElement.scrollWidth <= document.documentElement.clientWidth'
    assert tab.evaluate(fits)
    foreign = [u for u in tab.asked if not u.startswith((url, 'data:', 'blob:'))]
    assert foreign == [], 'the page needs nothing from elsewhere'
    assert tab.seen == [], 'no error, and no script of a file name'
