# SPDX-License-Identifier: Apache-2.0
"""The model index, and fetching and verifying what it names."""

import json
import runpy
import shutil
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from golden import load, make_state_dict
from mmdet.models.backbones import MobileNetV2
from mmdet.registry import MODELS
from mmengine.config import Config
from small_voc import ROOT

from mmdet_mobilenext.checkpoints.convert import SOURCES
from mmdet_mobilenext.checkpoints.key_map import mobilenext_map
from mmdet_mobilenext.checkpoints.sources.houqb_detector import SCORES
from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError
from mmdet_mobilenext.checkpoints.zoo import (
    WeightsError,
    fetch_weights,
    read_index,
    verify_weights,
)
from mmdet_mobilenext.checkpoints.zoo.fetch import how_to_use
from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.models import MobileNeXt

INDEX = ROOT / 'model-index.yml'
NAME = 'mobilenext_1.0_in1k'


@pytest.fixture(scope='module')
def index():
    return read_index(INDEX)


@pytest.fixture(scope='module')
def authors_file(tmp_path_factory):
    """The authors' classifier with other numbers: keys and shapes are theirs."""
    path = tmp_path_factory.mktemp('authors') / 'mnext.pth.tar'
    weights = make_state_dict(load('models')['imagenet_mobilenext_1.0']['state_dict'])
    torch.save(weights, path)
    return path


@pytest.fixture(scope='module')
def fetched(index, authors_file, tmp_path_factory):
    """A folder of weights with one file in it. Copy it to change it."""
    folder = tmp_path_factory.mktemp('fetched') / 'weights'
    fetch_weights(index[NAME], folder, authors_file)
    return folder


@pytest.fixture
def weights(fetched, tmp_path):
    return Path(shutil.copytree(fetched, tmp_path / 'weights'))


def other_file(path, authors_file):
    """Another file of the same network."""
    state = torch.load(authors_file)
    state['classifier.1.bias'] += 1
    torch.save(state, path)
    return path


class TestIndex:
    def test_modelindex_accepts_it(self, index):
        modelindex = pytest.importorskip('modelindex')
        loaded = modelindex.load(str(INDEX))
        assert list(loaded.check(silent=True)) == []
        assert [model.name for model in loaded.models] == list(index)
        assert {m.in_collection for m in loaded.models} == {c.name for c in loaded.collections}

    def test_files_and_converters_exist(self, index):
        for entry in index.values():
            assert entry.config.is_file(), entry.name
            assert entry.initialises is None or entry.initialises.is_file(), entry.name
            assert entry.converter in SOURCES, entry.name
            assert entry.scores in (None, *SCORES), entry.name
            digits = (entry.known_hash or '').rpartition(':')[2]
            assert digits in entry.url, f'{entry.name}: the prefix is that of the file name'

    def test_what_the_main_configs_look_for_is_in_it(self, index, configs):
        for backbone in ('mobilenext', 'mobilenetv2'):
            for variant in ('voc', '4xb24_voc', 'voc07'):
                cfg = Config.fromfile(configs / f'ssdlite_{backbone}_{variant}.py')
                path = Path(cfg.model.backbone.init_cfg.checkpoint)
                assert str(path) in cfg.optional_weights
                assert path.parent == Path('weights')
                assert backbone in index[path.stem].initialises.name
                assert not index[path.stem].manual

    def test_sizes_are_those_of_our_networks(self, index):
        counted = {}
        for name, net in (
            ('mobilenext', MobileNeXt(out_indices=(7,))),
            ('mobilenetv2', MobileNetV2(out_indices=(7,))),
        ):
            fc = 1280 * 1000
            counted[name] = (count_parameters(net) + fc + 1000, count_madds(net, (224, 224)) + fc)
        for file in ('configs/metafile.yml', 'configs/imagenet/metafile.yml'):
            for model in yaml.safe_load((ROOT / file).read_text())['Models']:
                sizes = model['Metadata']['Parameters'], model['Metadata']['FLOPs']
                if index[model['Name']].initialises is None:
                    net = MODELS.build(Config.fromfile(ROOT / model['Config']).model)
                    assert sizes == (count_parameters(net), count_madds(net, (320, 320)))
                else:
                    assert sizes == counted[model['Name'].split('_')[0]], model['Name']

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (dict(SHA256='b0353104'), "an_entry: SHA256 must be .* but is 'b0353104'"),
            (dict(Download='soon'), "an_entry: Download must be one of .* 'soon'"),
            (dict(License=None), 'an_entry lacks License'),
        ],
    )
    def test_entries_that_do_not_say_enough_are_named(self, tmp_path, change, message):
        model = dict(
            Name='an_entry', Config='a.py', Weights='https://example.org/a', Download='direct',
            Converter='x', Source='y', License='MIT', SHA256='unverified', Accuracy='published',
        )  # fmt: skip
        (tmp_path / 'm.yml').write_text(yaml.safe_dump(dict(Models=[model])))
        (tmp_path / 'index.yml').write_text('Import: [m.yml]')
        assert list(read_index(tmp_path / 'index.yml')) == ['an_entry']
        (tmp_path / 'm.yml').write_text(yaml.safe_dump(dict(Models=[{**model, **change}])))
        with pytest.raises(WeightsError, match=message):
            read_index(tmp_path / 'index.yml')


