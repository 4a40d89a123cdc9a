# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: on a phone, on a desk and on paper."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from example_results import NAMES, make_records, make_results

from mmdet_mobilenext.benchmark.page import GalleryItem, make_gallery, write_report

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason='there is no chromium on this machine'),
]
MEASURE = """<script>
const frame = document.createElement('pre');
window.addEventListener('load', () => {
  const root = document.documentElement;
  const wide = [...document.querySelectorAll('body *')].filter(e => {
    if (e.closest('svg') && e.tagName !== 'svg') return false;
    if (e.closest('.scroll, .strip, details:not([open]) > :not(summary)')) return false;
    return e.getBoundingClientRect().right > root.clientWidth + 1;
  }).map(e => e.tagName + '.' + e.className);
  const cut = [];
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll('text')) {
      const r = text.getBoundingClientRect();
      if (r.left < frame.left - 1 || r.right > frame.right + 1 || r.top < frame.top - 1
          || r.bottom > frame.bottom + 1) cut.push(text.textContent);
    }
  }
  const size = e => { const r = e.getBoundingClientRect(); return [r.width, r.height]; };
  const small = [...document.querySelectorAll('svg text')]
    .map(e => parseFloat(getComputedStyle(e).fontSize) * e.ownerSVGElement.getScreenCTM().a);
  frame.id = 'measured';
  frame.textContent = JSON.stringify({
    scroll: root.scrollWidth, client: root.clientWidth, wide, cut, errors: window.seen,
    svg: [...document.querySelectorAll('svg')].map(size),
    img: [...document.querySelectorAll('img')].map(e => [...size(e), e.naturalWidth]),
    smallest: Math.min(...small), scripts: document.scripts.length,
    strip: [...document.querySelectorAll('.strip')].map(e => [e.clientWidth, e.scrollWidth]),
    table: [...document.querySelectorAll('.scroll')].map(e => [e.clientWidth, e.scrollWidth])[0],
  });
  document.body.append(frame);
  parent.postMessage(frame.textContent, '*');
});
</script>"""
COLLECT = """<!DOCTYPE html><body style="margin:0">
<script>addEventListener('message', m => {
  const pre = document.createElement('pre'); pre.id = 'measured'; pre.textContent = m.data;
  document.body.append(pre); });</script>
<iframe src="copy.html" style="border:0;width:%dpx;height:900px"></iframe></body>"""
ERRORS = """<script>window.seen = [];
window.addEventListener('error', e => window.seen.push(String(e.message || e.target.src)), true);
</script>"""


def browser(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            CHROMIUM,
            '--headless',
            '--no-sandbox',
            '--disable-gpu',
            '--disable-quic',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            '--hide-scrollbars',  # as on a phone
            '--enable-logging=stderr',
            f'--user-data-dir={folder / "profile"}',
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture(scope='module', params=['two', 'three'])
def report(request, tmp_path_factory) -> Path:
    """A report with pictures, one of them missing."""
    folder = tmp_path_factory.mktemp(request.param)
    a, b = make_records(folder / 'data', 3)
    entries = [dict(image_id=str(i), f1_a=0.9, f1_b=0.25) for i in a.image_ids]
    gallery = make_gallery(entries, a, b, NAMES[:2], (0.45, 0.5))
    gallery.append(GalleryItem('lost', 'F1 1.00 and 0.00', problem='lost.jpg cannot be read'))
    if request.param == 'two':
        results = make_results(models=2, seeds=1)
    else:
        results = make_results(models=3, seeds=3, without=['bird'])
        long = 'a_class_with_a_name_that_is_much_longer_than_usual'
        results = json.loads(json.dumps(results).replace('"sofa"', f'"{long}"'))
    return write_report(results, folder / 'report', gallery)


def measure(page: Path, width: int, folder: Path) -> dict:
    """Lay a copy of the page out at a width; a frame, as windows cannot be as narrow as a phone."""
    html = page.read_text(encoding='utf-8')
    html = html.replace('<head>', f'<head>{ERRORS}').replace('</body>', f'{MEASURE}</body>')
    (folder / 'copy.html').write_text(html, encoding='utf-8')
    (folder / 'wrapper.html').write_text(COLLECT % width, encoding='utf-8')
    done = browser(
        folder,
        '--dump-dom',
        '--window-size=1400,900',
        '--virtual-time-budget=5000',
        (folder / 'wrapper.html').as_uri(),
    )
    found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-500:] + done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    unescaped = found[1].replace('&lt;', '<').replace('&gt;', '>').replace('&amp;', '&')
    return json.loads(unescaped) | {'console': console}


@pytest.mark.parametrize('width', [390, 768, 1280])
def test_page_fits(report, width, tmp_path):
    found = measure(report, width, tmp_path)
    assert found['client'] == width and found['scroll'] <= width, found
    assert found['wide'] == []
    assert found['cut'] == [], 'texts that a figure cuts off'
    assert found['errors'] == [] and found['console'] == []
    assert found['scripts'] == 2, 'only those of this test'
    assert len(found['svg']) == (10 if 'two' in str(report) else 11)
    assert min(min(size) for size in found['svg']) > 90
    assert len(found['img']) == 9 and min(min(size) for size in found['img']) > 60
    assert found['smallest'] >= 8, 'px of the smallest text of a figure'
    if width == 390:
        assert all(scroll > client for client, scroll in found['strip'])
        assert found['table'][1] <= found['table'][0], 'the main table is cards on a phone'
    else:
        assert all(scroll == client for client, scroll in found['strip'])


def test_measuring_can_fail(report, tmp_path):
    """A page that is too wide is noticed."""
    broken = tmp_path / 'broken.html'
    html = report.read_text(encoding='utf-8')
    html = html.replace('<main>', '<main><img src="nothing.png" width="900" height="1">')
    broken.write_text(html, encoding='utf-8')
    found = measure(broken, 390, tmp_path)
    assert found['scroll'] > 390 and found['wide'] and found['errors']


def test_page_can_be_printed(report, tmp_path):
    pdf = tmp_path / 'page.pdf'
    browser(tmp_path, f'--print-to-pdf={pdf}', '--no-pdf-header-footer', report.as_uri())
    content = pdf.read_bytes()
    pages = len(re.findall(rb'/Type\s*/Page\b', content))
    assert content.startswith(b'%PDF') and 4 <= pages <= 16


@pytest.mark.parametrize('size', [(500, 900), (1280, 900)])
def test_page_is_painted(report, size, tmp_path):
    import cv2

    shot = tmp_path / 'shot.png'
    browser(tmp_path, f'--screenshot={shot}', f'--window-size={size[0]},{size[1]}', report.as_uri())
    image = cv2.imread(str(shot))
    assert image.shape[:2] == size[::-1]
    assert len({tuple(pixel) for pixel in image[::7, ::7].reshape(-1, 3).tolist()}) > 20
