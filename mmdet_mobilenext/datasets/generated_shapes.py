# SPDX-License-Identifier: Apache-2.0
"""Shapes of the generated VOC set: the objects of eight classes.

A shape is a list of :class:`Part` in a unit frame (x to the right, y down, about -1 to 1). Its
builder draws proportions and optional parts from the random generator that it is given. Parts carry
only the number of a colour: the colours themselves are chosen by ``generated_render``, from one
distribution for all classes, distractors and backgrounds, so that only the shape tells the class.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

NUM_COLOURS = 5
"""Colours of one object; a part names one of them by its number."""


class Part(NamedTuple):
    """One part of a shape, in unit coordinates.

    Attributes:
        points: (N, 2) corners of a polygon or of a polyline.
        colour: Number of the colour, 0 to ``NUM_COLOURS - 1``.
        width: 0 fills the polygon; above 0 is the width of a stroke along the points.
        closed: Whether a stroke returns to its first point.
    """

    points: np.ndarray
    colour: int
    width: float = 0.0
    closed: bool = False


def poly(points: Sequence, colour: int) -> Part:
    """Make a filled polygon."""
    return Part(np.asarray(points, np.float64), colour)


def line(points: Sequence, colour: int, width: float) -> Part:
    """Make an open stroke."""
    return Part(np.asarray(points, np.float64), colour, width)


def oval(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """(28, 2) corners of an upright ellipse about (x, y)."""
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)


def box(x1: float, y1: float, x2: float, y2: float, cut: float = 0.0) -> np.ndarray:
    """(4, 2) or (12, 2) corners of a rectangle, its corners cut off by ``cut``."""
    if cut <= 0:
        return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    soft = 0.3 * cut
    return np.array(
        [
            (x1 + cut, y1),
            (x2 - cut, y1),
            (x2 - soft, y1 + soft),
            (x2, y1 + cut),
            (x2, y2 - cut),
            (x2 - soft, y2 - soft),
            (x2 - cut, y2),
            (x1 + cut, y2),
            (x1 + soft, y2 - soft),
            (x1, y2 - cut),
            (x1, y1 + cut),
            (x1 + soft, y1 + soft),
        ]
    )


def _aeroplane(rng: Generator) -> list[Part]:
    """Seen from above: fuselage, swept wings, tailplane, engines or none."""
    u = rng.uniform
    w, root, chord, span = u(0.08, 0.15), u(-0.3, 0.05), u(0.26, 0.42), u(0.72, 1.05)
    sweep, tip, tail = u(-0.02, 0.45), u(0.08, 0.2), u(0.66, 0.76)
    tail_span = span * u(0.32, 0.46)
    parts = []
    for side in (-1, 1):
        for k in range(rng.integers(0, 3)):
            at = span * (0.34 + 0.28 * k)
            top = root + sweep * at / span - 0.08
            parts.append(poly(oval(side * at, top + 0.08, 0.06, 0.15), 2))
    for side in (-1, 1):
        s, t = side * span, side * tail_span
        lead, end = root + sweep, tail + 0.05 + 0.4 * sweep
        parts.append(poly([(0, root), (s, lead), (s, lead + tip), (0, root + chord)], 1))
        parts.append(poly([(0, tail), (t, end), (t, end + 0.11), (0, tail + 0.22)], 1))
    half = [(0.55 * w, -0.92), (w, -0.72), (w, 0.4), (0.35 * w, 1.0)]
    body = [(0, -1.0), *half, *[(-x, y) for x, y in reversed(half)]]
    parts += [poly(body, 0), line([(0, 0.62), (0, 1.0)], 3, 0.05)]
    parts.append(poly([(-0.6 * w, -0.76), (0, -0.88), (0.6 * w, -0.76), (0, -0.68)], 4))
    return parts


def _bicycle(rng: Generator) -> list[Part]:
    """Seen from the side: two thin wheels, frame, saddle, handlebar."""
    u = rng.uniform
    r, half, tyre, tube = u(0.36, 0.46), u(0.56, 0.68), u(0.05, 0.1), u(0.05, 0.09)
    hub_l, hub_r, crank = (-half, 0.35), (half, 0.35), (u(-0.12, 0.0), 0.38)
    seat, head = (u(-0.3, -0.18), u(-0.36, -0.22)), (half - u(0.16, 0.26), u(-0.36, -0.22))
    parts = [Part(oval(*hub, r, r), 1, tyre, True) for hub in (hub_l, hub_r)]
    if rng.random() < 0.4:
        for x, y in (hub_l, hub_r):
            for a in u(0, np.pi) + np.arange(3) * np.pi / 3:
                dx, dy = r * np.cos(a), r * np.sin(a)
                parts.append(line([(x - dx, y - dy), (x + dx, y + dy)], 2, 0.02))
    tubes = [(hub_l, crank, seat, hub_l), (crank, head), (head, hub_r)]
    if rng.random() < 0.75:
        tubes.append((seat, head))
    parts += [line(t, 0, tube) for t in tubes]
    sx, sy = seat[0] - 0.04, seat[1] - u(0.08, 0.14)
    hx, hy = head[0] - 0.05, head[1] - u(0.14, 0.24)
    parts += [line([seat, (sx, sy)], 0, tube), line([(sx - 0.13, sy), (sx + 0.13, sy)], 3, 0.1)]
    parts.append(line([head, (hx, hy), (hx + u(0.12, 0.24), hy + u(-0.06, 0.1))], 3, tube))
    parts.append(poly(oval(*crank, 0.09, 0.09), 4))
    return parts


def _boat(rng: Generator) -> list[Part]:
    """Seen from the side: hull, mast, one or two sails."""
    u = rng.uniform
    mast, deck, keel, bow = u(-0.25, 0.15), u(0.32, 0.45), u(0.7, 0.9), u(0.0, 0.14)
    stern, stem = -u(0.72, 1.0), u(0.8, 1.0)
    hull = [
        (stern, deck),
        (stem, deck - bow),
        (stem - 0.14, deck + 0.6 * (keel - deck)),
        (stem - u(0.26, 0.4), keel),
        (stern + u(0.1, 0.3), keel),
    ]
    boom, top = deck - u(0.08, 0.18), -u(0.8, 1.0)
    parts = [line([(mast, deck), (mast, -1.05)], 3, u(0.05, 0.08))]
    main = [(mast - 0.04, top), (mast - 0.04, boom), (max(mast - u(0.55, 0.8), -1), boom)]
    if rng.random() < 0.25:  # a gaff sail has four corners
        main.insert(3, (main[2][0] * 0.75, top * 0.55))
    parts.append(poly(main, 1))
    if rng.random() < 0.7:
        parts.append(
            poly(
                [
                    (mast + 0.05, top + u(0, 0.3)),
                    (mast + 0.05, boom),
                    (min(mast + u(0.4, 0.8), 1), boom),
                ],
                2,
            )
        )
    if rng.random() < 0.4:
        parts.append(poly([(mast, -1.05), (mast + 0.2, -0.98), (mast, -0.9)], 4))
    parts.append(poly(hull, 0))
    if rng.random() < 0.5:
        y = deck + 0.35 * (keel - deck)
        parts.append(line([(stern + 0.1, y), (stem - 0.12, y - 0.5 * bow)], 4, 0.07))
    return parts


def _bottle(rng: Generator) -> list[Part]:
    """Body, shoulder, neck, cap, often a label."""
    u = rng.uniform
    body, neck, throat, shoulder = u(0.24, 0.4), u(0.08, 0.14), u(-0.62, -0.4), u(-0.32, -0.02)
    foot, bend = body * u(0.8, 1.0), shoulder - u(0.05, 0.2)
    half = [
        (neck, -0.86),
        (neck, throat),
        (0.8 * body, max(bend, throat)),
        (body, shoulder),
        (body, 0.9),
        (foot, 1.0),
    ]
    glass = [*half, *[(-x, y) for x, y in reversed(half)]]
    cap = neck * u(1.05, 1.5)
    parts = [poly(glass, 0), poly(box(-cap, -1.0, cap, -u(0.8, 0.88)), 2)]
    if rng.random() < 0.75:
        y1 = shoulder + u(0.1, 0.3)
        parts.append(poly(box(-body, y1, body, min(y1 + u(0.3, 0.6), 0.88)), 1))
    if rng.random() < 0.5:
        x = u(-0.6, 0.6) * body
        parts.append(line([(x, shoulder + 0.06), (x, 0.85)], 3, 0.05))
    return parts


def _car(rng: Generator) -> list[Part]:
    """Seen from the side: body, cabin, two windows, two wheels with hubs."""
    u = rng.uniform
    a, b, belt, roof = -u(0.55, 0.95), u(0.3, 0.62), -u(0.0, 0.12), -u(0.42, 0.62)
    lean_a, lean_b, sill = u(0.04, 0.3), u(0.18, 0.4), u(0.36, 0.44)
    cabin = [(a, belt), (a + lean_a, roof), (b - lean_b, roof), (b, belt)]
    middle, post, rim = u(-0.2, 0.05), 0.035, 0.07
    parts = [poly(cabin, 0), poly(box(-1, belt - 0.03, 1, sill, u(0.08, 0.2)), 0)]
    rear = [
        (a + 0.1, belt),
        (a + lean_a + 0.07, roof + rim),
        (middle - post, roof + rim),
        (middle - post, belt),
    ]
    front = [
        (middle + post, belt),
        (middle + post, roof + rim),
        (b - lean_b - 0.03, roof + rim),
        (b - 0.12, belt),
    ]
    parts += [poly(rear, 1), poly(front, 1)]
    if rng.random() < 0.5:
        parts.append(line([(-0.96, 0.2), (0.96, 0.2)], 4, 0.05))
    parts += [
        poly(box(0.86, belt + 0.08, 1.0, belt + 0.2), 4),
        poly(box(-1.0, belt + 0.08, -0.9, belt + 0.2), 3),
    ]
    r, hub = u(0.18, 0.25), u(0.4, 0.65)
    for x in (-u(0.5, 0.64), u(0.5, 0.64)):
        parts += [poly(oval(x, sill, r, r), 2), poly(oval(x, sill, r * hub, r * hub), 3)]
    return parts


def _chair(rng: Generator) -> list[Part]:
    """Seen half from the side: seat, back (panel, slats or rungs), four legs."""
    u = rng.uniform
    left, right, seat, leg = -u(0.42, 0.58), u(0.3, 0.45), u(0.02, 0.2), u(0.07, 0.13)
    dx, dy, top, lean = u(0.18, 0.36), -u(0.1, 0.24), -u(0.85, 1.0), u(0.0, 0.14)
    bl, br = (left + dx, seat + dy), (right + dx, seat + dy)
    tl, tr = (bl[0] + lean, top), (br[0] + lean, top)
    parts = [line([p, (p[0], 1 + dy)], 2, leg) for p in (bl, br)]
    kind = rng.integers(0, 3)
    if kind == 0:
        parts.append(poly([tl, tr, br, bl], 1))
    else:
        parts += [line([bl, tl], 1, leg), line([br, tr], 1, leg), line([tl, tr], 1, leg * 1.6)]
        for t in (0.3, 0.6):  # rungs across, or slats upright
            p, q = np.array([bl, tl]), np.array([br, tr])
            if kind == 2:
                p, q = np.array([bl, br]), np.array([tl, tr])
            parts.append(line([p[0] + t * (p[1] - p[0]), q[0] + t * (q[1] - q[0])], 1, leg))
    parts += [line([(x, seat), (x, 1.0)], 2, leg) for x in (left + leg / 2, right - leg / 2)]
    parts.append(poly([(left, seat), bl, br, (right, seat)], 0))
    parts.append(line([(left, seat), (right, seat)], 3, leg))
    return parts


def _person(rng: Generator) -> list[Part]:
    """Head, torso, bent arms and legs in a random pose."""
    u = rng.uniform
    shoulder, hip, thick, head = u(0.17, 0.27), u(0.11, 0.17), u(0.1, 0.16), u(0.13, 0.18)
    parts = []
    for side in (-1, 1):
        start = np.array([side * hip * 0.7, 0.12])
        thigh = side * u(-0.1, 0.6)
        shin = thigh - side * u(-0.1, 0.7)
        knee = start + 0.44 * np.array([np.sin(thigh), np.cos(thigh)])
        foot = knee + 0.44 * np.array([np.sin(shin), np.cos(shin)])
        parts.append(line([start, knee, foot], 1, thick * 1.15))
        parts.append(line([foot, (foot[0] + side * 0.12, foot[1])], 3, thick))
    parts.append(poly([(-shoulder, -0.5), (shoulder, -0.5), (hip, 0.16), (-hip, 0.16)], 0))
    sleeve = rng.choice([0, 2])
    for side in (-1, 1):
        start = np.array([side * (shoulder - 0.02), -0.44])
        upper = side * u(0.05, 2.3)
        lower = upper + side * u(-0.4, 1.3)
        elbow = start + 0.32 * np.array([np.sin(upper), np.cos(upper)])
        hand = elbow + 0.3 * np.array([np.sin(lower), np.cos(lower)])
        parts.append(line([start, elbow, hand], sleeve, thick * 0.85))
        parts.append(poly(oval(*hand, 0.07, 0.07), 2))
    x = u(-0.04, 0.04)
    parts += [line([(0, -0.5), (x, -0.7)], 2, 0.12), poly(oval(x, -0.78, head * 0.88, head), 2)]
    if rng.random() < 0.7:
        parts.append(poly(oval(x, -0.78, head * 0.92, head * 1.05)[13:29], 4))
    return parts


def _tvmonitor(rng: Generator) -> list[Part]:
    """Framed screen on a foot, on two legs or under an aerial."""
    u = rng.uniform
    h, rim, cut, base = u(0.5, 0.78), u(0.07, 0.15), u(0.0, 0.15), u(0.3, 0.6)
    parts = []
    if rng.random() < 0.65:
        parts += [poly(box(-0.09, h - 0.1, 0.09, h + 0.26), 3)]
        foot = (
            oval(0, h + 0.26, base, 0.09)
            if rng.random() < 0.5
            else box(-base, h + 0.18, base, h + 0.3, 0.04)
        )
        parts.append(poly(foot, 2))
    else:
        parts += [line([(s * 0.5, h), (s * u(0.55, 0.75), h + 0.28)], 2, 0.1) for s in (-1, 1)]
    if rng.random() < 0.25:
        parts += [line([(0, -h), (s * u(0.3, 0.5), -h - 0.4)], 3, 0.05) for s in (-1, 1)]
    parts.append(poly(box(-1, -h, 1, h, cut), 0))
    parts.append(poly(box(-1 + rim, -h + rim, 1 - rim, h - rim * u(1, 2.2), 0.6 * cut), 1))
    if rng.random() < 0.5:  # glare, or a picture on the screen
        x = u(-0.5, 0.3)
        parts.append(
            poly(
                [(x, -h + rim), (x + 0.3, -h + rim), (x, h - 2.2 * rim), (x - 0.3, h - 2.2 * rim)],
                4,
            )
        )
    elif rng.random() < 0.5:
        parts.append(poly(oval(u(-0.4, 0.4), u(-0.1, 0.1), u(0.15, 0.35), u(0.12, 0.25)), 4))
    return parts


Shape = Callable[[Generator], list[Part]]

OBJECT_SHAPES: dict[str, Shape] = {
    'aeroplane': _aeroplane,
    'bicycle': _bicycle,
    'boat': _boat,
    'bottle': _bottle,
    'car': _car,
    'chair': _chair,
    'person': _person,
    'tvmonitor': _tvmonitor,
}
"""Builder of each class."""
GENERATED_CLASSES = tuple(OBJECT_SHAPES)
"""The eight VOC classes that the generator can draw, in VOC's (alphabetical) order."""
