# SPDX-License-Identifier: Apache-2.0
"""The reader of ``.pdparams``: what it reads, and what it does not run."""

import os
import pickle
import struct
import subprocess
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmdet_mobilenext.checkpoints.safe_loading import (
    CheckpointFileError,
    UnsafeCheckpointError,
    load_numpy_pickle,
)

ARRAYS = {
    'weight': np.arange(12, dtype=np.float32).reshape(3, 4),
    'fortran': np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    'swapped': np.arange(3, dtype='>i4'),
    'scalar': np.array(7, dtype=np.int64),
    'empty': np.zeros((0, 3), np.float16),
}
fuzz = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def load(tmp_path):
    """Read bytes as a file."""
    path = tmp_path / 'weights.pdparams'

    def load_bytes(data):
        path.write_bytes(data)
        return load_numpy_pickle(path)

    return load_bytes


@pytest.mark.parametrize('protocol', [2, 3, 4])
@pytest.mark.parametrize('container', [dict, OrderedDict])
def test_arrays_arrive(load, protocol, container):
    names = {key: f'conv2d_{i}.w_0' for i, key in enumerate(ARRAYS)}
    saved = container([*ARRAYS.items(), ('StructuredToParameterName@@', names), ('epoch', 3)])
    loaded = load(pickle.dumps(saved, protocol))
    assert type(loaded) is dict and list(loaded) == list(saved)
    for key, array in ARRAYS.items():
        assert loaded[key].dtype == array.dtype.newbyteorder('=')
        np.testing.assert_array_equal(loaded[key], array)
        assert loaded[key].flags.writeable
    assert loaded['StructuredToParameterName@@'] == names and loaded['epoch'] == 3


def test_numpy_1_and_2_names(load):
    data = pickle.dumps(ARRAYS, 2)
    names = [b'numpy._core.multiarray', b'numpy.core.multiarray']
    here, other = names if names[0] in data else names[::-1]
    np.testing.assert_array_equal(load(data.replace(here, other))['weight'], ARRAYS['weight'])


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def payloads(marker):
    """Calls that would leave a folder or a file, and the names to be told."""
    return {
        'system': (Call(os.system, f'mkdir {marker}'), 'posix.system'),
        'mkdir': (Call(os.mkdir, marker), 'posix.mkdir'),
        'eval': (Call(eval, f'__import__("os").mkdir({marker!r})'), 'eval'),
        'exec': (Call(exec, f'open({marker!r}, "w")'), 'exec'),
        'open': (Call(open, marker, 'w'), 'io.open'),
        'popen': (Call(subprocess.Popen, ['mkdir', marker]), 'subprocess.Popen'),
        'numpy.load': (Call(np.load, marker), 'numpy.load'),
        'pickle.loads': (Call(pickle.loads, pickle.dumps(Call(os.mkdir, marker))), 'loads'),
        'getattr': (Call(getattr, 'text', 'upper'), 'getattr'),
        'import': (Call(__import__, 'os'), '__import__'),
        'object array': (np.array([Call(os.mkdir, marker)], dtype=object), 'numpy.dtype'),
    }


def hide(how, payload):
    """Put a payload somewhere in weights."""
    if how == 'top':
        return payload
    if how == 'value':
        return {**ARRAYS, 'bias': payload}
    if how == 'name table':
        return {**ARRAYS, 'StructuredToParameterName@@': {'weight': [payload, (payload,)]}}
    if how == 'key':
        return {**ARRAYS, (payload,): 1}
    return {'first': payload, **ARRAYS, 'again': [payload] * 2}  # twice, from the memo


HIDINGS = ['top', 'value', 'name table', 'key', 'memo']


@pytest.mark.parametrize('name', payloads('x'))
def test_nothing_is_run(load, tmp_path, name):
    marker = tmp_path / 'was_run'
    for how in HIDINGS:
        for protocol in (2, 3, 4):
            payload, told = payloads(str(marker))[name]
            if how == 'key' and name == 'object array':
                continue  # an array cannot be a key
            data = pickle.dumps(hide(how, payload), protocol)
            with pytest.raises(UnsafeCheckpointError, match='Nothing of it was run') as error:
                load(data)
            assert told in str(error.value)
            assert '--allow-unsafe' not in str(error.value)
            assert not marker.exists()


def short(text):
    return b'\x8c' + bytes([len(text)]) + text.encode()


def test_instructions_that_no_weights_need(load, tmp_path):
    marker = tmp_path / 'was_run'
    call = f"S'mkdir {marker}'\n".encode()
    crafted = {
        'INST': b'(' + call + b'iposix\nsystem\n.',
        'OBJ': b'(cposix\nsystem\n' + call + b'o.',
        'PERSID': b'Pid\n.',
        'EXT1': b'\x80\x02\x82\x01.',
        'NEWOBJ': b'\x80\x02cnumpy\ndtype\n)\x81.',
        'NEXT_BUFFER': b'\x80\x05\x97.',
        'FROZENSET': b'\x80\x04(\x91.',
        'INT': b'I1\n.',
    }
    for name, data in crafted.items():
        with pytest.raises(UnsafeCheckpointError, match=r'instruction|STRING'):
            load(data)
        assert not marker.exists(), name


def test_names_hidden_in_the_memo(load):
    # The strings are put into the memo in the wrong order, and fetched back.
    data = b'\x80\x04' + short('system') + b'\x94' + short('posix') + b'\x94' + b'0' + b'0'
    data += b'h\x01h\x00\x93' + short('true') + b'\x85R.'
    with pytest.raises(UnsafeCheckpointError, match=r'posix\.system'):
        load(data)


