# SPDX-License-Identifier: Apache-2.0
"""Whatever is wrong with a single key, of any source, is reported by that key's name.

What cannot be seen is not tried: two tensors of the same shape that are exchanged, and a square
matrix that is transposed (tensors with equal axes are reshaped instead).
"""

import io
import math
import os
import pickle
import re

import pytest
import torch
from foreign_networks import mobilenetv2, paddle_mobilenext
from golden import load, make_tensor
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mmdet_mobilenext.checkpoints.convert import (
    SOURCES,
    convert_checkpoint,
    convert_state_dict,
    unwrap_state_dict,
)
from mmdet_mobilenext.checkpoints.safe_loading import CheckpointFileError, UnsafeCheckpointError
from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError

NO_NUMBERS = torch.zeros(())
NO_COUNTS = torch.zeros((), dtype=torch.int64)


def golden_shapes(name):
    return {k: tuple(v) for k, v in load('models')[name]['state_dict'].items()}


def coco_shapes(name):
    """The authors' detector of COCO: 81 outputs, and four priors on the last level."""
    shapes = golden_shapes(name)
    for key, shape in shapes.items():
        priors = 4 if '_headers.5.' in key else 6
        if '.cls_headers.' in key and shape[:1] == (6 * 21,):
            shapes[key] = (priors * 81, *shape[1:])
        elif '.reg_headers.5.' in key:
            shapes[key] = (priors * 4, *shape[1:])
    return shapes


def own_detector():
    parts = {'neck.extra_layers.0.conv.weight': (4, 4, 1, 1), 'bbox_head.cls_convs.0.bias': (4,)}
    return mobilenetv2('mmdet', 0.5).shapes() | parts


SHAPES = {
    ('houqb-detector', 'mobilenext'): lambda: golden_shapes('mobilenext'),
    ('houqb-detector', 'mobilenetv2'): lambda: golden_shapes('mobilenet_v2'),
    ('houqb-detector', 'coco'): lambda: coco_shapes('mobilenet_v2'),
    ('mmdet-mobilenetv2', 'detector'): own_detector,
    ('mmdet-mobilenetv2', 'backbone'): lambda: {
        k.removeprefix('backbone.'): v for k, v in mobilenetv2('mmdet').shapes().items()
    },
    ('mmpretrain-mobilenetv2', '1.0'): lambda: mobilenetv2('mmpretrain').shapes(),
    ('mobilenext-imagenet', '1.0'): lambda: golden_shapes('imagenet_mobilenext_1.0'),
    ('paddleclas-mobilenext', '0.35'): lambda: paddle_mobilenext(0.35, 20).shapes(),
    ('paddleclas-mobilenext', '1.0'): lambda: paddle_mobilenext().shapes(),
    ('timm-mobilenetv2', '1.4'): lambda: mobilenetv2('timm', 1.4, 20).shapes(),
    ('torchvision-mobilenetv2', '1.0'): lambda: mobilenetv2('torchvision').shapes(),
}
SHAPES = {case: make() for case, make in SHAPES.items()}
CASES = list(SHAPES)
LEFT_OUT = ('neck.', 'bbox_head.')
# What the file does not tell.
OPTIONS = {('houqb-detector', 'coco'): dict(scores='sigmoid')}


def without_memory(case):
    """Weights that take no memory: keys and shapes only, which is all that is looked at first."""
    return {
        key: (NO_COUNTS if 'num_batches' in key else NO_NUMBERS).expand(shape)
        for key, shape in SHAPES[case].items()
    }


def keys_of(case):
    """All keys that are converted."""
    return [k for k in SHAPES[case] if not k.startswith(LEFT_OUT)]


def converted(state_dict, case):
    """As a file is converted; no case here may end without an error."""
    weights = unwrap_state_dict(state_dict, SOURCES[case[0]].CONTAINERS)
    return convert_state_dict(weights, case[0], **OPTIONS.get(case, {}))


def message_of(state_dict, case):
    with pytest.raises(CheckpointKeyError) as error:
        converted(state_dict, case)
    return str(error.value)


