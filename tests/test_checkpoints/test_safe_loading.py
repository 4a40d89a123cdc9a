# SPDX-License-Identifier: Apache-2.0
import functools
import hashlib
import http.server
import io
import os
import pickle
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn
from toy_runner import ToyNet, toy_runner

from mmdet_mobilenext.checkpoints.safe_loading import (
    ALLOW_UNSAFE_VARIABLE,
    CheckpointFileError,
    UnsafeCheckpointError,
    allow_unsafe_checkpoints,
    fetch_checkpoint,
    install_safe_loaders,
    load_safely,
    reader,
    schemes,
    stand_ins,
    unsafe_checkpoints_allowed,
)


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture(autouse=True)
def no_opt_in(monkeypatch):
    monkeypatch.delenv(ALLOW_UNSAFE_VARIABLE, raising=False)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / 'executed'


@pytest.fixture(params=['zip', 'legacy', 'zip protocol 4', 'pickle'])
def malicious(request, tmp_path, marker):
    """A checkpoint that touches `marker` when it is unpickled freely."""
    path = tmp_path / 'malicious.pth'
    content = dict(state_dict=ToyNet().state_dict(), extra=Call(os.system, f'touch {marker}'))
    if request.param == 'pickle':
        path.write_bytes(pickle.dumps(content['extra'], protocol=2))
    else:
        protocol = 4 if request.param.endswith('4') else 2
        zipped = request.param != 'legacy'
        torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return str(path)


def save(path, content, **options):
    torch.save(content, path, **options)
    return str(path)


class TestMaliciousCheckpoints:
    def check(self, marker, malicious, load):
        with pytest.raises(UnsafeCheckpointError) as caught:
            load()
        assert not marker.exists()
        assert caught.value.globals == ['posix.system']
        assert caught.value.filename == malicious
        for part in ('posix.system', malicious, '--allow-unsafe-checkpoints'):
            assert part in str(caught.value)
        assert 'weights_only=False' not in str(caught.value)  # torch's advice

    def test_load_safely(self, malicious, marker):
        self.check(marker, malicious, lambda: load_safely(malicious))

    def test_load_checkpoint(self, malicious, marker):
        self.check(marker, malicious, lambda: load_checkpoint(ToyNet(), malicious))

    @pytest.mark.parametrize('prefix', [None, 'stem.'])
    def test_pretrained(self, malicious, marker, prefix):
        init_cfg = dict(type='Pretrained', checkpoint=malicious, prefix=prefix)
        module = ToyNet(init_cfg=init_cfg) if prefix is None else BaseModule(init_cfg)
        self.check(marker, malicious, module.init_weights)

    @pytest.mark.parametrize('resume', [False, True])
    def test_runner(self, malicious, marker, tmp_path, resume):
        runner = toy_runner(tmp_path / 'run', load_from=malicious, resume=resume)
        self.check(marker, malicious, runner.train)

    def test_opt_in_runs_it(self, malicious, marker, monkeypatch):
        """So the tests above are about files that do run, and the flag works."""
        warnings = []
        monkeypatch.setattr(reader, 'warn', warnings.append)
        with allow_unsafe_checkpoints():
            try:
                load_safely(malicious)
            except RuntimeError as error:  # a bare pickle is executed, then found to be none
                assert 'magic number' in str(error)
        assert marker.exists()
        assert any('posix.system' in warning and malicious in warning for warning in warnings)
        marker.unlink()
        with pytest.raises(UnsafeCheckpointError):
            load_safely(malicious)
        assert not marker.exists()


