# SPDX-License-Identifier: Apache-2.0
"""The fuzz test itself: it must see crashes, hangs and memory, or it proves nothing."""

import json
import runpy
import sys

import pytest

from mmdet_mobilenext.runtime.fuzzing import FuzzResult, fuzz, make_string, run
from mmdet_mobilenext.runtime.fuzzing.report import summary
from mmdet_mobilenext.runtime.fuzzing.run import DetectorTarget

# Answers as child.py does, but misbehaves when it is told to.
MISBEHAVING = """
import json, os, struct, sys, time
print('ready', flush=True)
while head := sys.stdin.buffer.read(8):
    data = sys.stdin.buffer.read(struct.unpack('>Q', head)[0])
    print('a word of a library', file=sys.stderr, flush=True)
    if data == b'crash':
        os.abort()
    if data == b'hang':
        time.sleep(600)
    answer = dict(outcome=data.decode(), text='why', seconds=0.5, peak_mb=9, resident_mb=8)
    print(json.dumps(answer), flush=True)
"""


def test_strings_are_the_same_each_time_and_differ():
    strings = [make_string(0, number) for number in range(300)]
    assert strings == [make_string(0, number) for number in range(300)]
    assert len({string.data for string in strings}) > 280
    assert make_string(0, 299).data != make_string(1, 299).data
    valid = [string.name for string in strings if string.valid]
    assert len(valid) == len({*valid}) > 40


def test_crashes_and_hangs_are_seen_and_do_not_end_it(monkeypatch):
    monkeypatch.setattr(run, '_CHILD', MISBEHAVING)
    target = DetectorTarget('model.onnx', seconds=4)
    outcomes = [
        target.send(data)['outcome']
        for data in (b'detections', b'crash', b'ImageError', b'hang', b'other')
    ]
    assert outcomes == ['detections', 'crash', 'ImageError', 'hang', 'other']
    assert target.close() == 5


class Scripted:
    """Answers by the number of the string."""

    def __init__(self, outcomes):
        self.outcomes, self.number = outcomes, -1

    def send(self, data):
        self.number += 1
        outcome = self.outcomes.get(self.number, 'detections')
        memory = 100 + 0.5 * self.number
        return dict(
            outcome=outcome,
            text=f'why {self.number}',
            seconds=1.0 if self.number == 7 else 0.1,
            peak_mb=memory + 200 * (self.number == 9),
            resident_mb=memory,
        )

    def close(self):
        return 3


def test_result_tells_findings_time_and_memory():
    # string 2 is a good image, 200 a damaged one: only of the first an ImageError is a finding
    found = {2: 'ImageError', 5: 'crash', 200: 'ImageError', 201: 'hang'}
    result = fuzz(Scripted(found), 220)
    assert [one['number'] for one in result.findings] == [2, 5, 201]
    assert [one['outcome'] for one in result.findings] == ['ImageError', 'crash', 'hang']
    assert result.findings[1]['text'] == 'why 5'
    assert result.slowest[0]['number'] == 7
    assert result.peaks[0] == dict(number=9, name=make_string(0, 9).name, peak_mb=304.5)
    assert result.slope_mb == 500.0
    assert result.resident_mb[0] == [0, 100.0] and result.resident_mb[-1] == [219, 209.5]
    assert result.stderr_lines == 3
    assert sum(number for kind in result.outcomes.values() for number in kind.values()) == 220
    text = summary(result)
    assert (
        '3 FINDINGS' in text
        and '+500.0 MB per 1000 strings of the second half' in text
        and 'why 5' in text
    )


def test_no_strings_are_an_error():
    with pytest.raises(ValueError, match='at least 1 string, but received 0'):
        fuzz(Scripted({}), 0)


def test_a_detector_that_does_not_start_is_told(tmp_path):
    with pytest.raises(RuntimeError, match='did not start: FileNotFoundError'):
        DetectorTarget(tmp_path / 'missing.onnx')


def test_tool(constant_model, tmp_path, monkeypatch, capsys, root):
    file = tmp_path / 'fuzz.json'
    arguments = [constant_model, '--strings', '120', '--json', str(file)]
    monkeypatch.setattr(sys, 'argv', ['fuzz_images.py', *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(root / 'tools/analysis/fuzz_images.py'), run_name='__main__')
    assert stop.value.code == 0
    assert '120 strings of seed 0' in capsys.readouterr().out
    content = json.loads(file.read_text())
    assert content['model'] == 'constant.onnx' and content['target'] == 'detector'
    assert content['findings'] == [] and content['stderr_lines'] > 0
    assert set(content['outcomes']) == {'BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP', 'others'}
    # bombs are among the strings: none may take the memory that it asks for
    assert 10 < content['peaks'][0]['peak_mb'] < 600
    assert 'opencv-python-headless' in content['versions']
    assert set(FuzzResult.__dataclass_fields__) < set(content)
