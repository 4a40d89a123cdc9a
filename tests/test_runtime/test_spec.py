# SPDX-License-Identifier: Apache-2.0
"""What a file says of itself: read back as it was written, or refused."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runtime_model import small_spec

from mmdet_mobilenext.runtime import ModelFileError, ModelSpec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=9,
)
FIELDS = sorted(asdict(small_spec()))


def read(values):
    return ModelSpec.from_json(json.dumps(dict(format=1, **values)), 'a.onnx')


@given(
    st.lists(st.text(max_size=9), min_size=1, max_size=5),
    st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    st.floats(0, 1),
    st.none() | st.integers(1, 64),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_it_is_read_as_it_was_written(classes, size, score_thr, batch):
    spec = small_spec(classes=tuple(classes), size=size, score_thr=score_thr, batch=batch)
    assert ModelSpec.from_json(spec.to_json()) == spec


@given(st.sampled_from(FIELDS), JSON)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_value_of_a_field_is_read_or_refused(name, value):
    values = json.loads(small_spec().to_json())
    values.pop('format')
    try:
        spec = read({**values, name: value})
    except ModelFileError as error:
        assert 'a.onnx' in str(error) and len(str(error)) < 400
    else:
        assert isinstance(spec.classes, tuple) and ModelSpec.from_json(spec.to_json()) == spec


@given(st.text(max_size=60) | JSON.map(json.dumps))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_text_is_refused(text):
    with pytest.raises(ModelFileError, match=r'a\.onnx'):
        ModelSpec.from_json(text, 'a.onnx')


@pytest.mark.parametrize('name', FIELDS)
def test_missing_fields(name):
    values = asdict(small_spec())
    values.pop(name)
    if name in ('batch', 'precision', 'provenance'):
        assert read(values) == small_spec()
    else:
        with pytest.raises(ModelFileError, match=f'incomplete.*{name}'):
            read(values)


def test_what_is_refused_is_told():
    with pytest.raises(ModelFileError, match="has no metadata 'mmdet_mobilenext'"):
        ModelSpec.from_json(None)
    with pytest.raises(ModelFileError, match="format '2', but this version reads 1"):
        ModelSpec.from_json('{"format": 2}')
    with pytest.raises(ModelFileError, match='too long'):
        ModelSpec.from_json('"' + 'a' * (1 << 23) + '"')
    with pytest.raises(ModelFileError, match='cannot be read'):
        ModelSpec.from_json('[' * 100000)
    for more in (
        dict(size=(0, 9)), dict(size=(1 << 20, 1 << 20)), dict(score_thr=float('nan')),
        dict(iou_thr=2), dict(max_per_img=0), dict(batch=True), dict(color='bgra'),
        dict(kind='segments'), dict(precision='int4'), dict(classes=()),
    ):  # fmt: skip
        with pytest.raises(ModelFileError, match=f'has {next(iter(more))}='):
            small_spec(**more)
    with pytest.raises(ModelFileError, match='classes must be a list'):
        read({**asdict(small_spec()), 'classes': 'cat'})