class TestFetch:
    def test_record_and_weights(self, index, authors_file, fetched):
        record = json.loads((fetched / f'{NAME}.json').read_text())
        target = fetched / f'{NAME}.pth'
        assert record['source_sha256'] == sha256_of(authors_file)
        assert record['sha256'] == sha256_of(target)
        assert record['bytes'] == target.stat().st_size
        assert record['verified'] == 'trusted on first use'
        trusted = json.loads((fetched / 'trusted.json').read_text())
        assert trusted[NAME]['sha256'] == sha256_of(authors_file)
        stem = torch.load(authors_file)['features.0.0.weight']
        assert torch.equal(torch.load(target)['state_dict']['backbone.conv1.conv.weight'], stem)
        assert [f.problem for f in verify_weights(index, fetched)] == ['']
        # nothing half-made is left
        names = {p.name for p in fetched.iterdir()} - {'.lock'}
        assert names == {f'{NAME}.pth', f'{NAME}.json', 'trusted.json'}

    def test_again_does_nothing(self, index, weights):
        before = {p.name: p.read_bytes() for p in weights.iterdir()}
        said = []
        fetch_weights(index[NAME], weights, say=said.append)  # no download
        assert {p.name: p.read_bytes() for p in weights.iterdir()} == before
        assert 'is there already' in said[0]

    def test_another_file_than_the_first_is_refused(self, index, weights, authors_file, tmp_path):
        other = other_file(tmp_path / 'other.pth', authors_file)
        before = (weights / f'{NAME}.pth').read_bytes()
        with pytest.raises(WeightsError, match='--trust-new') as error:
            fetch_weights(index[NAME], weights, other)
        assert sha256_of(other) in str(error.value) and sha256_of(authors_file) in str(error.value)
        assert (weights / f'{NAME}.pth').read_bytes() == before
        # also where the weights themselves were removed
        (weights / f'{NAME}.pth').unlink()
        with pytest.raises(WeightsError, match='--trust-new'):
            fetch_weights(index[NAME], weights, other)
        fetch_weights(index[NAME], weights, other, trust_new=True)
        assert [f.problem for f in verify_weights(index, weights)] == ['']
        with pytest.raises(WeightsError, match='--trust-new'):
            fetch_weights(index[NAME], weights, authors_file)

    @pytest.mark.parametrize('prefix', [False, True])
    def test_published_checksum(self, index, authors_file, tmp_path, prefix):
        digest = sha256_of(authors_file)
        right = f'prefix {digest[:8]}' if prefix else digest
        wrong = right[:-1] + ('0' if right[-1] != '0' else '1')
        with pytest.raises(WeightsError, match=f'not the published file.*{digest}'):
            fetch_weights(replace(index[NAME], sha256=wrong), tmp_path / 'w', authors_file)
        assert not list((tmp_path / 'w').glob('*.pth'))
        fetch_weights(replace(index[NAME], sha256=right), tmp_path / 'w', authors_file)
        record = json.loads((tmp_path / 'w' / f'{NAME}.json').read_text())
        assert record['verified'] == ('prefix' if prefix else 'sha256')
        assert not (tmp_path / 'w' / 'trusted.json').exists()

    def test_other_network_is_refused_before_it_is_in_place(self, index, tmp_path):
        source = tmp_path / 'small.pth'
        net = MobileNeXt(widen_factor=0.35, out_indices=(7,))
        names = {target: source for source, target in mobilenext_map(net, '', '').items()}
        state = {}
        for key, value in net.state_dict().items():
            module, _, name = key.rpartition('.')
            state[f'{names[module]}.{name}'] = value
        state |= {'classifier.1.weight': torch.zeros(1000, 1280)}
        torch.save({**state, 'classifier.1.bias': torch.zeros(1000)}, source)
        with pytest.raises(CheckpointKeyError, match='another shape'):
            fetch_weights(index[NAME], tmp_path / 'w', source)
        assert {p.name for p in (tmp_path / 'w').iterdir()} == {'.lock'}

    def test_weights_of_another_origin_are_kept(self, index, weights, authors_file, tmp_path):
        torch.save(dict(state_dict={}), weights / 'mine.pth')
        with pytest.raises(WeightsError, match=r'mine\.pth exists.*--force'):
            fetch_weights(index[NAME], weights, authors_file, save_as='mine')
        fetch_weights(index[NAME], weights, authors_file, save_as='mine', force=True)
        assert [f.problem for f in verify_weights(index, weights)] == ['', '']

    def test_what_was_converted_by_hand_gets_its_record(self, index, weights, authors_file):
        (weights / f'{NAME}.json').unlink()
        fetch_weights(index[NAME], weights, authors_file)
        assert [f.problem for f in verify_weights(index, weights)] == ['']
        record = json.loads((weights / f'{NAME}.json').read_text())
        assert record['sha256'] == sha256_of(weights / f'{NAME}.pth')

    @pytest.mark.parametrize('damage', ['byte', 'tensor', 'truncated', 'empty', 'record', 'trust'])
    def test_what_verify_finds_wrong_is_mended_by_fetching(
        self, index, weights, authors_file, damage
    ):
        path, record = weights / f'{NAME}.pth', weights / f'{NAME}.json'
        right = torch.load(path)['state_dict']
        content = path.read_bytes()
        if damage == 'byte':
            middle = len(content) // 2
            flipped = bytes([content[middle] ^ 1])
            path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
        elif damage == 'tensor':
            checkpoint = torch.load(path)
            checkpoint['state_dict']['backbone.conv1.bn.bias'] += 1
            torch.save(checkpoint, path)
        elif damage == 'record':
            record.write_text(record.read_text().replace(sha256_of(authors_file), '0' * 64))
        elif damage == 'trust':
            (weights / 'trusted.json').unlink()
        else:
            path.write_bytes(content[: len(content) // 2 if damage == 'truncated' else 0])
        assert verify_weights(index, weights)[0].problem
        fetch_weights(index[NAME], weights, authors_file)
        assert [f.problem for f in verify_weights(index, weights)] == ['']
        for key, value in torch.load(path)['state_dict'].items():
            assert torch.equal(value, right[key])

    @pytest.mark.parametrize('name', ['trusted', '../evil', '.hidden', 'a/b', '/tmp/evil'])
    def test_name_stays_in_the_folder(self, index, weights, authors_file, name):
        before = {p.name: p.read_bytes() for p in weights.iterdir()}
        with pytest.raises(WeightsError, match='cannot be the name'):
            fetch_weights(index[NAME], weights, authors_file, save_as=name)
        assert {p.name: p.read_bytes() for p in weights.iterdir()} == before
        assert [p.name for p in weights.parent.iterdir()] == ['weights']

    def test_download_by_hand_is_explained(self, index, tmp_path):
        entry = index['ssdlite_mobilenext_voc']
        with pytest.raises(WeightsError, match='by hand') as error:
            fetch_weights(entry, tmp_path / 'w')
        message = str(error.value)
        assert entry.url in message and f'fetch {entry.name} --dest {tmp_path}/w --file' in message

    def test_released_detector(self, index, tmp_path):
        source = tmp_path / 'authors.pth'
        torch.save(dict(model=make_state_dict(load('models')['mobilenext']['state_dict'])), source)
        entry = index['ssdlite_mobilenext_voc']
        path = fetch_weights(entry, tmp_path / 'w', source)
        assert [f.problem for f in verify_weights(index, tmp_path / 'w')] == ['']
        assert f'tools/test.py configs/{entry.config.name} {path}' in how_to_use(entry, path)

    def test_released_coco_detector(self, index, tmp_path):
        """The index tells that its scores are sigmoids, which the file does not."""
        weights = make_state_dict(load('models')['mobilenet_v2']['state_dict'])
        for key, value in weights.items():
            priors, is_last = (4, True) if '_headers.5.' in key else (6, '.conv.3.' in key)
            if is_last and 'box_head' in key:
                rows = priors * (81 if 'cls_headers' in key else 4)
                weights[key] = value[:1].expand(rows, *value.shape[1:])
        torch.save(dict(model=weights), tmp_path / 'authors.pth')
        entry = index['ssdlite_mobilenetv2_coco']
        path = fetch_weights(entry, tmp_path / 'w', tmp_path / 'authors.pth')
        assert torch.load(path)['meta']['scores'] == 'sigmoid'
        assert [f.problem for f in verify_weights(index, tmp_path / 'w')] == ['']

    def test_how_to_use(self, index, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        entry = index['mobilenext_1.0_in1k_paddleclas']
        assert 'start from them now' in how_to_use(entry, f'weights/{NAME}.pth')
        assert 'with WEIGHTS_ROOT=other' in how_to_use(entry, f'other/{NAME}.pth')
        said = how_to_use(entry, f'weights/{entry.name}.pth')
        assert f'--as {NAME}' in said and f'checkpoint=weights/{entry.name}.pth' in said


class TestDownload:
    @pytest.fixture
    def server(self, authors_file, monkeypatch):
        """`fetch_file` that copies instead, and what it was asked for."""
        from mmdet_mobilenext import fetching

        asked = []

        def fetch_file(urls, dest, known_hash, *, title=None, progress=True):
            asked.append((list(urls), known_hash))
            dest.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(asked_for[0], dest)
            return fetching.FetchedFile(dest, sha256_of(dest), urls[-1], 0)

        asked_for = [authors_file]
        monkeypatch.setattr(fetching, 'fetch_file', fetch_file)
        return asked, asked_for

    def test_downloaded(self, index, server, tmp_path):
        asked, _ = server
        fetch_weights(index[NAME], tmp_path / 'w')
        assert asked == [([index[NAME].url, *index[NAME].mirrors], None)]
        record = json.loads((tmp_path / 'w' / f'{NAME}.json').read_text())
        assert record['origin'] == index[NAME].mirrors[-1]
        assert not list((tmp_path / 'w' / 'downloads').iterdir())

    def test_a_refused_download_is_not_taken_up_again(
        self, index, server, weights, authors_file, tmp_path
    ):
        _, asked_for = server
        (weights / f'{NAME}.pth').unlink()
        asked_for[0] = other_file(tmp_path / 'other.pth', authors_file)
        with pytest.raises(WeightsError, match='another file than the first'):
            fetch_weights(index[NAME], weights)
        assert not list((weights / 'downloads').iterdir())

    def test_without_a_network(self, index, server, tmp_path, monkeypatch):
        _, asked_for = server
        asked_for[0] = tmp_path / 'nowhere'
        with pytest.raises(WeightsError, match='cannot be downloaded') as error:
            fetch_weights(index[NAME], tmp_path / 'w', save_as='x')
        for part in (index[NAME].url, *index[NAME].mirrors, '--file PATH --as x'):
            assert part in str(error.value)

    def test_from_a_server(self, index, authors_file, tmp_path):
        handler = partial(SimpleHTTPRequestHandler, directory=str(authors_file.parent))
        server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f'http://127.0.0.1:{server.server_port}/{authors_file.name}'
            entry = replace(index[NAME], url=url, mirrors=(), sha256=sha256_of(authors_file))
            path = fetch_weights(entry, tmp_path / 'w')
        finally:
            server.shutdown()
            server.server_close()
        record = json.loads(path.with_suffix('.json').read_text())
        assert (record['origin'], record['verified']) == (url, 'sha256')


class TestVerify:
    def problem(self, index, weights):
        (finding,) = verify_weights(index, weights)
        return finding.problem

    def test_changed_weights(self, index, weights):
        with open(weights / f'{NAME}.pth', 'r+b') as file:
            file.seek(100_000)
            file.write(b'\1\2\3\4')
        assert 'is not what was written' in self.problem(index, weights)

    def test_missing_weights(self, index, weights):
        (weights / f'{NAME}.pth').unlink()
        assert f'fetch {NAME}' in self.problem(index, weights)

    def test_missing_weights_under_another_name(self, index, weights):
        (weights / f'{NAME}.pth').unlink()
        (weights / f'{NAME}.json').rename(weights / 'mine.json')
        assert f'fetch {NAME} --as mine' in self.problem(index, weights)

    def test_weights_in_the_place_of_another_network(self, index, weights):
        for end in ('pth', 'json'):
            (weights / f'{NAME}.{end}').rename(weights / f'mobilenetv2_1.0_in1k.{end}')
        assert 'layer1.0.depthwise_conv.conv.weight' in self.problem(index, weights)

    def test_a_name_that_nobody_knows(self, index, weights):
        (finding,) = verify_weights(index, weights, ['x'])
        assert 'the index knows no such weights' in finding.problem

    def test_a_file_of_somebody_else_is_read(self, index, weights):
        (weights / f'{NAME}.json').unlink()
        path = (weights / f'{NAME}.pth').rename(weights / 'mine.pth')
        assert not self.problem(index, weights)
        path.write_bytes(path.read_bytes()[:1000])
        assert 'damaged' in self.problem(index, weights)

    def test_other_checksum_in_the_index(self, index, weights):
        changed = {**index, NAME: replace(index[NAME], sha256='prefix 01234567')}
        assert 'but the index says 01234567' in self.problem(changed, weights)

    def test_other_file_is_trusted(self, index, weights):
        trusted = json.loads((weights / 'trusted.json').read_text())
        trusted[NAME]['sha256'] = 'f' * 64
        (weights / 'trusted.json').write_text(json.dumps(trusted))
        assert 'trusted.json trusts ffff' in self.problem(index, weights)

    def test_damaged_record(self, index, weights):
        (weights / f'{NAME}.json').write_text('{"half')
        assert 'is damaged' in self.problem(index, weights)

    @pytest.mark.parametrize(
        ('name', 'content', 'message'),
        [
            ('trusted', {NAME: 'abc'}, f"'{NAME}' is a str, not an object"),
            ('trusted', {NAME: {}}, f"`sha256` of '{NAME}' must be text, but is None"),
            ('trusted', {'other': dict(sha256=7)}, "`sha256` of 'other' must be text, but is 7"),
            (NAME, dict(entry=[NAME]), '`entry` of it must be text'),
            (NAME, dict(entry=NAME), '`verified` of it must be text'),
        ],
    )
    def test_entries_of_another_kind(self, index, weights, authors_file, name, content, message):
        path = weights / f'{name}.json'
        if name == NAME:
            content = json.loads(path.read_text()) | dict(verified=None) | content
        path.write_text(json.dumps(content))
        for file in (None, authors_file):
            with pytest.raises(WeightsError) as caught:
                fetch_weights(index[NAME], weights, file)
            assert f'{path} is damaged ({message}' in str(caught.value)
        assert f'{path} is damaged ({message}' in self.problem(index, weights)

    def test_deep_nesting_in_a_record(self, index, weights):
        (weights / f'{NAME}.json').write_text('[' * 100_000)
        assert 'is damaged' in self.problem(index, weights)

    def test_keys_of_a_file_without_a_record(self, index, weights):
        (weights / f'{NAME}.json').unlink()
        (finding,) = verify_weights(index, weights)
        assert not finding.problem and 'no record' in finding.note
        path = weights / f'{NAME}.pth'
        checkpoint = torch.load(path)
        del checkpoint['state_dict']['backbone.conv1.conv.weight']
        torch.save(checkpoint, path)
        assert 'conv1.conv.weight' in self.problem(index, weights)


def run_here(*args):
    """The tool in this process: starting another one takes longer than the work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['weights.py', *map(str, args)])
        runpy.run_path(str(ROOT / 'tools' / 'weights.py'), run_name='__main__')


def test_tool(index, weights, authors_file, capsys):
    run_here('list', '--dest', weights)
    listed = capsys.readouterr().out
    assert NAME in listed and '74.02' in listed and 'ssdlite_mobilenetv2_voc' in listed
    assert index[f'{NAME}_paddleclas'].source in listed
    assert index['mobilenetv2_1.0_in1k'].source in listed
    assert 'BSD-3-Clause' in listed
    assert '…' not in listed  # nothing is cut, such as a licence
    run_here('fetch', NAME, '--file', authors_file, '--dest', weights)
    assert f'WEIGHTS_ROOT={weights}' in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        run_here('verify', '--dest', weights)
    assert not end.value.code
    with open(weights / f'{NAME}.pth', 'ab') as file:
        file.write(b'x')
    with pytest.raises(SystemExit) as end:
        run_here('verify', NAME, '--dest', weights)
    assert end.value.code == 1 and f'{NAME}: WRONG' in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"WeightsError: .* called 'x'"):
        run_here('fetch', 'x', '--dest', weights)
    with pytest.raises(SystemExit, match=r'those are weights for .*ssdlite_mobilenetv2_voc'):
        run_here('fetch', NAME, '--as', 'mobilenetv2_1.0_in1k', '--dest', weights)
