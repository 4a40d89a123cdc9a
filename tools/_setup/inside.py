# SPDX-License-Identifier: Apache-2.0
"""Questions that only the environment's own Python can answer.

    .venv/bin/python tools/_setup/inside.py {probe [EXTRA ...],check,torch_build}

prints the answer as one line of JSON.
"""

import contextlib
import importlib.metadata as metadata
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements.txt'
PROJECT = 'mmdet-mobilenext'

# setuptools 81 removed pkg_resources, which builds of this stack still use.
BUILD_TOOLS = ('pip>=24.1', 'setuptools>=80,<81', 'wheel', 'ninja')
# Installed without their dependencies, which requirements.txt names instead, but for these; it
# tells why. (pip would add them for onedl-mmdetection too, which needs imaug.)
LEFT_OUT = {
    'onedl-mmcv': {'opencv-python'},
    'imaug': {'opencv-python', 'imagecorruptions-imaug'},
    'onedl-mmdetection': set(),
}
# All of these own the one folder cv2: two at once break each other.
CV2 = 'opencv-python-headless'
CV2_OTHERS = ('opencv-python', 'opencv-contrib-python', 'opencv-contrib-python-headless')


def requirement(text: str):
    """Parse one requirement, with ``packaging``, or pip's own copy where that is missing."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement
    return Requirement(text)


def parse_requirements(text: str) -> list[str]:
    r"""Return the requirements of a requirements file, in order, without comments.

    Example:
        >>> parse_requirements('# the base\ntorch==2.13.0  # pinned\n')
        ['torch==2.13.0']
    """
    lines = (re.sub(r'(^|\s)#.*', '', line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def normalised(name: str) -> str:
    """Return the name of a distribution in the form that PEP 503 compares."""
    return re.sub(r'[-_.]+', '-', name).lower()


def applies(needed, extras: Iterable[str] = ()) -> bool:
    """Whether the marker of a requirement holds here, for any of some extras."""
    return not needed.marker or any(
        needed.marker.evaluate({'extra': extra}) for extra in ('', *extras)
    )


def wanted_by(extras: Iterable[str], offered: dict) -> list:
    """Return the requirements of extras; in place of other extras of the project, theirs.

    Args:
        extras (Iterable[str]): Names of extras.
        offered (dict[str, list[str]]): Requirements of all extras of the project.

    Returns:
        list[Requirement]: Without the project itself.

    Example:
        >>> offered = {'demo': ['av>=14'], 'tests': ['pytest', f'{PROJECT}[demo]']}
        >>> [str(needed) for needed in wanted_by(['tests'], offered)]
        ['pytest', 'av>=14']
    """
    found = []
    for needed in (requirement(line) for extra in extras for line in offered[extra]):
        own = normalised(needed.name) == PROJECT
        found += wanted_by(sorted(needed.extras), offered) if own else [needed]
    return found


def find_problem(needed) -> 'str | None':
    """Say what keeps the installed distribution from meeting a requirement.

    Args:
        needed (Requirement): What is asked for; its marker is not looked at.

    Returns:
        str | None: ``'missing'``, ``'only half installed'``, ... or None if it is met.
    """
    try:
        found = metadata.distribution(needed.name)
    except metadata.PackageNotFoundError:
        for other in CV2_OTHERS if normalised(needed.name) == CV2 else ():
            with contextlib.suppress(metadata.PackageNotFoundError):
                version = metadata.version(other)
                met = needed.specifier.contains(version, prereleases=True)
                return None if met else f'{other} {version} is there instead'
        return 'missing'
    # pip names INSTALLER in RECORD last of all: without it the install was cut short.
    if 'INSTALLER' not in (found.read_text('RECORD') or ''):
        return 'only half installed'
    if not needed.specifier.contains(found.version, prereleases=True):
        return f'{found.version}, not {needed.specifier}'
    return None


def follow_dependencies(roots: Iterable) -> tuple[dict[str, str], dict[str, str]]:
    """Look at what installed distributions declare that they need, and so on.

    Args:
        roots (Iterable[Requirement]): Where to start.

    Returns:
        tuple: Problem by requirement that is not met, and version by name of all that were found.
    """
    problems, versions, seen = {}, {}, set()
    todo = [(normalised(root.name), frozenset(root.extras)) for root in roots]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # the caller has looked at the roots; any other is among the problems
        versions[name] = found.version
        for needed in map(requirement, found.requires or ()):
            if normalised(needed.name) in LEFT_OUT.get(name, ()) or not applies(needed, extras):
                continue
            todo.append((normalised(needed.name), frozenset(needed.extras)))
            if problem := find_problem(needed):
                needed.marker = None  # it holds here, and pip does not know its `extra`
                problems[str(needed)] = f'{problem}; {name} needs it'
    return problems, versions


def find_project_problem() -> 'str | None':
    """Say what is wrong with the install of the project itself; None if it is this checkout."""
    source = (ROOT / 'mmdet_mobilenext' / 'version.py').read_text(encoding='utf-8')
    version = re.search(r"^__version__ = '(.+)'", source, re.MULTILINE)[1]
    if problem := find_problem(requirement(f'{PROJECT}=={version}')):
        return problem
    origin = json.loads(metadata.distribution(PROJECT).read_text('direct_url.json') or '{}')
    if origin.get('url') != ROOT.as_uri() or not origin.get('dir_info', {}).get('editable'):
        return f'from {origin.get("url", "a package index")}'
    return None


def find_ops() -> 'list | None':
    """Return the file of mmcv's compiled ops as [path, bytes, time of change in ns], or None."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files('onedl-mmcv') or ():
            path = Path(file.locate())
            if re.match(r'_ext\..*so$', file.name) and path.exists():
                return [str(path), path.stat().st_size, path.stat().st_mtime_ns]
    return None


