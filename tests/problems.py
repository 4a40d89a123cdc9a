# SPDX-License-Identifier: Apache-2.0
"""What tests of the data checks ask of a report."""

import pytest

from mmdet_mobilenext.datasets.checks import DataCheckError


def only_problem(report, kind):
    """The one problem of a report, whose error message has to name file, value and remedy."""
    assert report.num_problems == {kind: 1}, str(report)
    [problem] = report.problems
    assert problem.path and problem.detail and problem.hint
    with pytest.raises(DataCheckError) as caught:
        report.raise_if_bad()
    for part in (problem.path, problem.detail, problem.hint, f'{kind}: 1', 'tools/check_voc.py'):
        assert part in str(caught.value)
    return problem