def lines(message, title):
    """The keys listed below a title of the report."""
    found = re.search(rf'^(\d+) {title}.*:\n((?:  .*\n?)*)', message, re.M)
    if not found:
        return []
    listed = [re.split(r'[ :]', line.strip(), maxsplit=1)[0] for line in found[2].splitlines()]
    assert len(listed) == int(found[1])
    return listed


def reported(message):
    titles = ('missing', 'unexpected', 'with another shape')
    return tuple(lines(message, title) for title in titles)


def turned(tensor):
    """Axes in reverse order, or one more where that changes nothing."""
    reverse = tensor.permute(tuple(reversed(range(tensor.dim()))))
    return reverse if reverse.shape != tensor.shape else tensor.unsqueeze(0)


fuzz = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

CHANGES = ('renamed', 'transposed', 'added beside', 'dropped')


def check_change(weights, case, key, change):
    """That is told, and nothing else."""
    renamed, beside = f'{key}s', f'{key.rpartition(".")[0]}.extra'
    others = {k: v for k, v in weights.items() if k != key}
    changed, told = {
        'dropped': (others, ([key], [], [])),
        'renamed': ({**others, renamed: weights[key]}, ([key], [renamed], [])),
        'transposed': ({**weights, key: turned(weights[key])}, ([], [], [key])),
        'added beside': ({**weights, beside: weights[key]}, ([], [beside], [])),
    }[change]
    assert reported(message_of(changed, case)) == told, (change, key)


def test_every_source_is_here():
    assert {source for source, _ in CASES} == set(SOURCES)


# Others of the same networks are in the draws below.
ALL_KEYS = [c for c in CASES if c[1] != 'backbone' and c != ('paddleclas-mobilenext', '1.0')]


@pytest.mark.parametrize('case', ALL_KEYS, ids='-'.join)
class TestEveryKey:
    def test_dropped(self, case):
        weights = without_memory(case)
        for key in keys_of(case):
            check_change(weights, case, key, 'dropped')

    def test_changed(self, case):
        """One change for each key in turns; any change of any key is drawn below."""
        weights = without_memory(case)
        for index, key in enumerate(keys_of(case)):
            check_change(weights, case, key, CHANGES[index % len(CHANGES)])

    def test_added_under_the_name_it_has_here(self, case):
        """A key of the result in the source is no key of the source."""
        weights = without_memory(case)
        plan = SOURCES[case[0]].convert(weights, **OPTIONS.get(case, {}))
        added = {k: v for k, v in plan.expected.items() if k not in weights}
        if added:
            message = message_of({**weights, **added}, case)
            assert reported(message) == ([], list(added), [])


@settings(fuzz, max_examples=250)
@given(st.data())
def test_any_change_of_any_key(data):
    case = data.draw(st.sampled_from(CASES))
    key = data.draw(st.sampled_from(keys_of(case)))
    check_change(without_memory(case), case, key, data.draw(st.sampled_from(CHANGES)))


def numbers(case):
    """Weights with memory."""
    return {key: make_tensor(key, shape) for key, shape in SHAPES[case].items()}


@pytest.fixture(scope='module')
def weights_with_numbers():
    """Made once for each case."""
    made = {}
    return lambda case: made.setdefault(case, numbers(case))


WRONG_VALUES = {
    'NaN': lambda v, i: v.flatten().index_fill(0, i, math.nan).view(v.shape),
    'infinite': lambda v, i: v.flatten().index_fill(0, i, -math.inf).view(v.shape),
    'whole numbers': lambda v, i: v.to(torch.int32),
    'complex': lambda v, i: v.to(torch.complex64),
    'truth values': lambda v, i: v > 0,
    'sparse': lambda v, i: v.to_sparse(),
    'without memory': lambda v, i: v.to('meta'),
}
# Small sources: what is tried does not depend on the source.
SMALL = [
    ('houqb-detector', 'mobilenext'),
    ('mmdet-mobilenetv2', 'detector'),
    ('paddleclas-mobilenext', '0.35'),
]