@pytest.mark.parametrize(
    'state',
    [b'}' + short('x') + b'K\x01s', b'N}' + short('__defaults__') + b')s\x86', b'K\x01'],
    ids=['dict', 'slots', 'number'],
)
@pytest.mark.parametrize(
    'name',
    ['numpy._core.multiarray _reconstruct', 'numpy ndarray', 'numpy dtype', 'builtins bytes'],
)
def test_functions_cannot_be_changed(load, name, state):
    module, attribute = name.split()
    data = b'\x80\x04' + short(module) + short(attribute) + b'\x93' + state + b'b.'
    with pytest.raises(UnsafeCheckpointError, match='changing a function'):
        load(data)
    test_arrays_arrive(load, 2, dict)


def test_other_calls_of_the_admitted_names(load):
    def reduce(module, name, args):
        return b'\x80\x04' + short(module) + short(name) + b'\x93' + args + b'R.'

    for data, told in (
        (reduce('_codecs', 'encode', short('a') + short('rot13') + b'\x86'), "encode to 'rot13'"),
        (reduce('_codecs', 'encode', short('a') + short('zip') + b'\x86'), 'encode'),
        (reduce('numpy', 'dtype', short('O') + b'\x85'), r"numpy\.dtype\('O'\)"),
        (reduce('numpy', 'dtype', short('V8') + b'\x85'), 'numpy.dtype'),
        (reduce('numpy', 'ndarray', b')'), 'numpy.ndarray'),
        (reduce('numpy._core.multiarray', '_reconstruct', short('x') + b'\x85'), 'of type str'),
        (reduce('numpy.core.multiarray', 'scalar', b')'), 'multiarray.scalar'),
    ):
        with pytest.raises(UnsafeCheckpointError, match=told):
            load(data)
    with pytest.raises(CheckpointFileError, match='damaged'):
        load(reduce('numpy._core.multiarray', '_reconstruct', b')'))


def array_pickle(shape, data, times=1):
    """A list of arrays made of the same bytes, which are in the file once."""
    array = b'cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R'
    dtype = b'cnumpy\ndtype\n\x8c\x02f4\x89\x88\x87R'
    state = b'(K\x01' + shape + dtype + b'\x89h\x00tb'
    return b'\x80\x04]C' + bytes([len(data)]) + data + b'q\x000(' + (array + state) * times + b'e.'


def test_bombs_are_refused(load):
    assert len(load(array_pickle(b'K\x01\x85', bytes(4)))) == 1
    for name, data, error in (
        ('shape', array_pickle(b'J\xff\xff\xff\x7f\x85', bytes(4)), CheckpointFileError),
        (
            'negative shape',
            array_pickle(b'J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86', bytes(4)),
            CheckpointFileError,
        ),
        ('declared length', b'\x80\x04\x8e' + struct.pack('<Q', 1 << 50) + b'.', None),
        ('nested tuples as a key', b'\x80\x04}N' + b'\x85' * 200_000 + b'Ns.', None),
    ):
        with pytest.raises(error or (CheckpointFileError, UnsafeCheckpointError)):
            load(data)
        assert name
    with pytest.raises(CheckpointFileError, match=r'of a memo of 1'):
        load(b'\x80\x02Nr\xff\xff\xff\x7f.')
    repeated = array_pickle(b'K\x32\x85', bytes(200), times=60)
    with pytest.raises(UnsafeCheckpointError, match='more data than the file has'):
        load(repeated)


def test_truncated_at_every_byte(load):
    for protocol in (2, 4):
        whole = pickle.dumps({'weight': ARRAYS['weight'], 'names': {'a': 'b'}}, protocol)
        assert load(whole)['names'] == {'a': 'b'}
        for length in range(len(whole)):
            with pytest.raises(CheckpointFileError, match=r'truncated|empty'):
                load(whole[:length])


def test_what_is_no_pickle(load, tmp_path):
    whole = pickle.dumps(ARRAYS, 4)
    for data, told in (
        (b'', 'empty'),
        (b'<!DOCTYPE html><html>', 'web page'),
        (b'version https://git-lfs.github.com/spec/v1', 'Git LFS'),
        (b'PK\x03\x04' + bytes(64), 'not a pickle of arrays'),
        (whole + b'more', '4 bytes follow'),
        (whole + pickle.dumps(Call(os.mkdir, str(tmp_path / 'was_run'))), 'bytes follow'),
    ):
        with pytest.raises(CheckpointFileError, match=told):
            load(data)
    with pytest.raises(FileNotFoundError, match='a directory'):
        load_numpy_pickle(tmp_path)
    with pytest.raises(FileNotFoundError, match='does not exist'):
        load_numpy_pickle(tmp_path / 'none.pdparams')


def check_only_data(load, data):
    """Whatever the bytes are, they are data or an error of ours."""
    try:
        loaded = load(data)
    except (CheckpointFileError, UnsafeCheckpointError):
        return
    values = loaded.values() if type(loaded) is dict else [loaded]
    plain = (np.ndarray, dict, list, tuple, str, bytes, int, float, type(None))
    assert all(isinstance(v, plain) or type(v).__module__.startswith('mmdet_') for v in values)


@fuzz
@given(st.sampled_from([2, 3, 4]), st.integers(0), st.binary(min_size=1, max_size=4))
def test_damaged_anywhere(load, protocol, place, replacement):
    data = bytearray(pickle.dumps({**ARRAYS, 'names': {'a': 'b'}}, protocol))
    place %= len(data)
    data[place : place + len(replacement)] = replacement
    check_only_data(load, bytes(data))


@fuzz
@given(st.lists(st.sampled_from(list(range(256))), max_size=40))
def test_random_instructions(load, codes):
    check_only_data(load, b'\x80\x04}' + bytes(codes) + b'.')
