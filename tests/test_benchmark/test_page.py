# SPDX-License-Identifier: Apache-2.0
"""The report of a comparison: page, Markdown, JSON and figures."""

import errno
import json
import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from example_results import NAMES, VOC, make_records
from example_results import make_results as make_any_results

from mmdet_mobilenext.benchmark.page import (
    GalleryItem,
    make_gallery,
    render_markdown,
    to_json,
    write_report,
)
from mmdet_mobilenext.benchmark.page.figures import make_figures
from mmdet_mobilenext.benchmark.page.tables import MINUS, TIMES, percent, points
from mmdet_mobilenext.benchmark.results_schema import validate
from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend


def make_results(models: int = 2, classes: Sequence[str] = VOC[:4], **options) -> dict:
    """Few classes are drawn faster."""
    return make_any_results(models=models, classes=classes, **options)


VOID = {'meta', 'link', 'img', 'br', 'wbr', 'input'}


class Page(HTMLParser):
    """Elements, texts, and whether elements are closed in the right order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements, self.open, self.texts, self.wrong = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] != 'style':
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r'\s+', ' ', ''.join(self.texts))


def written(results: dict, folder: Path, gallery=()) -> Page:
    return Page(write_report(results, folder, gallery).read_text(encoding='utf-8'))


CASES = {
    'two models': dict(classes=VOC),
    'three models, three seeds': dict(models=3, seeds=3),
    'a class without objects': dict(without=['bird', 'boat']),
    'checkpoints were given': dict(curves=False),
    'one model': dict(models=1),
    'one class': dict(classes=['cat']),
}


@pytest.mark.parametrize('options', CASES.values(), ids=CASES.keys())
def test_report_has_all_that_is_in_the_results(options, tmp_path):
    results = make_results(**options)
    validate(results)
    page = written(results, tmp_path)
    assert page.wrong == [] and page.open == []
    for name in results['classes']:
        assert name in page.text
    for model in results['models']:
        assert model['name'] in page.text
        assert percent(model['summary']['voc_11point']['mean']) in page.text
    for entry in results['comparisons']:
        assert entry['sentence'] in page.text
        assert entry['verdict'].lower() in page.text.lower()
    ids = [attrs['id'] for _, attrs in page.elements if 'id' in attrs]
    assert len(ids) == len(set(ids)), 'ids of several figures are the same'
    assert json.loads((tmp_path / 'results.json').read_text()) == results


@pytest.mark.parametrize('verdict', ['better', 'worse', 'no difference shown'])
def test_verdict_comes_before_any_number(verdict, tmp_path):
    results = make_results()
    results['comparisons'][0].update(verdict=verdict, sentence='The sentence of the verdict.')
    page = written(results, tmp_path)
    place = page.text.index('The sentence of the verdict.')
    assert page.text.lower().index(verdict, 10) < place < page.text.index('Accuracy and cost')
    kinds = [a['class'] for t, a in page.elements if t == 'div' and 'verdict' in a.get('class', '')]
    assert kinds == [f'verdict {verdict if verdict in ("better", "worse") else "same"}']


def test_class_without_objects_is_not_evaluated(tmp_path):
    text = written(make_results(without=['bird']), tmp_path / 'some').text
    assert 'not evaluated' in text and 'nan' not in text.lower().split()
    table = (tmp_path / 'some/results.md').read_text()
    assert re.search(r'\| bird \| 0 \| 0 \| not evaluated \| not evaluated \|', table)
    figure = (tmp_path / 'some/figures/per_class.svg').read_text()
    assert figure.count('not evaluated') >= 1
    whole = write_report(make_results(), tmp_path / 'all').parent / 'figures/per_class.svg'
    assert '> not evaluated<' not in whole.read_text()


def test_published_rows_are_apart_and_labelled(tmp_path):
    page = written(make_results(), tmp_path)
    html = (tmp_path / 'index.html').read_text()
    ours, published = html.split('<tbody class="published"')
    published = published.split('</tbody>')[0]
    assert published.count('>published<') == 2
    assert '71.7' in published and 'VOC07+12 trainval' in published
    assert 'MobileNetV2 SSDLite' not in ours
    assert 'not measured here' in page.text
    figures = ''.join(p.read_text() for p in (tmp_path / 'figures').iterdir())
    assert 'MobileNetV2 SSDLite' not in figures
    table = (tmp_path / 'results.md').read_text()
    assert '| MobileNetV2 SSDLite (*published*) | 71.7 |' in table


def test_what_measurements_mean_is_told(tmp_path):
    text = written(make_results(seeds=3), tmp_path).text
    for told in (
        '1 thread',
        'on cpu',
        f'128{TIMES}128 px',
        'with NMS',
        'interleaved',
        '200 runs of batch 1',
        '2-core x86_64 CPU',
        '2026-11-24',
        'mean of 3 training seeds',
        '1,000 resamples',
        'libraries included',
        'arXiv:2007.02269, table 8',
        '0123456789abcdef',
    ):
        assert told in text, told


def test_what_was_not_measured_is_told(tmp_path):
    results = make_results()
    results['volatile']['models'][NAMES[0]] = dict(
        latency_ms=None, training=None, memory_mb=None, wall_minutes={'0': None}
    )
    results['models'][0]['cost']['madds'] = None
    results['protocol']['input_size'] = None
    validate(results)
    page = written(results, tmp_path)
    assert page.text.count('not measured') >= 5 and 'not counted' in page.text
    assert 'of each config' in page.text


def test_texts_are_escaped(tmp_path):
    evil = '<b>bold</b> & "x" $a$ |y| _z_'
    results = make_results(classes=['cat', evil])
    results['title'] = '<script>alert(1)</script>'
    results['comparisons'][0]['sentence'] = '<img src=x onerror=alert(1)>'
    results['models'][1]['name'] = results['comparisons'][0]['model'] = '<i>model</i>'
    results['volatile']['models']['<i>model</i>'] = results['volatile']['models'].pop(NAMES[1])
    results['published'][0]['source'] = 'javascript:alert(1)'
    item = GalleryItem('<u>image</u>', '<s>caption</s>', problem='<q>why</q>')
    page = written(results, tmp_path, [item])
    assert page.wrong == [] and page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {'script', 'u', 's', 'q'}
    assert not [a for t, a in page.elements if t == 'img' and a.get('src') == 'x']
    assert not [a for t, a in page.elements if t == 'a' and 'javascript' in a['href']]
    assert evil in page.text and '<i>model</i>' in page.text
    assert '<b>bold' not in (tmp_path / 'index.html').read_text()
    table = (tmp_path / 'results.md').read_text()
    assert '&lt;b&gt;bold' in table and r'\|y\|' in table and '<script' not in table
    for path in (tmp_path / 'figures').iterdir():
        ElementTree.parse(path)


def test_page_loads_nothing(tmp_path):
    records = make_records(tmp_path / 'data', 2)
    entry = dict(image_id=str(records[0].image_ids[0]), f1_a=1.0, f1_b=0.2)
    gallery = make_gallery([entry], *records, NAMES[:2], (0.3, 0.3))
    page = written(make_results(), tmp_path / 'report', gallery)
    html = (tmp_path / 'report/index.html').read_text()
    assert not [t for t, _ in page.elements if t in ('script', 'iframe', 'object', 'embed', 'base')]
    assert [a['href'] for t, a in page.elements if t == 'link'] == ['data:,']
    sources = [a['src'] for _, a in page.elements if 'src' in a]
    assert len(sources) == 3 and all(s.startswith('data:image/jpeg;base64,') for s in sources)
    assert '@import' not in html and not re.search(r'url\((?!#)', html)
    links = [a['href'] for t, a in page.elements if t == 'a']
    assert 'https://arxiv.org/abs/2008.08115' in links
    for _, attributes in page.elements:
        for name, value in attributes.items():
            if re.match(r'https?://', value or ''):
                assert name in ('href', 'xmlns', 'xmlns:xlink'), (name, value)


def test_page_can_be_used_without_seeing_it(tmp_path):
    page = written(make_results(), tmp_path)
    assert ('html', {'lang': 'en'}) in page.elements
    names = [attrs.get('name') for tag, attrs in page.elements if tag == 'meta']
    assert 'viewport' in names
    svgs = [attrs for tag, attrs in page.elements if tag == 'svg']
    assert len(svgs) == 10
    assert all(a['role'] == 'img' and len(a['aria-label']) > 20 for a in svgs)
    heads = [attrs for tag, attrs in page.elements if tag == 'th']
    assert heads and all('scope' in attrs for attrs in heads)


def test_same_results_give_the_same_bytes(tmp_path):
    import matplotlib

    def everything(folder):
        records = make_records(folder / 'data', 2)
        entries = [dict(image_id=str(i), f1_a=1.0, f1_b=0.2) for i in records[0].image_ids]
        gallery = make_gallery(entries, *records, NAMES[:2], (0.3, 0.3))
        write_report(make_results(models=3, seeds=3, classes=VOC), folder / 'report', gallery)
        report = folder / 'report'
        return {
            str(p.relative_to(report)): p.read_bytes() for p in report.rglob('*') if p.is_file()
        }

    first = everything(tmp_path / 'a')
    with matplotlib.rc_context({'font.size': 33, 'axes.grid': False, 'svg.fonttype': 'path'}):
        second = everything(tmp_path / 'b')
    assert len(first) == 14 and first == second
    assert len(first['index.html']) < 3e6


@pytest.mark.parametrize('full', ['results.md', 'pr_mean.svg', 'index.html'])
def test_full_disk_leaves_whole_files(full, tmp_path, monkeypatch):
    write_report(make_results(seed=0), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    write = AtomicLocalBackend.put

    def put(self, obj, filepath):
        if str(filepath).endswith(full):
            raise OSError(errno.ENOSPC, 'cannot write (No space left on device)', str(filepath))
        write(self, obj, filepath)

    monkeypatch.setattr(AtomicLocalBackend, 'put', put)
    with pytest.raises(OSError, match=full) as caught:
        write_report(make_results(seed=1), tmp_path)
    assert caught.value.errno == errno.ENOSPC
    after = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    assert after.keys() == before.keys()
    page = tmp_path / 'index.html'
    assert after[page] == before[page], 'the page is the last file'
    assert after[page.with_name('results.json')] == to_json(make_results(seed=1)).encode()


def test_nothing_is_written_if_something_cannot_be_drawn(tmp_path):
    results = make_results()
    del results['models'][1]['per_class']['bird']
    with pytest.raises(KeyError, match='bird'):
        write_report(results, tmp_path / 'report')
    assert not (tmp_path / 'report').exists()


def test_figures_of_an_earlier_report_go(tmp_path):
    write_report(make_results(models=3), tmp_path)
    (tmp_path / 'figures/mine.svg').write_text('kept')
    write_report(make_results(models=2, curves=False), tmp_path)
    names = {p.stem for p in (tmp_path / 'figures').iterdir()}
    wanted = {figure.name for figure in make_figures(make_results(models=2, curves=False))}
    assert names == wanted | {'mine'}
    assert not wanted & {'loss', 'val_map', 'confusion_2'}


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_json_has_no_nan(value):
    results = make_results()
    results['models'][1]['seeds'][0]['metrics']['coco'] = value
    with pytest.raises(ValueError, match=r"results\['models'\]\[1\]\['seeds'\]\[0\].*'coco'"):
        to_json(results)


def test_legend_of_the_curves_has_whom_they_are_of():
    """A file that was trained elsewhere has none, and the others keep their styles."""
    whole, part = make_results(models=3), make_results(models=3)
    for run in part['models'][0]['seeds']:
        run['curves'] = None
    for figures, names in ((make_figures(whole), NAMES), (make_figures(part), NAMES[1:])):
        for figure in figures:
            if figure.name in ('loss', 'val_map'):
                svg = ElementTree.fromstring(figure.svg)
                texts = [''.join(e.itertext()) for e in svg.iter() if e.tag.endswith('}text')]
                assert [t for t in texts if t in NAMES] == list(names)
    assert {'loss', 'val_map'} <= {figure.name for figure in make_figures(part)}


def test_json_is_exact_and_sorted():
    text = to_json(make_results())
    assert text.endswith('}\n') and json.loads(text) == make_results()
    assert list(json.loads(text)) == sorted(json.loads(text))


@pytest.mark.parametrize('options', CASES.values(), ids=CASES.keys())
def test_markdown_tables_are_well_formed(options):
    results = make_results(**options)
    text = render_markdown(results)
    blocks = re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE)
    assert len(blocks) == 6
    for block in blocks:
        lines = block.splitlines()
        widths = {len(re.findall(r'(?<!\\)\|', line)) for line in lines}
        assert len(widths) == 1 and len(lines) >= 3, block
        assert re.fullmatch(r'\|( -{3}:? \|)+', lines[1])
    for entry in results['comparisons']:
        assert f'{entry["verdict"]}**' in text
    assert text.index('## Accuracy and cost') > text.index(results['title'].replace('_', r'\_'))


def test_markdown_is_read_as_meant():
    """A parser of Markdown finds the tables and texts."""
    markdown = pytest.importorskip('markdown_it').MarkdownIt('commonmark').enable('table')
    results = make_results(without=['bird'])
    page = Page(markdown.render(render_markdown(results)))
    assert [tag for tag, _ in page.elements].count('table') == 6
    assert results['title'] in page.text and results['comparisons'][0]['sentence'] in page.text
    assert [tag for tag, _ in page.elements].count('em') == 2  # *published*
    assert page.wrong == []


def test_level_of_several_comparisons_is_told():
    results = make_results(models=3)
    for entry in results['comparisons']:
        entry['level'] = 0.975
    caption = {figure.name: figure.caption for figure in make_figures(results)}['difference']
    assert '97.5 % interval' in caption


def test_points_and_percent():
    assert [percent(v) for v in (0.0, 1.0, 0.7166, None)] == ['0.0', '100.0', '71.7',
                                                             'not evaluated']  # fmt: skip
    assert [points(v) for v in (0.0125, -0.0131, -0.0001, 0.0)] == [
        '+1.2',
        f'{MINUS}1.3',
        '0.0',
        '0.0',
    ]


def test_schema_finds_mistakes():
    validate(make_results(models=3, seeds=3, without=['bird']))

    def broken(change) -> dict:
        results = make_results()
        change(results)
        return results

    def rename(results):
        results['models'][1]['name'] = results['models'][0]['name']

    for change, told in (
        (lambda r: r.update(schema_version=1), 'schema_version'),
        (lambda r: r.pop('classes'), 'classes'),
        (lambda r: r['models'][0].update(extra=1), 'extra'),
        (lambda r: r['models'][0]['interval'].update(voc_11point=[3, 61.0]), 'interval'),
        (lambda r: r['comparisons'][0].update(verdict='maybe'), 'verdict'),
        (lambda r: r['models'][0]['per_class'].pop('bird'), r"per_class of .* \['bird'\]"),
        (lambda r: r['models'][0]['confusion']['matrix'].pop(), 'confusion'),
        (lambda r: r['comparisons'][0].update(baseline='nobody'), 'nobody'),
        (rename, 'have to differ'),
    ):
        with pytest.raises(ValueError, match=told):
            validate(broken(change))


def test_documentation_tells_every_key(root):
    from mmdet_mobilenext.benchmark.results_schema import SCHEMA

    text = (root / 'docs/results_schema.md').read_text()

    def keys(schema: dict) -> set[str]:
        found = set(schema.get('properties', {}))
        parts = [*schema.get('properties', {}).values(), *schema.get('anyOf', [])]
        parts += [schema[k] for k in ('items', 'additionalProperties')
                  if isinstance(schema.get(k), dict)]  # fmt: skip
        return found.union(*(keys(part) for part in parts))

    assert len(keys(SCHEMA)) > 60
    assert [key for key in sorted(keys(SCHEMA)) if not re.search(rf'\b{key}\b', text)] == []


def decoded(panel):
    import cv2
    import numpy as np

    return cv2.imdecode(np.frombuffer(panel.jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_gallery_shows_truth_and_both_detectors(tmp_path):
    good, poor = make_records(tmp_path, 3)
    entries = [dict(image_id=str(i), f1_a=0.9, f1_b=0.25) for i in good.image_ids]
    items = make_gallery(entries, good, poor, ('A', 'B'), (0.0, 0.45))
    assert [item.image_id for item in items] == good.image_ids.tolist()
    for index, item in enumerate(items):
        assert item.caption == 'F1 0.90 of A, 0.25 of B' and not item.problem
        assert [p.label for p in item.panels] == ['ground truth', 'A, score ≥ 0.00',
                                                  'B, score ≥ 0.45']  # fmt: skip
        truth = [good.classes[k] for k in good.gt_labels[good.gt_images == index]]
        assert all(name in item.panels[0].description for name in truth)
        pictures = [decoded(panel) for panel in item.panels]
        for picture, panel in zip(pictures, item.panels, strict=True):
            assert picture.shape[1::-1] == panel.size and max(panel.size) == 480
            assert len(panel.jpeg) <= 40_000
        assert (pictures[0] != pictures[1]).any() and (pictures[1] != pictures[2]).any()


def test_gallery_tells_right_wrong_and_missed(tmp_path):
    """Two cats, one found; a dog is seen where there is none, and a difficult dog is found."""
    import cv2
    import numpy as np

    from mmdet_mobilenext.evaluation.records import DetectionRecords

    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), np.full((100, 128, 3), 90, np.uint8))
    found, missed, hard = [5, 20, 40, 60], [60, 20, 80, 60], [90, 20, 110, 60]
    records = DetectionRecords.from_lists(
        ('cat', 'dog'),
        ['a'],
        det=[([found, [5, 70, 40, 95], hard, missed], [0.9, 0.8, 0.7, 0.1], [0, 1, 1, 0])],
        gt=[([found, missed, hard], [0, 0, 1], [False, False, True])],
        image_paths=[str(path)],
        image_sizes=[(100, 128)],
    )
    entry = dict(image_id='a', f1_a=0.5, f1_b=0.5)
    item = make_gallery([entry], records, records, ('A', 'B'), (0.3, 0.05))[0]
    assert item.panels[0].description == 'cat, cat, dog (difficult)'
    assert item.panels[1].description == 'missed cat, dog 70, dog 80, cat 90'
    assert item.panels[2].description == 'cat 10, dog 70, dog 80, cat 90'

    def near(picture, point, colour):  # BGR
        x, y = (round(v * 480 / 128) for v in point)
        patch = picture[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).astype(int)
        return np.abs(patch - colour).sum(1).min() < 120

    first = decoded(item.panels[1])
    blue, orange, yellow = (233, 180, 86), (0, 94, 213), (66, 228, 240)
    assert near(first, (5, 45), blue) and not near(first, (5, 45), orange)
    assert near(first, (5, 85), orange) and not near(first, (5, 85), blue)
    assert near(first, (60, 40), yellow) or near(first, (60, 42), yellow)
    assert near(decoded(item.panels[2]), (60, 40), blue)


def test_gallery_survives_images_that_cannot_be_read(tmp_path):
    good, poor = make_records(tmp_path, 4)
    paths = good.image_paths.tolist()
    Path(paths[0]).unlink()
    Path(paths[1]).write_bytes(b'no jpeg')
    good.image_sizes[2] = (7, 7)
    entries = [dict(image_id=str(i), f1_a=0.9, f1_b=0.25) for i in good.image_ids]
    items = make_gallery(entries, good, poor, ('A', 'B'), (0.3, 0.3))
    assert [bool(item.panels) for item in items] == [False, False, False, True]
    assert Path(paths[0]).name in items[0].problem and f'7{TIMES}7 px' in items[2].problem
    page = written(make_results(), tmp_path / 'report', items)
    assert page.text.count('No picture:') == 3


def test_gallery_refuses_an_unknown_image(tmp_path):
    records = make_records(tmp_path, 1)
    with pytest.raises(KeyError, match="'nothing' is not among the 1 images of A"):
        make_gallery([dict(image_id='nothing', f1_a=0, f1_b=0)], *records, ('A', 'B'), (0, 0))


def test_confusion_has_numbers_if_they_can_be_read():
    few = {f.name: f.svg for f in make_figures(make_results(classes=VOC[:8]))}['confusion_0']
    many = {f.name: f.svg for f in make_figures(make_results(classes=VOC))}['confusion_0']
    assert len(re.findall(r'>\d+</text>', few)) >= 8
    assert re.findall(r'>\d+</text>', many) == []