@pytest.mark.parametrize('case', CASES, ids='-'.join)
@pytest.mark.parametrize('what', ['NaN', 'whole numbers'])
def test_wrong_values_of_every_key_at_once(case, what, weights_with_numbers):
    index = torch.tensor([0])
    keys = [k for k in keys_of(case) if 'num_batches_tracked' not in k]
    weights = weights_with_numbers(case)
    wrong = {k: WRONG_VALUES[what](v, index) if k in keys else v for k, v in weights.items()}
    message = message_of(wrong, case)
    assert sorted(re.findall(r'^  (\S+) \(here', message, re.M)) == sorted(keys)


@settings(fuzz, max_examples=60)
@given(st.data())
def test_a_wrong_value_is_named(weights_with_numbers, data):
    case = data.draw(st.sampled_from(SMALL))
    weights = weights_with_numbers(case)
    key = data.draw(st.sampled_from(keys_of(case)))
    names = ['fractions'] if weights[key].dim() == 0 else list(WRONG_VALUES)
    what = data.draw(st.sampled_from(names))
    index = torch.tensor([data.draw(st.integers(0, weights[key].numel() - 1))])
    others = dict(
        fractions=lambda v, i: v.float(),
    )
    changed = (WRONG_VALUES | others)[what](weights[key], index)
    message = message_of({**weights, key: changed}, case)
    assert re.findall(r'^  (\S+) \(here', message, re.M) == [key]


@pytest.mark.parametrize('case', [SMALL[0], SMALL[2]], ids='-'.join)
def test_negative_variances_are_named(case, weights_with_numbers):
    weights = dict(weights_with_numbers(case))
    keys = [k for k in weights if k.endswith(('running_var', '_variance'))]
    weights[keys[-1]] = weights[keys[-1]].index_fill(0, torch.tensor([3]), -1e-3)
    with pytest.raises(CheckpointKeyError, match=rf'  {keys[-1]} \(here .*variance is negative'):
        converted(weights, case)


@settings(fuzz, max_examples=80)
@given(st.data())
def test_any_other_name_is_told(data):
    """Text of any kind, other keys' parts, a `module.` prefix; for a key or beside it."""
    case = data.draw(st.sampled_from(CASES))
    weights = without_memory(case)
    key = data.draw(st.sampled_from(keys_of(case)))
    parts = key.split('.')
    place = data.draw(st.integers(0, len(parts) - 1))
    part = data.draw(st.sampled_from(['0', '1', '99', 'conv', 'bn', 'module', '', 'weight']))
    replaced = '.'.join([*parts[:place], part, *parts[place + 1 :]])
    changed_names = [f'module.{key}', f'backbone.{key}', key.upper(), f' {key}', f'{key}.0']
    names = st.sampled_from([replaced, *changed_names])
    other = data.draw(names | st.text(min_size=1, max_size=12))
    assume(other not in weights and not other.startswith(LEFT_OUT))
    assume(other not in SOURCES[case[0]].CONTAINERS)
    removed = set() if data.draw(st.booleans()) else {key}
    changed = {k: v for k, v in weights.items() if k not in removed} | {other: weights[key]}
    with pytest.raises(ValueError) as error:
        converted(changed, case)
    if other == f'module.{key}' and not removed:
        assert 'with and without a module. prefix' in str(error.value)
    else:
        assert other in str(error.value) or repr(other)[1:-1] in str(error.value)


@settings(fuzz, max_examples=40)
@given(st.data())
def test_other_shapes_are_told(data):
    case = data.draw(st.sampled_from(CASES))
    weights = without_memory(case)
    key = data.draw(st.sampled_from(keys_of(case)))
    shape = data.draw(
        st.permutations(weights[key].shape)
        | st.lists(st.integers(0, 3000), max_size=5)
        | st.just((weights[key].numel(),))
    )
    assume(tuple(shape) != tuple(weights[key].shape))
    changed = {**weights, key: NO_NUMBERS.expand(tuple(shape))}
    missing, unexpected, wrong = reported(message_of(changed, case))
    assert key in wrong and not (missing or unexpected)


@settings(fuzz, max_examples=30)
@given(st.data())
def test_what_is_no_tensor_is_told(data):
    case = data.draw(st.sampled_from(CASES))
    weights = without_memory(case)
    key = data.draw(st.sampled_from(keys_of(case)))
    value = data.draw(st.sampled_from([None, 1, 'text', [1.0], (), {'a': 1}]))
    with pytest.raises(ValueError, match=re.escape(repr(key))):
        converted({**weights, key: value}, case)


