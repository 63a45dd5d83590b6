#!/usr/bin/python3
"""scale_picture.py -- the picture of docs/guide/scaling.md: what the autoscaler's model decides on one load.

    scale_picture.py FILE            writes it
    scale_picture.py --check FILE    fails when the file is not what would be written
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "test", "model"))
from kpa import MICRO, Kpa  # noqa: E402

END_S, LEFT, TOP, WIDTH, HEIGHT, ROOM = 260, 46, 34, 700, 150, 44
LOAD = [(0, 0), (10, 12), (60, 90), (72, 20), (150, 0)]  # (second, requests at once from then on)
START_S = 1  # a decision to an instance that is ready


def level(s):
    return [n for at, n in LOAD if at <= s][-1]


def life():
    """[(second, load, ready, wanted, panicking, reason)], every second."""
    k = Kpa(total=10 * MICRO, target=7 * MICRO, initial=0, queued=1, max=64)
    k.event("reconcile 0 0 1")
    rows, ready, coming = [], 0, []
    for s in range(END_S + 1):
        us = s * MICRO
        if s and level(s) != level(s - 1):
            k.event(f"level {us} {level(s)}")
            if ready == 0 and level(s):  # containerConcurrency is 0: with an instance nobody waits
                k.event(f"urgent {us} {ready} 1")
        coming = [(at, n) for at, n in coming if at > s or not (ready := n)]
        ready = min(ready, k.apply) if k.apply < ready else ready
        k.event(f"measure {us} {int(ready + k.apply > 0)}")
        k.event(f"{'reconcile' if s % 2 else 'tick'} {us} {ready} 1")
        if k.apply > ready:
            coming.append((s + START_S, k.apply))
        ready = min(ready, k.apply)
        rows.append((s, level(s), ready, k.apply, k.panic_since is not None, k.reason))
    return rows


def steps(rows, field, high, top):
    x = [LEFT + WIDTH * r[0] / END_S for r in rows]
    y = [top + HEIGHT - HEIGHT * r[field] / high for r in rows]
    path = f"M{x[0]:.1f} {y[0]:.1f}"
    for i in range(1, len(rows)):
        path += f"H{x[i]:.1f}V{y[i]:.1f}" if y[i] != y[i - 1] else ""
    return path + f"H{x[-1]:.1f}"


def axis(out, top, high, step, title):
    out.append(f'<text x="{LEFT}" y="{top - 10}" class="t">{title}</text>')
    for n in range(0, high + 1, step):
        y = top + HEIGHT - HEIGHT * n / high
        out.append(f'<path d="M{LEFT} {y:.1f}h{WIDTH}" class="g"/><text x="{LEFT - 6}" y="{y + 4:.1f}" class="n">{n}</text>')


def marks(rows):
    """Moments worth a word: (second, wanted, text, how far above)."""
    first = next(r for r in rows if r[3])
    panic = next(r for r in rows if r[4])
    most = next(r for r in rows if r[3] == max(row[3] for row in rows))
    calm = next(r for r in rows if not r[4] and r[0] > panic[0])
    zero = next(r for r in rows if r[3] == 0 and r[0] > calm[0])
    return [(first[0], first[3], f"{first[0]} s: a request waits, decided at once", 7),
            (most[0], most[3], f"{panic[0]} to {most[0]} s: panic, the last 6 s decide", 7),
            (calm[0], calm[3], f"{calm[0]} s: the panic ends", 7),
            (zero[0], zero[3], f"{zero[0]} s: a window without load", 38)]


def picture():
    rows = life()
    low = TOP + HEIGHT + ROOM
    bottom = low + HEIGHT + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 14} {bottom}" font-family="sans-serif" font-size="12">',
           "<title>Load, and the instances that the autoscaler wants for it</title>",
           "<style>.t{font-weight:bold}.n{text-anchor:end;fill:#666}.g{stroke:#ddd;fill:none}.s{text-anchor:middle;fill:#666}"
           ".l{stroke:#2a6;fill:none;stroke-width:2}.w{stroke:#26c;fill:none;stroke-width:2}.p{fill:#fdd}.m{fill:#333}</style>",
           '<rect width="100%" height="100%" fill="#fff"/>']
    begin = None
    for r in rows + [(END_S, 0, 0, 0, False, "")]:
        if r[4] and begin is None:
            begin = r[0]
        elif not r[4] and begin is not None:
            x = LEFT + WIDTH * begin / END_S
            out.append(f'<rect x="{x:.1f}" y="{low}" width="{WIDTH * (r[0] - begin) / END_S:.1f}" height="{HEIGHT}" class="p"/>')
            begin = None
    axis(out, TOP, 100, 25, "requests at once")
    axis(out, low, 16, 4, "instances wanted (shaded: panic); 7 requests at once are aimed at per instance")
    out.append(f'<path d="{steps(rows, 1, 100, TOP)}" class="l"/><path d="{steps(rows, 3, 16, low)}" class="w"/>')
    for s, n, text, above in marks(rows):
        x, y = LEFT + WIDTH * s / END_S, low + HEIGHT - HEIGHT * n / 16
        anchor, aside = ('text-anchor="end"', -6) if s > END_S * 0.6 else ("", 6)
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="m"/>'
                   f'<text x="{x + aside:.1f}" y="{y - above:.1f}" class="m" {anchor}>{text}</text>')
    for s in range(0, END_S + 1, 20):
        out.append(f'<text x="{LEFT + WIDTH * s / END_S:.1f}" y="{low + HEIGHT + 16}" class="s">{s} s</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    check, path = sys.argv[1] == "--check", sys.argv[-1]
    text = picture()
    if not check:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return 0
    with open(path, encoding="utf-8") as f:
        if f.read() == text:
            return 0
    print(f"{path} is not what the autoscaler does now; tools/scale_picture.py {path} writes it again")
    return 1


if __name__ == "__main__":
    sys.exit(main())
