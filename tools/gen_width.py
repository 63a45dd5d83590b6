#!/usr/bin/env python3
"""gen_width.py -- prints src/cli/width_table.h from Python's copy of the Unicode data.

A range may run over code points that are not assigned: it makes the table shorter, and nothing is shown there.
"""
import unicodedata

WIDE, NONE = "WF", ("Mn", "Me", "Cf")
FIRST, LAST = 0x300, 0xe01ef


def ranges(holds):
    found, open_range = [], None
    for code in range(FIRST, LAST + 1):
        char = chr(code)
        if unicodedata.category(char) in ("Cn", "Cs", "Co"):
            continue
        if not holds(char):
            open_range = None
        elif open_range:
            open_range[1] = code
        else:
            open_range = [code, code]
            found.append(open_range)
    return found


def table(name, rows):
    cells = [f"{{ 0x{a:x}, 0x{b:x} }}," for a, b in rows]
    lines = [" ".join(cells[i:i + 4]) for i in range(0, len(cells), 4)]
    return f"static const struct width_range {name}[] = {{\n    " + "\n    ".join(lines) + "\n};\n"


print("/* width_table.h -- made by tools/gen_width.py from Unicode " + unicodedata.unidata_version + "; do not edit.\n"
      " * Sorted, apart. Wide: East Asian Width W and F. None: categories Mn, Me, Cf. */\n#pragma once\n\n#include <stdint.h>\n\n"
      "struct width_range {\n    uint32_t first, last;\n};\n\n// clang-format off")
print(table("width_wide", ranges(lambda c: unicodedata.east_asian_width(c) in WIDE)))
print(table("width_none", ranges(lambda c: unicodedata.category(c) in NONE)), end="")
print("// clang-format on")