class TestOptIn:
    def test_scope(self):
        assert not unsafe_checkpoints_allowed()
        with allow_unsafe_checkpoints():
            assert unsafe_checkpoints_allowed()
            with allow_unsafe_checkpoints(False):
                assert not unsafe_checkpoints_allowed()
            assert unsafe_checkpoints_allowed()
        assert ALLOW_UNSAFE_VARIABLE not in os.environ

    def test_setter_lasts_and_explicit_no_wins(self, tmp_path, marker, monkeypatch):
        monkeypatch.setenv(ALLOW_UNSAFE_VARIABLE, '')  # to have it restored
        path = save(tmp_path / 'a.pth', Call(os.system, f'touch {marker}'))
        allow_unsafe_checkpoints()
        with pytest.raises(UnsafeCheckpointError):
            load_safely(path, allow_unsafe=False)
        assert not marker.exists()
        load_safely(path)
        assert marker.exists()

    def test_bad_value(self, monkeypatch):
        monkeypatch.setenv(ALLOW_UNSAFE_VARIABLE, 'maybe')
        with pytest.raises(ValueError, match='maybe'):
            unsafe_checkpoints_allowed()

    def test_child_process_inherits(self, tmp_path, marker):
        path = save(tmp_path / 'a.pth', Call(os.system, f'touch {marker}'))
        code = (
            'from mmdet_mobilenext.checkpoints.safe_loading import load_safely; '
            f'load_safely({path!r})'
        )
        with allow_unsafe_checkpoints():
            subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
        assert marker.exists()

    def test_safe_file_is_read_safely_all_the_same(self, tmp_path, monkeypatch):
        path = save(tmp_path / 'a.pth', dict(weight=torch.ones(2)))
        modes = []
        real = torch.load

        def spy(*args, **kwargs):
            modes.append(kwargs['weights_only'])
            return real(*args, **kwargs)

        monkeypatch.setattr(torch, 'load', spy)
        load_safely(path, allow_unsafe=True)
        assert modes == [True]


class TestNarrowness:
    @pytest.mark.parametrize(
        ('content', 'name'),
        [
            (Call(eval, '1 + 1'), 'builtins.eval'),
            (Call(getattr, nn.Linear, 'forward'), 'torch.nn.modules.linear.Linear'),
            (Call(getattr, HistoryBuffer, '__init__'), None),
            (Call(getattr, [], 'append'), 'builtins.getattr'),
            (np.array([1, 'a'], dtype=object), r"numpy.dtype\('O8'\)"),
            (np.zeros(2, dtype=[('a', 'f4')]), r"numpy.dtype\('V4'\)"),
            (np.array(['2020-01-01'], dtype='M8[D]'), r"numpy.dtype\('M8'\)"),
            (Call(torch.hub.load, 'owner/name', 'model'), 'torch.hub.load'),
            (nn.Linear(1, 1), 'torch.nn.modules.linear.Linear'),
            (Call(np.load, 'file.npy'), 'numpy.*load'),
        ],
        ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
    )
    @pytest.mark.parametrize('zipped', [True, False])
    def test_refused(self, tmp_path, content, name, zipped):
        path = save(tmp_path / 'a.pth', [content], _use_new_zipfile_serialization=zipped)
        if name is None:  # a name of the class that mmengine itself asks for; it stays a name
            assert load_safely(path) == ['__init__']
            return
        with pytest.raises(UnsafeCheckpointError, match=name):
            load_safely(path)

    def test_dtype_state_cannot_lie(self):
        dtype = stand_ins._Dtype('f8')
        with pytest.raises(stand_ins.RefusedError):
            dtype.__setstate__((3, '<', (np.dtype('f8'), (9,)), None, None, -1, -1, 0))

    def test_array_needs_its_bytes(self):
        with pytest.raises(ValueError, match='with 8 bytes'):
            stand_ins._array((2,), stand_ins._Dtype('f8'), False, b'12345678')

    def test_file_cannot_replace_methods_of_all_buffers(self, tmp_path):
        buffer = HistoryBuffer([1.0, 3.0], [1, 1])
        path = save(tmp_path / 'a.pth', buffer)
        content = open(path, 'rb').read()
        assert b'mean' in content
        before = dict(HistoryBuffer._statistics_methods)
        assert load_safely(path).mean() == 2.0
        assert HistoryBuffer._statistics_methods == before

    def test_process_wide_list(self, tmp_path):
        """A user's own entries count, but not a getattr that widens what mmengine needs."""
        path = save(tmp_path / 'a.pth', [Call(getattr, [], 'append')])
        other = save(tmp_path / 'b.pth', [ConfigDict(a=1), Call(slice, 1, 2)])
        before = set(torch.serialization.get_safe_globals())
        with torch.serialization.safe_globals([getattr, HistoryBuffer, slice]):
            with pytest.raises(UnsafeCheckpointError, match=r'builtins\.getattr'):
                load_safely(path)
            assert load_safely(other) == [dict(a=1), slice(1, 2)]
            assert getattr in torch.serialization.get_safe_globals()
        assert set(torch.serialization.get_safe_globals()) == before