def probe(extras: Sequence[str]) -> dict:
    """Look at what is installed against what is asked for.

    Args:
        extras (Sequence[str]): Extras of the project whose packages are asked for as well.

    Returns:
        dict: ``problems``: group -> requirement -> what is wrong; ``versions`` of all packages that
        the project runs on; ``ops`` of :func:`find_ops`. With an unknown extra: ``unknown``.
    """
    try:
        import tomllib
    except ImportError:  # Python 3.10
        from pip._vendor import tomli as tomllib
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    offered = project['optional-dependencies']
    if unknown := sorted(set(extras) - set(offered)):
        return {'unknown': f'unknown extras {unknown}: pyproject.toml has {sorted(offered)}'}

    lines = parse_requirements(REQUIREMENTS.read_text(encoding='utf-8'))
    pinned = [needed for needed in map(requirement, lines) if applies(needed)]
    added = wanted_by(extras, offered)
    group_of = {normalised(requirement(line).name): 'tools' for line in BUILD_TOOLS}
    group_of.update(dict.fromkeys(LEFT_OUT, 'no_deps'), **{'torch': 'torch', 'onedl-mmcv': 'mmcv'})
    groups = ('tools', 'torch', 'packages', 'no_deps', 'mmcv', 'project')
    problems: dict[str, dict[str, str]] = {group: {} for group in groups}
    for needed in [*map(requirement, BUILD_TOOLS), *pinned, *filter(applies, added)]:
        if problem := find_problem(needed):
            group = group_of.get(normalised(needed.name), 'packages')
            problems[group][str(needed)] = problem
    deeper, versions = follow_dependencies(pinned)
    deeper.update(follow_dependencies(added)[0])
    known = {requirement(text).name for group in problems.values() for text in group}
    problems['packages'].update(
        {text: problem for text, problem in deeper.items() if requirement(text).name not in known}
    )
    if problem := find_project_problem():
        problems['project'][PROJECT] = problem
    return {'problems': problems, 'versions': versions, 'ops': find_ops()}


def check() -> dict:
    """Run what versions alone do not show.

    Returns:
        dict: ``failed``: the first part that does not work (``'torch'``, ``'cv2'``, ``'ops'``,
        ``'mmdet'`` or ``'project'``) or None; ``error``: how; ``cuda_ops``: the CUDA version that
        mmcv's ops were built with, or None.
    """
    part, report = 'torch', {'failed': None, 'error': '', 'cuda_ops': None}
    try:
        import torch

        part = 'cv2'
        import cv2  # noqa: F401

        part = 'ops'
        from mmcv.ops import get_compiling_cuda_version, nms

        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
        kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), iou_threshold=0.5)[1].tolist()
        if kept != [0, 2]:
            raise RuntimeError(f'nms kept the boxes {kept}, not [0, 2]')
        cuda = get_compiling_cuda_version()
        report['cuda_ops'] = None if cuda == 'not available' else cuda
        part = 'mmdet'
        import mmdet.datasets
        import mmdet.models  # noqa: F401

        part = 'project'
        import mmdet_mobilenext  # noqa: F401
    except Exception as error:
        report.update(failed=part, error=f'{type(error).__name__}: {error}')
    return report


def torch_build() -> dict:
    """Return whether torch sees a GPU, and the CUDA version it was built with (or None)."""
    import torch

    return {'gpu': torch.cuda.is_available(), 'cuda': torch.version.cuda}


if __name__ == '__main__':
    question, *extras = sys.argv[1:]
    answers = {'probe': lambda: probe(extras), 'check': check, 'torch_build': torch_build}
    print(json.dumps(answers[question]()))