def without_dead_rows(key, value):
    """What is left of the authors' 81 outputs for each prior."""
    if '.cls_headers.' not in key or value.shape[:1] not in ((6 * 81,), (4 * 81,)):
        return value
    return value.unflatten(0, (-1, 81))[:, :80].flatten(0, 1)


@pytest.mark.parametrize('case', CASES, ids='-'.join)
def test_every_number_arrives(case, weights_with_numbers):
    """The result has all numbers of the source, and no other but counters that it lacks."""
    weights = {k: v for k, v in weights_with_numbers(case).items() if not k.startswith(LEFT_OUT)}
    result, info = converted(weights, case)
    if 'dropped' in info:
        weights = {k: without_dead_rows(k, v) for k, v in weights.items()}
    if 'num_batches_tracked' in info:
        counters = [k for k in result if k.endswith('num_batches_tracked')]
        assert not any(result.pop(k) for k in counters)

    def content(state_dict):
        return sorted((v.numel(), v.double().sum().item()) for v in state_dict.values())

    before, after = content(weights), content(result)
    assert [n for n, _ in before] == [n for n, _ in after]
    torch.testing.assert_close(
        torch.tensor([s for _, s in after]), torch.tensor([s for _, s in before])
    )


# Files -------------------------------------------------------------------------------------------


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def torch_zip(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def torch_legacy(content):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def paddle_pickle(content):
    return pickle.dumps(content, 4)


FORMATS = {
    'zip.pth': torch_zip,
    'legacy.pth': torch_legacy,
    'paddle.pdparams': paddle_pickle,
}


def array_or_tensor(name):
    return torch.ones(3, 4).numpy() if name.endswith('pdparams') else torch.ones(3, 4)


@pytest.mark.parametrize('name', FORMATS)
@settings(fuzz, max_examples=40)
@given(st.data())
def test_truncated_files_say_so(tmp_path, name, data):
    weights = {f'features.{i}.conv.9.weight': array_or_tensor(name) for i in range(3)}
    whole = FORMATS[name](weights)
    length = data.draw(st.integers(0, len(whole) - 1))
    path, target = tmp_path / name, tmp_path / 'out.pth'
    path.write_bytes(whole[:length])
    with pytest.raises((CheckpointFileError, UnsafeCheckpointError), match=r'truncated|empty'):
        convert_checkpoint(path, target)
    assert not target.exists()


@pytest.mark.parametrize('name', FORMATS)
def test_malicious_files_run_nothing(tmp_path, name):
    path, target, marker = tmp_path / name, tmp_path / 'out.pth', tmp_path / 'was_run'
    text = f'__import__("os").mkdir({str(marker)!r})'
    weights = {'features.0.0.weight': array_or_tensor(name)}
    for function, args, told in (
        (os.system, [f'mkdir {marker}'], 'system'),
        (os.mkdir, [str(marker)], 'mkdir'),
        (eval, [text], 'eval'),
        (exec, [text], 'exec'),
        (pickle.loads, [pickle.dumps(Call(os.mkdir, str(marker)))], 'loads'),
        (torch.load, [str(marker)], 'torch.serialization.load'),
    ):
        call = Call(function, *args)
        for content in (
            call,
            {**weights, 'features.0.1.bias': call},
            {**weights, 'meta': {'config': [call, (call,)]}},
            {'state_dict': {**weights, 'x': call}, 'y': call},
        ):
            path.write_bytes(FORMATS[name](content))
            with pytest.raises(UnsafeCheckpointError, match=rf'asks for .*{told}'):
                convert_checkpoint(path, target)
            assert not marker.exists() and not target.exists()


@pytest.mark.parametrize('name', FORMATS)
@settings(fuzz, max_examples=40)
@given(st.data())
def test_damaged_files_end_with_an_error_of_ours(tmp_path, name, data):
    weights = {f'features.{i}.conv.9.weight': array_or_tensor(name) for i in range(3)}
    damaged = bytearray(FORMATS[name](weights))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(damaged)
    with pytest.raises((CheckpointFileError, UnsafeCheckpointError, ValueError)):
        convert_checkpoint(path, tmp_path / 'out.pth')