class TestContent:
    @pytest.mark.parametrize('zipped', [True, False])
    def test_numpy_and_buffers(self, tmp_path, zipped):
        buffer = HistoryBuffer([1.0, 2.0], [1, 1], max_length=7)
        arrays = [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
            np.array([1, 2], dtype='>i4'),
            np.zeros((0, 4), np.float32),
            np.array(5, np.uint8),
            np.array(['ab', 'c']),
            np.array([True, False]),
        ]
        content = dict(
            hub=dict(loss=buffer, same=buffer),
            arrays=tuple(arrays),
            numbers=[np.float64(0.5), np.float32(0.25), np.int64(-3), np.bool_(True)],
            meta=ConfigDict(classes=('a', 'b'), nested=dict(x=1)),
            weights=ToyNet().state_dict(),
        )
        loaded = load_safely(
            save(tmp_path / 'a.pth', content, _use_new_zipfile_serialization=zipped)
        )
        for array, other in zip(arrays, loaded['arrays'], strict=True):
            np.testing.assert_array_equal(array, other)
            assert type(other) is np.ndarray
            assert other.dtype == array.dtype.newbyteorder('=')
            assert other.flags.writeable
        for number, other in zip(content['numbers'], loaded['numbers'], strict=True):
            assert type(other) is type(number) and other == number
        restored = loaded['hub']['loss']
        assert type(restored) is HistoryBuffer
        assert restored is loaded['hub']['same']
        assert restored.data[0].tolist() == [1.0, 2.0]
        assert restored.max_length == 7
        restored.update(6.0)
        assert restored.statistics('mean') == 3.0
        assert loaded['meta'] == dict(classes=('a', 'b'), nested=dict(x=1))
        assert loaded['weights']._metadata == content['weights']._metadata

    def test_names_of_other_numpy(self, tmp_path):
        """numpy 1 and 2 keep the same functions in modules of other names."""
        stream = io.BytesIO()
        torch.save([np.arange(3), np.float32(2)], stream, _use_new_zipfile_serialization=False)
        content = stream.getvalue()
        old, new = b'numpy.core.multiarray', b'numpy._core.multiarray'
        other = content.replace(new, old) if new in content else content.replace(old, new)
        assert other != content
        for version in (content, other):
            array, number = load_safely(io.BytesIO(version))
            assert array.tolist() == [0, 1, 2] and number == 2

    def test_real_checkpoint(self, tmp_path):
        """Train, save, read, resume: with optimizer, schedules, message hub and EMA."""
        runner = toy_runner(
            tmp_path,
            epochs=2,
            checkpoint=dict(type='CheckpointHook', interval=1, save_best='toy/mAP'),
            custom_hooks=[dict(type='EMAHook')],
        )
        runner.train()
        path = str(tmp_path / 'epoch_2.pth')
        free = torch.load(path, weights_only=False)
        safe = load_safely(path)
        assert safe.keys() == free.keys() >= {'optimizer', 'param_schedulers', 'ema_state_dict'}
        for key in ('state_dict', 'ema_state_dict'):
            assert safe[key].keys() == free[key].keys()
            assert all(torch.equal(safe[key][k], free[key][k]) for k in free[key])
        momentum = [state['momentum_buffer'] for state in safe['optimizer']['state'].values()]
        assert len(momentum) == 6 and any(buffer.abs().sum() > 0 for buffer in momentum)
        assert safe['param_schedulers'] == free['param_schedulers']
        assert safe['meta'] == free['meta']
        assert safe['message_hub']['runtime_info'] == free['message_hub']['runtime_info']
        scalars = free['message_hub']['log_scalars']
        assert scalars
        for name, buffer in scalars.items():
            read = safe['message_hub']['log_scalars'][name]
            assert type(read) is HistoryBuffer
            for ours, theirs in zip(read.data, buffer.data, strict=True):
                np.testing.assert_array_equal(ours, theirs)

        resumed = toy_runner(
            tmp_path, epochs=3, load_from=path, resume=True, custom_hooks=[dict(type='EMAHook')]
        )
        resumed.train()
        assert (resumed.epoch, resumed.iter) == (3, 6)
        losses = resumed.message_hub.get_scalar('train/loss').data[0]
        assert len(losses) == 6  # those before the resume are still there
        assert np.isfinite(losses).all()


class TestDamagedFiles:
    @pytest.mark.parametrize('zipped', [True, False])
    @pytest.mark.parametrize('part', [0.02, 0.3, 0.6, 0.95, 0.9999])
    def test_truncated(self, tmp_path, zipped, part):
        path = save(
            tmp_path / 'whole.pth', dict(w=torch.rand(999)), _use_new_zipfile_serialization=zipped
        )
        content = open(path, 'rb').read()
        path = tmp_path / 'cut.pth'
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(CheckpointFileError) as caught:
            load_safely(path)
        assert str(path) in str(caught.value)
        assert f'{int(len(content) * part)} bytes' in str(caught.value)

    @pytest.mark.parametrize(
        ('content', 'says'),
        [
            (b'', 'is empty'),
            (b'some notes\n', 'not a PyTorch checkpoint'),
            (b'abc', 'not a PyTorch checkpoint'),
            (b'<!DOCTYPE html><html>Not found</html>', 'web page'),
            (b'version https://git-lfs.github.com/spec/v1\noid sha256:00', 'git lfs pull'),
            (pickle.dumps(dict(a=1), protocol=2), 'not a PyTorch checkpoint'),
        ],
    )
    def test_other_files(self, tmp_path, content, says):
        path = tmp_path / 'file.pth'
        path.write_bytes(content)
        with pytest.raises(CheckpointFileError, match=says):
            load_safely(path)
        with pytest.raises(CheckpointFileError, match=says):
            load_checkpoint(ToyNet(), str(path))

    def test_programs_are_refused(self, tmp_path):
        path = tmp_path / 'script.pt'
        torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.ones(1, 1)), path)
        with pytest.raises(UnsafeCheckpointError, match='TorchScript'):
            load_safely(path)

    def test_unusual_protocol_is_not_called_damaged(self, tmp_path):
        path = save(tmp_path / 'a.pth', dict(w=torch.ones(1)), pickle_protocol=4)
        with pytest.raises(UnsafeCheckpointError, match='protocol 2'):
            load_safely(path)

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'nothing\.pth does not exist'):
            load_safely(tmp_path / 'nothing.pth')
        with pytest.raises(FileNotFoundError, match='is a directory'):
            load_safely(tmp_path)

    def test_missing_device_is_not_the_files_fault(self, tmp_path):
        if torch.cuda.is_available():
            pytest.skip('there is such a device here')
        path = save(tmp_path / 'a.pth', torch.ones(1))
        with pytest.raises(RuntimeError, match=r'cuda|CUDA') as caught:
            load_safely(path, map_location='cuda')
        assert not isinstance(caught.value, (CheckpointFileError, UnsafeCheckpointError))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server of a folder, and an empty cache; it counts what it is asked for."""
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    folder = tmp_path / 'web'
    folder.mkdir()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield types.SimpleNamespace(
            folder=folder,
            url=f'http://127.0.0.1:{running.server_port}',
            requests=requests,
            cache=tmp_path / 'hub' / 'checkpoints',
        )
        running.shutdown()
        thread.join()


def publish(server, name='model.pth', content=None):
    """Put a checkpoint on the server; `{sha}` in the name becomes its checksum."""
    stream = io.BytesIO()
    torch.save(ToyNet().state_dict() if content is None else content, stream)
    checksum = hashlib.sha256(stream.getvalue()).hexdigest()
    name = name.format(sha=checksum[:8])
    (server.folder / name).write_bytes(stream.getvalue())
    return f'{server.url}/{name}', checksum


class TestDownloads:
    def test_checksum_in_fragment(self, server):
        url, checksum = publish(server)
        load_checkpoint(ToyNet(), f'{url}#sha256={checksum}', strict=True)
        load_checkpoint(ToyNet(), f'{url}#sha256={checksum.upper()}', strict=True)
        assert server.requests == ['/model.pth']  # once; then from the cache
        assert [file.name for file in server.cache.iterdir()] == [f'model-{checksum[:8]}.pth']

    def test_checksum_in_name(self, server):
        url, _ = publish(server, 'toy_20200130-{sha}.pth')
        load_checkpoint(ToyNet(), url, strict=True)
        assert len(server.requests) == 1

    def test_no_checksum(self, server):
        url, _ = publish(server)
        with pytest.raises(ValueError, match=r'#sha256=.*sha256sum'):
            load_checkpoint(ToyNet(), url)
        with pytest.raises(ValueError, match='64 hex'):
            load_checkpoint(ToyNet(), url + '#sha256=abc')
        assert not server.requests

    def test_wrong_checksum(self, server):
        url, _ = publish(server)
        with pytest.raises(CheckpointFileError, match='invalid hash'):
            load_checkpoint(ToyNet(), f'{url}#sha256={"0" * 64}')
        assert list(server.cache.iterdir()) == []

    def test_fragment_has_priority_over_a_date(self, server):
        url, checksum = publish(server, 'toy-20200130.pth')
        with pytest.raises(CheckpointFileError):
            load_checkpoint(ToyNet(), url)
        load_checkpoint(ToyNet(), f'{url}#sha256={checksum}', strict=True)

    def test_damaged_cache_is_not_loaded(self, server):
        url, _ = publish(server, 'toy-{sha}.pth')
        path = fetch_checkpoint(url)
        with open(path, 'r+b') as file:
            file.write(b'damaged!')
        load_checkpoint(ToyNet(), url, strict=True)
        assert len(server.requests) == 2

    def test_no_such_address(self, server):
        with pytest.raises(CheckpointFileError, match=r'absent-00000000\.pth.*404'):
            load_checkpoint(ToyNet(), f'{server.url}/absent-00000000.pth')

    def test_malicious(self, server, marker):
        url, _ = publish(server, 'toy-{sha}.pth', Call(os.system, f'touch {marker}'))
        with pytest.raises(UnsafeCheckpointError, match=r'posix\.system'):
            load_checkpoint(ToyNet(), url)
        assert not marker.exists()

    @pytest.mark.parametrize('rank', [0, 1])
    def test_ranks(self, server, monkeypatch, rank):
        """Rank 0 downloads before the barrier, also if it fails, the others behind it."""
        url, _ = publish(server, 'toy-{sha}.pth')
        seen = []
        monkeypatch.setattr(schemes, 'get_dist_info', lambda: (rank, 2))
        monkeypatch.setattr(schemes, 'barrier', lambda: seen.append(len(server.requests)))
        schemes.load_from_http(url)
        assert seen == [1 - rank]
        with pytest.raises(CheckpointFileError):
            schemes.load_from_http(f'{server.url}/absent-00000000.pth')
        assert len(seen) == 2


class TestSchemes:
    def test_all_are_replaced(self):
        install_safe_loaders()
        install_safe_loaders()
        loaders = CheckpointLoader._schemes
        assert len(loaders) >= 11
        for prefix, loader in loaders.items():
            assert loader.__module__ == schemes.__name__, prefix
            assert loader.__name__.startswith('load_from_')  # mmengine prints what follows

    @pytest.mark.parametrize(
        ('scheme', 'table'),
        [
            ('torchvision', 'get_torchvision_models'),
            ('modelzoo', 'get_torchvision_models'),
            ('open-mmlab', 'get_external_models'),
            ('openmmlab', 'get_external_models'),
        ],
    )
    def test_names(self, server, monkeypatch, scheme, table):
        url, checksum = publish(server, 'toy-{sha}.pth')
        bare, other = publish(server, 'bare.pth')
        names = dict(toy_net=url, bare=bare, gone=None)
        monkeypatch.setattr(schemes.mmengine_checkpoint, table, lambda: names)
        load_checkpoint(ToyNet(), f'{scheme}://toy_net', strict=True)
        load_checkpoint(ToyNet(), f'{scheme}://toy_net#sha256={checksum}', strict=True)
        load_checkpoint(ToyNet(), f'{scheme}://bare#sha256={other}', strict=True)
        with pytest.raises(ValueError, match='no checksum'):
            load_checkpoint(ToyNet(), f'{scheme}://bare')
        with pytest.raises(ValueError, match=r'toy_ne.*near ones are toy_net'):
            load_checkpoint(ToyNet(), f'{scheme}://toy_ne')
        with pytest.raises(ValueError, match='gone'):
            load_checkpoint(ToyNet(), f'{scheme}://gone')

    def test_mmcls_keeps_the_backbone(self, server, monkeypatch):
        weights = {'backbone.weight': torch.ones(3, 3), 'head.fc.weight': torch.ones(1)}
        url, _ = publish(server, 'toy-{sha}.pth', dict(state_dict=weights))
        monkeypatch.setattr(schemes.mmengine_checkpoint, 'get_mmcls_models', lambda: dict(toy=url))
        loaded = CheckpointLoader.load_checkpoint('mmcls://toy')
        assert list(loaded['state_dict']) == ['weight']

    def test_openmmlab_deprecated_name_and_local_file(self, tmp_path, monkeypatch, marker):
        monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
        save(tmp_path / 'mine.pth', ToyNet().state_dict())
        save(tmp_path / 'bad.pth', Call(os.system, f'touch {marker}'))
        (tmp_path / 'open_mmlab.json').write_text('{"mine": "mine.pth", "bad": "bad.pth"}')
        monkeypatch.setattr(
            schemes.mmengine_checkpoint, 'get_deprecated_model_names', lambda: dict(old='mine')
        )
        load_checkpoint(ToyNet(), 'open-mmlab://old', strict=True)
        with pytest.raises(UnsafeCheckpointError):
            load_checkpoint(ToyNet(), 'openmmlab://bad')
        assert not marker.exists()

    @pytest.mark.parametrize(
        'name', ['s3://bucket/a.pth', 'cluster:s3://b/a.pth', 'petrel://a.pth']
    )
    def test_object_store(self, monkeypatch, marker, name):
        def backend(content):
            stream = io.BytesIO()
            torch.save(content, stream)
            store = types.SimpleNamespace(get=lambda filename: stream.getvalue())
            monkeypatch.setattr(schemes, 'get_file_backend', lambda *a, **k: store)

        backend(ToyNet().state_dict())
        load_checkpoint(ToyNet(), name, strict=True)
        backend(Call(os.system, f'touch {marker}'))
        with pytest.raises(UnsafeCheckpointError, match=name):
            load_checkpoint(ToyNet(), name)
        assert not marker.exists()

    def test_pavi(self, tmp_path, monkeypatch, marker):
        def download(path):
            torch.save(Call(os.system, f'touch {marker}'), path)

        cloud = types.SimpleNamespace(
            get=lambda path: types.SimpleNamespace(name='a.pth', download=download)
        )
        monkeypatch.setitem(sys.modules, 'pavi', types.SimpleNamespace(modelcloud=cloud))
        with pytest.raises(UnsafeCheckpointError, match=r'posix\.system'):
            load_checkpoint(ToyNet(), 'pavi://run/a.pth')
        assert not marker.exists()
        monkeypatch.setitem(sys.modules, 'pavi', None)
        with pytest.raises(ImportError, match='pavi'):
            load_checkpoint(ToyNet(), 'pavi://run/a.pth')
